"""Notes as JSON lines, as `nescord export --format jsonl` writes them: docs/export.md has the keys.

A file holds the notes of several sources, each of which is imported as a source of its own. Nothing of the file is kept
in memory but the line at hand.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from nescord.errors import UsageError
from nescord.notes import Attachment
from nescord.sources.entries import Entry, FormerText, SourceNote, UnreadableError, digest_of

FORMAT, VERSION = "nescord-jsonl", 1
_LONGEST_LINE = 256 * 2**20
_MOST_SOURCES = 100
_LONGEST_NAME = 200
_IN_NO_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_KINDS = ("fleeting", "permanent", "link")


@dataclass(slots=True)
class JsonlSource:
    """The notes of one source of a file; a source, see `nescord.sources.entries`."""

    file: BinaryIO
    shown: str
    name: str
    root: str
    wanted: str
    is_first: bool
    _read: tuple[str, Mapping[str, Any] | UnreadableError] = field(default=("", UnreadableError("")))

    def scan(self) -> Iterator[Entry]:
        """The lines of this source, and what is no note at all with the first one. What is in the trash there stays."""
        for number, line in _lines(self.file, self.shown):
            path, said = _parsed(line, number)
            if isinstance(said, UnreadableError):
                is_wanted = self.is_first
            else:
                is_wanted = said["source"] == self.wanted and not said.get("trashed_at")
            if is_wanted:
                self._read = (path, said)
                yield Entry(path, digest_of(line))

    def read(self, entry: Entry) -> SourceNote:
        path, said = self._read
        if path != entry.path:
            raise UnreadableError("it was not the last one that was scanned")
        if isinstance(said, UnreadableError):
            raise said
        kind, owner = _text(said, "kind"), _text(said, "owner")
        return SourceNote(
            _text(said, "text"),
            title=_text(said, "title"),
            tags=_texts(said, "tags"),
            author=_text(said, "author"),
            origin=_text(said, "origin"),
            created_at=_text(said, "created_at"),
            updated_at=_text(said, "updated_at"),
            note_id=_text(said, "id"),
            space=_text(said, "space"),
            kind=kind if kind in _KINDS else "",  # type: ignore[arg-type]  # one of its literals
            owner=owner if owner in ("source", "us") else "",  # type: ignore[arg-type]  # as above
            aliases=_texts(said, "aliases"),
            front_matter=_mapping(said["front_matter"], "front_matter") if "front_matter" in said else None,
            # The last one first, in the file.
            history=tuple(reversed([_former(each) for each in _list(said, "revisions")])),
            attachments=tuple(_attachment(each) for each in _list(said, "attachments")),
        )


@contextmanager
def opened(path: Path, *, name: str = "") -> Iterator[list[JsonlSource]]:
    """The sources of the file at `path`, in the order in which they come. With a `name` they are told apart from those
    of another file: without it, sources of one name are one.

    Raises:
        UsageError: it cannot be read, is no such file, or is of a newer version.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    with file:
        names: dict[str, None] = {}
        for number, line in _lines(file, str(path)):
            _, said = _parsed(line, number)
            if not isinstance(said, UnreadableError):
                names.setdefault(said["source"])
            if len(names) > _MOST_SOURCES:
                raise UsageError(f"{path} has notes of more than {_MOST_SOURCES} sources: split it")
        if not names:
            names["jsonl"] = None  # then what is wrong with its lines is told of
        yield [
            JsonlSource(
                file,
                str(path),
                f"{name}-{wanted}" if name else wanted,
                f"jsonl:{name}/{wanted}" if name else f"jsonl:{wanted}",
                wanted,
                is_first=place == 0,
            )
            for place, wanted in enumerate(names)
        ]


def _lines(file: BinaryIO, shown: str) -> Iterator[tuple[int, bytes]]:
    """The lines of notes with their numbers; the file may be read by another one between two of them."""
    try:
        at = _check_head(file, shown)
        number = 1
        while True:
            file.seek(at)
            line = file.readline(_LONGEST_LINE)
            if not line:
                return
            at, number = file.tell(), number + 1
            if len(line) == _LONGEST_LINE:
                raise UsageError(f"{shown}, line {number}: it is longer than {_LONGEST_LINE // 2**20} MiB")
            if line.strip():
                yield number, line.strip()
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror}") from None


def _check_head(file: BinaryIO, shown: str) -> int:
    file.seek(0)
    first = file.readline(10_000).removeprefix(b"\xef\xbb\xbf")
    try:
        head = json.loads(first)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise UsageError(f'{shown} is no export of notes as JSON lines: its first line must say "format": "{FORMAT}"')
    if head.get("version") != VERSION:
        raise UsageError(
            f"{shown} is of version {head.get('version')}, this nescord reads {VERSION}: update it, or export again"
        )
    return file.tell()


def _parsed(line: bytes, number: int) -> tuple[str, Mapping[str, Any] | UnreadableError]:
    """The path of a line and what it says, as far as it tells which note it is."""
    where = f"line {number}"
    try:
        said = json.loads(line, parse_constant=_refuse)
    except RecursionError:
        return where, UnreadableError("it is nested too deep")
    except ValueError as error:
        return where, UnreadableError(f"it is no JSON: {error}")
    if not isinstance(said, dict):
        return where, UnreadableError("it is no JSON object")
    path, source = said.get("path"), said.get("source")
    if not isinstance(path, str) or not path or not isinstance(source, str):
        return where, UnreadableError('"path" or "source" is missing, or no text')
    if not source.strip() or len(source) > _LONGEST_NAME or _IN_NO_NAME.search(source):
        return where, UnreadableError(f'"source" is no name of up to {_LONGEST_NAME} characters')
    return path, said


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _former(value: object) -> FormerText:
    said = _mapping(value, "revisions")
    return FormerText(_text(said, "title"), _text(said, "text"), _texts(said, "tags"), _text(said, "replaced_at"))


def _attachment(value: object) -> Attachment:
    said = _mapping(value, "attachments")
    name, media_type, size = _text(said, "name"), _text(said, "media_type"), said.get("size", 0)
    encoded = _text(said, "bytes_base64")
    if not encoded and (not _text(said, "sha256") or size):
        reason = _text(said, "reason") or "the export does not have it"
        return Attachment(name, media_type, None, size if isinstance(size, int) and size >= 0 else 0, reason)
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableError(f'the file "{name}" is no base64') from None
    if said.get("sha256") not in (None, hashlib.sha256(content).hexdigest()):
        raise UnreadableError(f'the file "{name}" is not what was exported: its sha256 does not fit')
    return Attachment(name, media_type, content, len(content))


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key)
    if value is not None and not isinstance(value, str):
        raise UnreadableError(f'"{key}" is no text')
    return value or ""


def _texts(said: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = _list(said, key)
    if not all(isinstance(value, str) for value in values):
        raise UnreadableError(f'"{key}" is no list of texts')
    return tuple(values)


def _list(said: Mapping[str, Any], key: str) -> list[Any]:
    value = said.get(key)
    if value is not None and not isinstance(value, list):
        raise UnreadableError(f'"{key}" is no list')
    return value or []


def _mapping(value: object, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UnreadableError(f'"{key}" is no JSON object')
    return value
