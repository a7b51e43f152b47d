"""Discord's own data package: what one person has written, as the zip that Discord sends or the folder inside it.

Discord translates the names of the top folders (`Messages`, `メッセージ`, `Nachrichten`), so a channel is known by its
form: a folder `c<id>` (`<id>` in old packages) with a `messages.json` or `messages.csv`. Files are read one after the
other as streams, and none beyond what its size in the zip's list and the limits here allow.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from nescord.errors import UsageError
from nescord.sources.discord_export import (
    NotAnExportError,
    kind_of,
    mapping,
    name_in,
    seconds,
    snowflake,
    string,
)
from nescord.sources.discord_messages import DiscordChannel, DiscordMessage, readable
from nescord.sources.json_depth import Shallow

# Far more than anybody has written in one channel, or in all of them; a zip of a few MB can claim to hold petabytes.
MOST_BYTES, MOST_BYTES_IN_ALL = 2 * 2**30, 16 * 2**30
_MOST_SMALL = 16 * 2**20
_MOST_RATIO = 250  # JSON and CSV of messages shrink to a tenth, at most to a fiftieth
_CHANNEL = re.compile(r"(?:.*/)?c?([0-9]{1,20})/messages\.(json|csv)", re.IGNORECASE)


def package_root(folder: Path, file: Path) -> Path | None:
    """The unpacked package within `folder` that the file has the messages of a channel of; None: it is something else.

    `folder` may be the one of the messages itself.
    """
    if not _CHANNEL.fullmatch(file.relative_to(folder.parent).as_posix()):
        return None
    root = file.parents[2]
    return root if root.is_relative_to(folder) else folder


class _Files(Protocol):
    def names(self) -> list[str]: ...
    def open(self, name: str, most: int) -> BinaryIO: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PackageChannel:
    """A channel of a package and the file that has its messages."""

    channel: DiscordChannel
    file: str


class DiscordPackage:
    """One package; a context manager. `left_out` counts messages that could not be used, `broken` says of which files
    the rest could not be read, and why."""

    def __init__(self, path: Path, zone: tzinfo = UTC) -> None:
        self.path = path
        self.left_out = 0
        self.broken: list[tuple[str, str]] = []
        self._zone = zone
        self._read = 0
        self._files: _Files = _Folder(path) if path.is_dir() else _Zip(path)
        try:
            self._names = {name.casefold(): name for name in sorted(self._files.names())}
            found = [match for name in self._names.values() if (match := _CHANNEL.fullmatch(name))]
            if not found:
                raise NotAnExportError(
                    f"{path} is no data package of Discord: there is no messages.json or messages.csv in it. Ask "
                    "Discord for your data with your messages (Settings > Data & Privacy), or export with "
                    "DiscordChatExporter as JSON"
                )
            # Of a channel that has both, the JSON: CSV was what there was before.
            by_folder: dict[str, re.Match[str]] = {}
            for match in sorted(found, key=lambda each: each[2].lower()):
                by_folder[match[0].rpartition("/")[0].casefold()] = match
            self._found = sorted(by_folder.values(), key=lambda each: (int(each[1]), each[0]))
            top = self._found[0][0].rpartition("/")[0].rpartition("/")[0]
            self._index = mapping(self._small(f"{top}/index.json" if top else "index.json"))
            self.author, self.author_id = self._person(top.rpartition("/")[0])
        except BaseException:
            self._files.close()
            raise

    def __enter__(self) -> DiscordPackage:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def channels(self) -> Iterator[PackageChannel]:
        """The channels in which something was written."""
        for match in self._found:
            folder, number = match[0].rpartition("/")[0], match[1]
            if snowflake(number):
                yield PackageChannel(
                    self._channel(int(number), mapping(self._small(f"{folder}/channel.json"))), match[0]
                )

    def messages(self, one: PackageChannel) -> Iterator[DiscordMessage]:
        """What was written in a channel. Of a file that is broken, what comes before that."""
        try:
            with self._open(one.file, MOST_BYTES) as file:
                rows = _json_rows(file) if one.file.lower().endswith(".json") else _csv_rows(file)
                for row in rows:
                    message = self._message(row, one.channel)
                    if message:
                        yield message
                    else:
                        self.left_out += 1
        except _BrokenFileError as error:
            self.broken.append((one.file, str(error)))

    def _message(self, row: Mapping[str, Any], channel: DiscordChannel) -> DiscordMessage | None:
        number, at = snowflake(row.get("ID")), seconds(row.get("Timestamp"))
        if not number or not at:
            return None
        text = row.get("Contents")
        return DiscordMessage(
            id=number,
            at=at,
            author=self.author,
            author_id=self.author_id,
            # A message of nothing but a number is one in some packages.
            text=readable(str(text) if isinstance(text, int | float) else string(text), self._mentioned, self._zone),
            files=tuple(name_in(url) for url in string(row.get("Attachments")).split()),
        )

    @property
    def _mentioned(self) -> dict[str, str]:
        return {f"@{self.author_id}": self.author} if self.author_id else {}

    def _channel(self, number: int, known: Mapping[str, Any]) -> DiscordChannel:
        guild = mapping(known.get("guild"))
        guild_id = str(snowflake(guild.get("id")) or "")
        listed = string(self._index.get(str(number)))
        kind = kind_of(known.get("type"), has_guild=bool(guild_id) or " in " in listed)
        name = string(known.get("name"))
        if not name and kind != "direct":
            name = listed.rpartition(" in ")[0]
        return DiscordChannel(
            id=number,
            name=name or listed or str(number),
            kind=kind,
            guild=guild_id,
            guild_name=string(guild.get("name")) or (listed.rpartition(" in ")[2] if " in " in listed else ""),
        )

    def _person(self, above: str) -> tuple[str, str]:
        """Whose package it is, as far as it says so: its account may have been left out."""
        depth = above.count("/") + 1 if above else 0
        for name in self._names.values():
            if name.lower().endswith("/user.json") and name.startswith(above) and name.count("/") == depth + 1:
                user = mapping(self._small(name))
                shown = string(user.get("global_name")) or string(user.get("username"))
                if shown:
                    return shown, str(snowflake(user.get("id")) or "")
        return "me", ""

    def _small(self, name: str) -> object:
        """What a small JSON file says; None where there is none, or it cannot be read."""
        real = self._names.get(name.casefold())
        if real is None:
            return None
        try:
            with self._open(real, _MOST_SMALL) as file:
                return json.loads(file.read())
        except (_BrokenFileError, ValueError, RecursionError) as error:
            self.broken.append((real, " ".join(str(error).split())[:120]))
            return None

    @contextmanager
    def _open(self, name: str, most: int) -> Iterator[BinaryIO]:
        import ijson  # type: ignore[import-untyped]  # it has no types

        try:
            with self._files.open(name, most) as file:
                yield _Bounded(file, self, most)  # type: ignore[misc]  # as much of one as its readers need
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise _BrokenFileError(_words(error)) from error
        except (ijson.JSONError, csv.Error, UnicodeDecodeError, ValueError) as error:
            raise _BrokenFileError(_words(error)) from error

    def count(self, read: int) -> None:
        """So many bytes were read, of all files together."""
        self._read += read
        if self._read > MOST_BYTES_IN_ALL:
            raise UsageError(
                f"{self.path} holds more than {MOST_BYTES_IN_ALL // 2**30} GiB: that is no data package of Discord"
            )


class _BrokenFileError(Exception):
    """A file of the package cannot be read to its end."""


class _Bounded(io.RawIOBase):
    """A file that ends in an error where it is longer than it may be."""

    def __init__(self, file: BinaryIO, package: DiscordPackage, most: int) -> None:
        super().__init__()
        self._file, self._package, self._left, self._most = file, package, most, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # a writable buffer, for which 3.11 has no type
        data = self._file.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise OSError(f"it is longer than {self._most // 2**20} MiB")
        self._package.count(len(data))
        buffer[: len(data)] = data
        return len(data)


class _Zip:
    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise NotAnExportError(
                f"{path} is no zip, or a damaged one ({_words(error)}): download it again"
            ) from error

    def names(self) -> list[str]:
        return [entry.filename for entry in self._zip.infolist() if not entry.is_dir()]

    def open(self, name: str, most: int) -> BinaryIO:
        entry = self._zip.getinfo(name)
        if entry.file_size > most or entry.file_size > max(entry.compress_size, 4096) * _MOST_RATIO:
            raise OSError(f"{entry.file_size:,} bytes in {entry.compress_size:,} are more than messages can be")
        return self._zip.open(entry)  # type: ignore[return-value]  # a binary file in all but its type

    def close(self) -> None:
        self._zip.close()


class _Folder:
    """A package that something has unpacked already."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        # A link leads elsewhere and is not followed.
        wanted = {"messages.json", "messages.csv", "channel.json", "index.json", "user.json"}
        files = (file for pattern in ("*", "*/*", "*/*/*") for file in self._path.glob(pattern))
        kept = (file for file in files if file.name.lower() in wanted and not file.is_symlink() and file.is_file())
        return [file.relative_to(self._path).as_posix() for file in kept]

    def open(self, name: str, most: int) -> BinaryIO:
        file = self._path / name
        if file.stat().st_size > most:
            raise OSError(f"{file.stat().st_size:,} bytes are more than messages can be")
        return file.open("rb")

    def close(self) -> None:
        """Nothing is held open."""


def _json_rows(file: BinaryIO) -> Iterator[Mapping[str, Any]]:
    import ijson

    for value in ijson.items(Shallow(file), "item", use_float=True):
        yield mapping(value)


def _csv_rows(file: BinaryIO) -> Iterator[Mapping[str, Any]]:
    buffered = io.BufferedReader(file)  # type: ignore[type-var]  # raw enough
    yield from csv.DictReader(io.TextIOWrapper(buffered, encoding="utf-8-sig", newline=""))


def _words(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:160] or type(error).__name__
