"""What is stored after a soak, held against what was promised: notes, spaces, and what should not be there any more.

Everything here looks at files and at a ledger's answers only, so that a test can hand it a copy with one thing wrong.
Each violation is a line that names the thing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw

from benchmarks.crash_ledger import unsound
from nescord import KnowledgeManager, durable
from nescord.backup.copies import open_copy
from nescord.catalog import fulltext
from nescord.notes import SearchHits

States = frozenset[str | None]
MARKER = re.compile(r"zq[a-z]\d{5}x")
"""What tells one note of the load from every other; each text has exactly one."""

_NOTES = """
SELECT id, path, owner, space, author, body, content_hash, trashed_at
FROM note JOIN note_text ON note_text.note = note.key
"""
# Where a text of a note may linger.
_TEXTS = {
    "notes": "SELECT body FROM note_text",
    "titles": "SELECT title FROM note",
    "chunks": "SELECT text FROM chunk",
    "earlier versions": "SELECT body FROM note_revision",
    "the inbox": "SELECT payload FROM inbox",
}
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Stored:
    """A note as it lies in a database."""

    id: str
    path: str
    owner: str
    space: str
    author: str
    body: str
    content_hash: bytes
    trashed_at: str | None = None

    @property
    def is_trashed(self) -> bool:
        return self.trashed_at is not None


@dataclass(frozen=True, slots=True)
class Content:
    """What a database holds: its notes, where markers are found besides in them, and what is wrong with itself."""

    notes: Sequence[Stored]
    texts: Mapping[str, frozenset[str]]
    unsound: Sequence[str]

    @property
    def living(self) -> dict[str, list[Stored]]:
        """The living notes of ours, by marker."""
        found: dict[str, list[Stored]] = {}
        for note in self.notes:
            if note.owner == "us" and not note.is_trashed:
                for marker in set(MARKER.findall(note.body)):
                    found.setdefault(marker, []).append(note)
        return found


def read(database: Path, *, is_copy: bool = False) -> Content:
    """Everything of a database that nobody uses now."""
    if is_copy:
        with open_copy(database) as connection:
            return _content(connection)
    with closing(apsw.Connection(str(database))) as connection:
        fulltext.add_functions(connection)
        return _content(connection)


def _content(connection: apsw.Connection) -> Content:
    notes = [Stored(*row) for row in connection.execute(_NOTES)]
    texts = {
        place: frozenset(marker for (text,) in connection.execute(statement) for marker in MARKER.findall(str(text)))
        for place, statement in _TEXTS.items()
    }
    return Content(notes, texts, list(unsound(connection)))


def wrong_notes(content: Content, permitted: Mapping[str, States], where: str) -> Iterator[str]:
    """Notes that are lost, there twice, not as they were left, or there although they must not be."""
    yield from (f"{where}: {found}" for found in content.unsound)
    living = content.living
    for marker, states in sorted(permitted.items()):
        found = living.get(marker, [])
        wanted = [text for text in states if text is not None]
        wrong = [note.body for note in found if not any(text in note.body for text in wanted)]
        if len(found) > 1:
            yield f"{where}: {marker} is there {len(found)} times: {', '.join(note.id for note in found)}"
        if not found and None not in states:
            yield f"{where}: {marker} is lost{_whereabouts(content, marker)}"
        elif found and not wanted:
            yield f"{where}: {marker} is there ({found[0].id}), and was deleted or erased"
        elif wrong:
            choice = " or ".join(sorted(repr(text[:_SHOWN]) for text in wanted))
            yield f"{where}: {marker} says {wrong[0][:_SHOWN]!r} instead of {choice}"
    for marker in sorted(living.keys() - permitted.keys()):
        yield f"{where}: {marker} is there ({living[marker][0].id}), and was never asked for"


def wrong_spaces(content: Content, spaces: Mapping[str, str], where: str) -> Iterator[str]:
    """Notes that are in another space than they were kept in."""
    for note in content.notes:
        for marker in set(MARKER.findall(note.body)):
            if spaces.get(marker) != note.space:
                yield f"{where}: {marker} ({note.id}) is in {note.space}, and was kept in {spaces.get(marker)}"


def wrong_erasures(content: Content, erased: Iterable[str], where: str) -> Iterator[str]:
    """Markers of people who were erased that are anywhere at all."""
    gone = set(erased)
    for place, markers in content.texts.items():
        for marker in sorted(markers & gone):
            yield f"{where}: {marker} was erased, and is in {place}"


def wrong_vault(content: Content, files: Mapping[str, str], where: str) -> Iterator[str]:
    """Notes of the vault that are not as the last commit has them."""
    wanted = {path: _hash(text) for path, text in files.items() if path.endswith(".md")}
    stored = {note.path: note.content_hash for note in content.notes if note.owner != "us" and not note.is_trashed}
    for path in sorted(wanted.keys() | stored.keys()):
        if path not in stored:
            yield f"{where}: {path} of the vault is not stored"
        elif path not in wanted:
            yield f"{where}: {path} is stored, and not in the vault any more"
        elif stored[path] != wanted[path]:
            yield f"{where}: {path} is not stored as the vault has it"


def leaks(
    knowledge: KnowledgeManager, markers: Iterable[str], spaces: Mapping[str, str], homes: Mapping[str, str], mode: str
) -> Iterator[str]:
    """What a search for each marker shows in a space that it is not of. `homes`: the space of each note by its id, as
    it was kept."""
    for marker in markers:
        for scope in sorted({*spaces.values(), "guild:99"}):
            for hit in _found(knowledge, scope, marker, mode):
                home = homes.get(hit, "a space that nobody knows")
                if home != scope:
                    yield f"search by {mode} in {scope} for {marker} shows {hit}, which is of {home}"


def unfound(knowledge: KnowledgeManager, wanted: Mapping[str, str], spaces: Mapping[str, str]) -> Iterator[str]:
    """Notes (marker to id) that a search by words does not find in their own space."""
    for marker, note in wanted.items():
        if note not in _found(knowledge, spaces[marker], marker, "keyword"):
            yield f"search by words in {spaces[marker]} does not find {marker} ({note})"


def _found(knowledge: KnowledgeManager, scope: str, query: str, mode: str) -> list[str]:
    hits: SearchHits = knowledge.scoped({scope}).search(query, mode=mode, limit=30)
    return [hit.note_id for hit in hits]


def disagreements(chroma: Mapping[str, SearchHits], exact: Mapping[str, SearchHits], least: float) -> Iterator[str]:
    """Queries whose answers by Chroma and by the exact scan have too little in common."""
    shares = []
    for query, hits in chroma.items():
        if hits.index_kind in ("", "exact") or hits.degraded:
            yield f"Chroma does not answer {query!r}: {'; '.join(hits.degraded) or 'the exact scan did'}"
        theirs, ours = ({hit.chunk_id for hit in found} for found in (hits, exact[query]))
        shares.append(len(theirs & ours) / len(ours) if ours else 1.0)
    if shares and sum(shares) / len(shares) < least:
        yield f"Chroma and the exact scan agree in {sum(shares) / len(shares):.1%} only, of {len(shares)} queries"


def left_over(data: Path) -> Iterator[str]:
    """Files of what was cut short, which nobody will ever finish."""
    for path in sorted(data.rglob("*")):
        inside = path.relative_to(data)
        if inside.parts[0] == "chroma.bad":
            continue
        is_rest = durable.is_temporary(path) or path.name.startswith("scratch-") or path.name.endswith(".tmp")
        if is_rest or inside.parts in ((".restore", "journal.json"), ("backups", "staging")):
            yield f"{inside} is left behind"


def held_locks(data: Path) -> Iterator[str]:
    """Locks that somebody still holds."""
    for path in sorted(data.rglob("*.lock")):
        fd = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield f"{path.relative_to(data)} is held"
        finally:
            os.close(fd)


def left_processes(data: Path) -> Iterator[str]:
    """Processes, but this one, whose command or environment names the data folder."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            seen = words + b"\0" + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(data).encode() in seen:
            shown = words.replace(b"\0", b" ").decode("utf-8", "replace")
            yield f"process {entry.name} is left: {shown[:120]}"


def _whereabouts(content: Content, marker: str) -> str:
    """Where else a marker is: in the trash, or in another text."""
    places = [f"{note.id} in the trash" for note in content.notes if note.is_trashed and marker in note.body]
    places += [place for place, markers in content.texts.items() if marker in markers and place != "notes"]
    return f" (found in: {', '.join(places)})" if places else ""


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=20).digest()
