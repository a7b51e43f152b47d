"""Several notes of ours become one, and come apart again as they were.

The first note keeps its id and gets the texts of the others below its own, and their files; they go to the trash, and
what links called them, links call the first one from then on: no other note's text is touched. All of it is one
transaction, and what each note said is kept beside it, so that `undo` puts everything back even when the trash was
emptied.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import apsw

from nescord.catalog import attachments as attachments_sql
from nescord.catalog import notes as notes_sql
from nescord.catalog import revisions as sql
from nescord.catalog import sources as sources_sql
from nescord.catalog.notes import DraftNote, IndexedChunk
from nescord.catalog.revisions import Revision
from nescord.drafting import Drafting, diff_chunks
from nescord.errors import NotFoundError, UsageError
from nescord.identifiers import uuid7
from nescord.notes import Note, Scope
from nescord.times import utc_text
from nescord.words import normalise

MOST = 50
_RULE = "\n\n---\n\n"


@dataclass(frozen=True, slots=True)
class MergeReport:
    """The note that is left, and the ids of those that went into it. `links` of other notes lead to it in their
    place; `repeated` of the texts were in it already and were not added."""

    note_id: str
    merged: tuple[str, ...]
    links: int
    repeated: int


@dataclass(frozen=True, slots=True)
class UnmergeReport:
    """The note as it was before its last merge, and the ids of those that are notes of their own again."""

    note_id: str
    restored: tuple[str, ...]


def merge(connection: apsw.Connection, drafting: Drafting, scope: Scope, note_ids: Sequence[str]) -> MergeReport:
    """Merge the notes into the first of them. The caller holds the write transaction.

    Raises:
        UsageError: a note is not ours, in the trash, or of another space; too many, too few, too long.
    """
    first, *others = notes = _checked(connection, scope, note_ids)
    now, merge_id = utc_text(datetime.now(UTC)), str(uuid7())
    place = sql.place_of(connection, first.id)
    assert place is not None  # it was just read
    body, repeated = _joined(notes)
    if len(body.encode("utf-8", "surrogatepass")) > drafting.max_bytes:
        raise UsageError(f"together they are longer than a note may be ({drafting.max_bytes:,} bytes)")
    names = dict.fromkeys(sql.names_of(connection, place.key))
    keys = []
    for note in notes:
        sql.keep(connection, note.id, merge=merge_id, merged_into=first.id, when=now)
    for note in others:
        other = sql.place_of(connection, note.id)
        assert other is not None
        keys.append(other.key)
        attachments_sql.copy_merged(connection, other.key, place.key)
        names |= dict.fromkeys(sql.names_of(connection, other.key))
    merged = replace(
        first,
        body=body,
        updated_at=now,
        tags=tuple(dict.fromkeys(tag for note in notes for tag in note.tags)),
        aliases=tuple(dict.fromkeys(alias for note in notes for alias in note.aliases)),
    )
    draft = drafting.restored(merged, source=place.source, path=first.path)
    own = set(draft.names)
    draft = replace(draft, origin=place.origin, names=list(dict.fromkeys([*draft.names, *names])))
    notes_sql.trash(connection, keys, now)
    _put(connection, place.key, draft)
    links = sql.count_links(connection, scope, place.key, (name for name in names if name not in own))
    return MergeReport(first.id, tuple(note.id for note in others), links, repeated)


def undo(connection: apsw.Connection, drafting: Drafting, scope: Scope, note_id: str) -> UnmergeReport:
    """Take back the last merge into a note. What it says now is kept as a revision. The caller holds the transaction.

    Raises:
        NotFoundError: nothing was merged into it. UsageError: it is in the trash.
    """
    note = _found(connection, scope, note_id)
    revisions = sql.last_merge(connection, note.id)
    if not revisions:
        raise NotFoundError(f"nothing was merged into {note.path} ({note.id})")
    now = utc_text(datetime.now(UTC))
    sql.keep(connection, note.id, merge="", merged_into="", when=now)
    restored = []
    merged = sql.place_of(connection, note.id)
    assert merged is not None
    for revision in revisions:
        place = sql.place_of(connection, revision.note_id)
        if revision.note_id == note.id:
            assert place is not None
            _put(connection, place.key, _draft(connection, drafting, revision, place.source))
        elif place is None or place.is_trashed:
            home = sources_sql.captures(connection).id if place is None else place.source
            draft = _draft(connection, drafting, revision, home)
            chunks = [IndexedChunk.of(chunk) for chunk in draft.chunks]
            if place is None:
                notes_sql.insert(connection, [(revision.note_id, draft, chunks)])
            else:
                notes_sql.restore(connection, revision.note_id, draft, chunks)
            restored.append(revision.note_id)
        if revision.note_id != note.id:
            attachments_sql.give_back(connection, merged.key, revision.note_id)
    sql.drop_merge(connection, revisions[0].merge)
    attachments_sql.drop_of_erased(connection, merged.key)
    return UnmergeReport(note.id, tuple(restored))


def _checked(connection: apsw.Connection, scope: Scope, note_ids: Sequence[str]) -> list[Note]:
    unique = list(dict.fromkeys(note_ids))
    if not 2 <= len(unique) <= MOST:
        raise UsageError(f"{len(unique)} notes cannot be merged: name 2 to {MOST} different ones")
    notes = []
    for note_id in unique:
        notes.append(_found(connection, scope, note_id))
    for note in notes[1:]:
        if note.space != notes[0].space:
            raise UsageError(
                f"{note.path} is in the space {note.space} and {notes[0].path} in {notes[0].space}: "
                "only notes of one space can be merged, or others would see them"
            )
    return notes


def _found(connection: apsw.Connection, scope: Scope, note_id: str) -> Note:
    """The note, fit to be changed: read again in this transaction, whatever it was before."""
    found = notes_sql.find(connection, note_id, scope)
    if not found:
        raise NotFoundError(f'no note "{note_id}"')
    note = found[0]
    if note.owner != "us":
        raise UsageError(f'{note.path} comes from the vault "{note.source}": change its file and ingest')
    if note.trashed_at:
        raise UsageError(f"{note.path} is in the trash: restore it first (nescord note restore {note.id})")
    return note


def _joined(notes: Sequence[Note]) -> tuple[str, int]:
    """The texts one below the other, each under its title, and how many were left out as they were there already."""
    texts, seen, repeated = [notes[0].body.rstrip()], _folded(notes[0].body), 0
    for note in notes[1:]:
        folded = _folded(note.body)
        if folded in seen:
            repeated += 1
            continue
        seen += "\n" + folded
        body = note.body.strip()
        heading = "" if not note.title or note.title in body[: len(note.title) + 10] else f"## {note.title}\n\n"
        texts.append(heading + body)
    return _RULE.join(texts) + "\n", repeated


def _folded(text: str) -> str:
    return "".join(normalise(text).split())


def _draft(connection: apsw.Connection, drafting: Drafting, revision: Revision, source: int) -> DraftNote:
    note = Note(
        id=revision.note_id,
        source="",
        path=revision.path,
        title=revision.title,
        body=revision.body,
        front_matter=json.loads(revision.front_matter),
        lang=revision.lang,
        author=revision.author,
        space=revision.space,
        kind=revision.kind,  # type: ignore[arg-type]  # as the table it comes from has it
        owner="us",
        created_at=revision.created_at,
        updated_at=revision.updated_at,
        trashed_at="",
        tags=tuple(json.loads(revision.tags)),
        aliases=tuple(json.loads(revision.aliases)),
    )
    path = revision.path
    place = sql.place_of(connection, revision.note_id)
    if (place is None or place.is_trashed) and notes_sql.is_taken(connection, source, path):
        path = f"{revision.note_id}/{path}"
    draft = drafting.restored(note, source=source, path=path)
    names = list(dict.fromkeys([*draft.names, *json.loads(revision.names)]))
    return replace(draft, origin=revision.origin, names=names)


def _put(connection: apsw.Connection, key: int, draft: DraftNote) -> None:
    notes_sql.update(connection, [(key, draft, diff_chunks(notes_sql.chunks_of(connection, key), draft))])
