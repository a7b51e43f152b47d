"""Import what was said in Discord: exports of channels, and Discord's own data package.

Every guild, the direct messages and the package are a source each, and so is each of them in another space than its
own: what one import shows to some people, a later one never shows to others.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nescord.errors import UsageError
from nescord.opened import OpenBase
from nescord.setting_rules import is_space
from nescord.sources.discord_export import DiscordExport
from nescord.sources.discord_history import DiscordHistory
from nescord.sources.discord_messages import DiscordChannel, DiscordMessage, Piece, piece, shown_name
from nescord.sources.discord_package import DiscordPackage, package_root
from nescord.sources.discord_threads import GAP_MINUTES

if TYPE_CHECKING:
    from nescord.importing import ImportReport

_LONGEST_GAP = 7 * 24 * 60
_PERSON = re.compile(r"user:([0-9]{1,20})")


@dataclass(frozen=True, slots=True)
class DiscordImport:
    """What became of one source of an import. `said` counts its messages, `left_out` those that could not be used or
    are of people who were erased; `troubles` says what else was not as it should be."""

    said: int
    left_out: int
    troubles: tuple[str, ...]
    report: ImportReport


@dataclass(slots=True)
class DiscordImports:
    """All of an import. `unusable` says of each file that is none why."""

    imports: list[DiscordImport] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Part:
    """The files of one source."""

    name: str
    root: str
    space: str
    files: list[DiscordExport | Path] = field(default_factory=list)


def import_discord(
    base: OpenBase,
    take_in: Callable[[DiscordHistory, str], ImportReport],
    paths: Sequence[Path],
    *,
    space: str = "",
    gap_minutes: int = GAP_MINUTES,
) -> DiscordImports:
    """See `DiscordVerbs.import_discord`. `take_in` stores what is new or changed in a source that goes to a space."""
    if space and not is_space(space):
        raise UsageError(f'"{space}" is no space: personal, guild:<id> or user:<id>, where <id> is a number of Discord')
    if not 1 <= gap_minutes <= _LONGEST_GAP:
        raise UsageError(f"a gap of {gap_minutes} minutes: 1 to {_LONGEST_GAP} (a week) is possible")
    zone = ZoneInfo(base.settings.timezone)
    done = DiscordImports()
    database = base.folder.database
    live = [database, *(database.with_name(f"{database.name}{suffix}") for suffix in ("-wal", "-shm"))]
    parts = _parts(paths, space, zone, live, done.unusable)
    if not parts:
        raise UsageError("; ".join(done.unusable) or "there is nothing to import: name a file or folder")
    for part in parts:
        done.imports.append(_import(base, take_in, part, gap_minutes, zone))
        if done.imports[-1].report.interrupted:
            break
    return done


def _import(
    base: OpenBase,
    take_in: Callable[[DiscordHistory, str], ImportReport],
    part: _Part,
    gap_minutes: int,
    zone: tzinfo,
) -> DiscordImport:
    from nescord.backup import erasures
    from nescord.catalog.discord_history import Spool, stored_notes

    backups = base.folder.backups

    def stored(channel: DiscordChannel) -> Iterator[tuple[str, str, str]]:
        with base.verb() as catalog, catalog.read() as connection:
            yield from stored_notes(connection, part.root, channel.id)

    def erased() -> tuple[set[int], dict[int, int]]:
        people = {
            int(found[1]): ceil(datetime.fromisoformat(before).timestamp())
            for who, before in erasures.erased_people(backups).items()
            if (found := _PERSON.fullmatch(who))
        }
        return erasures.erased_messages(backups, part.root), people

    with Spool() as spool:
        reading = _Reading(zone)
        said = 0
        for file in part.files:
            for channel, pieces, is_last_word in reading.channels(file):
                spool.add_channel(channel, is_last_word=is_last_word)
                said += spool.add(channel.id, pieces, is_last_word=is_last_word)
        source = DiscordHistory(
            part.name,
            part.root,
            spool,
            stored,
            gap_minutes=gap_minutes,
            zone=zone,
            erased=erased,
        )
        report = take_in(source, part.space)
    return DiscordImport(said - source.left_out, reading.left_out + source.left_out, tuple(reading.troubles), report)


class _Reading:
    """Reads files and keeps count of what could not be used."""

    def __init__(self, zone: tzinfo) -> None:
        self.left_out = 0
        self.troubles: list[str] = []
        self._zone = zone

    def channels(self, file: DiscordExport | Path) -> Iterator[tuple[DiscordChannel, Iterator[Piece], bool]]:
        """Each channel of a file with its messages, and whether what they say counts though no edit is told of."""
        if isinstance(file, DiscordExport):
            yield file.channel, self._pieces(file.messages(), file.channel), False
            self.left_out += file.left_out
            if file.cut_off:
                self.troubles.append(
                    f"{file.path} is broken ({file.cut_off}): what stands before that was imported; export it again"
                )
            return
        with DiscordPackage(file, self._zone) as package:
            for one in package.channels():
                yield one.channel, self._pieces(package.messages(one), one.channel), True
            self.left_out += package.left_out
            self.troubles += [f"{file}: {name} is broken ({reason})" for name, reason in package.broken]

    def _pieces(self, messages: Iterator[DiscordMessage], channel: DiscordChannel) -> Iterator[Piece]:
        with closing(messages):  # type: ignore[type-var]  # generators all
            for message in messages:
                made = piece(message, channel, self._zone)
                if made:
                    yield made


def _parts(paths: Sequence[Path], space: str, zone: tzinfo, live: Sequence[Path], unusable: list[str]) -> list[_Part]:
    """The files by the source that they belong to."""
    parts: dict[str, _Part] = {}

    def add(name: str, root: str, own_space: str, usual: str, file: DiscordExport | Path) -> None:
        wanted = space or own_space
        if wanted != usual:
            name, root = f"{name} ({wanted})", f"{root}@{wanted}"
        parts.setdefault(root, _Part(name, root, wanted)).files.append(file)

    for path in _files(paths, unusable):
        # Closing a file that is open here, too, would drop the locks of the database.
        if any(own.exists() and path.samefile(own) for own in live):
            unusable.append(f"{path} is the database of this knowledge base")
            continue
        try:
            if path.is_dir() or path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
                with DiscordPackage(path, zone):
                    add("discord: data package", "discord:package", "personal", "personal", path)
                continue
            export = DiscordExport(path, zone)
        except UsageError as error:
            unusable.append(str(error))
            continue
        channel = export.channel
        if channel.kind == "direct":
            add("discord: direct messages", "discord:direct", "personal", "personal", export)
        else:
            guild = f"guild:{channel.guild}"
            # Who may read a private thread is not known here: not everybody in the guild.
            own = "personal" if channel.kind == "private thread" else guild
            name = shown_name(channel.guild_name) or channel.guild
            add(f"discord: {name}", f"discord:{channel.guild}", own, guild, export)
    return list(parts.values())


def _files(paths: Sequence[Path], unusable: list[str]) -> Iterator[Path]:
    """Files, and of each folder the packages and exports in it; what was downloaded with an export is neither."""
    for path in paths:
        if not path.exists():
            unusable.append(f"{path} does not exist")
        elif not path.is_dir():
            yield path
        else:
            found = sorted(file for file in path.rglob("*") if file.is_file() and not _is_media(file))
            packages = {root for file in found if (root := package_root(path, file))}
            exports = [file for file in found if file.suffix.lower() in (".json", ".zip")]
            of_folder = [*sorted(packages), *(file for file in exports if packages.isdisjoint(file.parents))]
            if not of_folder:
                unusable.append(f"{path} holds no JSON of DiscordChatExporter and no data package of Discord")
            yield from of_folder


def _is_media(file: Path) -> bool:
    return any(parent.name.endswith("_Files") for parent in file.parents)
