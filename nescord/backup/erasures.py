"""What was erased for good, remembered beside the backups: a restore must not bring it back.

One JSON line each, on disk before anything goes. Ids only: nothing of what a note said. A person is erased up to a
moment, and what they write afterwards is theirs again; a second line says that the erasure has come to its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nescord import durable
from nescord.identifiers import made_at
from nescord.times import utc_text

_NAME = "erasures.jsonl"


def remember(backups: Path, note_id: str, when: str, *, root: str = "", messages: Sequence[int] = ()) -> None:
    """Keep that a note was erased; on disk when this returns. `messages` of Discord that it was made of are not to
    come back in another note of the source of that root."""
    said: dict[str, object] = {"root": root, "messages": list(messages)} if messages else {}
    _append(backups, {"note": note_id, "at": when, **said})


def remember_person(backups: Path, who: str, before: str) -> None:
    """Keep that all of a person from before that moment (UTC text) is to go; on disk when this returns."""
    _append(backups, {"who": who, "at": before})


def note_done(backups: Path, who: str, before: str) -> None:
    """Keep that nothing of that erasure is left to do."""
    _append(backups, {"who": who, "at": before, "done": True})


def erased(backups: Path) -> set[str]:
    """The ids of all notes that were erased one by one."""
    return {str(line["note"]) for line in _lines(backups) if "note" in line}


def erased_messages(backups: Path, root: str) -> set[int]:
    """The ids of the messages of all erased notes of the source of that root."""
    lines = (line for line in _lines(backups) if line.get("root") == root)
    return {number for line in lines for number in line.get("messages", ()) if isinstance(number, int)}


def erased_people(backups: Path) -> dict[str, str]:
    """Who was erased, and the moment (UTC text) before which nothing of them may be there, the latest of each."""
    people: dict[str, str] = {}
    for who, before, _ in _people(backups):
        people[who] = max(before, people.get(who, ""))
    return people


def is_erased(backups: Path, note_id: str, *, author: str, space: str) -> bool:
    """Whether a note of that id is not to be kept (again): it was erased, or was accepted before its author was."""
    if note_id in erased(backups):
        return True
    people, made = erased_people(backups), made_at(note_id)
    return made is not None and any(utc_text(made) < people.get(who, "") for who in (author, space))


def unfinished_people(backups: Path) -> dict[str, str]:
    """Those of `erased_people` whose last erasure has not come to its end: a kill, or a lock, was in the way."""
    people = erased_people(backups)
    for who, before, is_done in _people(backups):
        if is_done and people.get(who, "~") <= before:
            del people[who]
    return people


def content(backups: Path) -> bytes:
    """All that is remembered, each line once, as it is copied elsewhere; b"" where nothing is."""
    return _joined(dict.fromkeys(map(_line, _lines(backups))))


def add(backups: Path, content: bytes) -> int:
    """Remember what was remembered elsewhere; how many lines were new. On disk when this returns."""
    known = {_line(entry) for entry in _lines(backups)}
    new = dict.fromkeys(line for line in map(_line, _entries(content)) if line not in known)
    if new:
        durable.make_folder(backups)
        durable.append(backups / _NAME, b"\n" + _joined(new))
    return len(new)


def _people(backups: Path) -> Iterator[tuple[str, str, bool]]:
    for line in _lines(backups):
        if "who" in line and "at" in line:
            yield str(line["who"]), str(line["at"]), line.get("done") is True


def _append(backups: Path, entry: Mapping[str, object]) -> None:
    durable.make_folder(backups)
    # A blank line first: what a power cut left of an earlier line must not swallow this one.
    durable.append(backups / _NAME, f"\n{_line(entry)}\n".encode("ascii"))


def _line(entry: Mapping[str, object]) -> str:
    return json.dumps(entry)


def _joined(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _lines(backups: Path) -> Iterator[dict[str, Any]]:
    try:
        yield from _entries((backups / _NAME).read_bytes())
    except FileNotFoundError:
        return


def _entries(content: bytes) -> Iterator[dict[str, Any]]:
    for line in filter(None, content.splitlines()):
        try:
            entry = json.loads(line)
        except ValueError:  # cut off before it was acknowledged
            continue
        if isinstance(entry, dict):
            yield entry
