"""SQL of what an export asks: which notes there are, what they are called, and what a Note does not say of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import apsw

from nescord.catalog.notes import spaces_json
from nescord.notes import Scope


class NamedNote(NamedTuple):
    """What a note is called. `aliases` is JSON."""

    note_id: str
    source: str
    kind_of_source: str
    path: str
    title: str
    space: str
    aliases: str


class StoredFile(NamedTuple):
    """A file of a note; `sha256` is None where its bytes are not stored, and `reason` says why."""

    ordinal: int
    name: str
    media_type: str
    size: int
    sha256: bytes | None
    reason: str


_SEEN = "(:spaces IS NULL OR note.space IN (SELECT value FROM json_each(:spaces)))"
_OF = f"FROM note JOIN source ON source.id = note.source WHERE trashed_at IS NULL AND {_SEEN}"


def named_notes(connection: apsw.Connection, scope: Scope) -> Iterator[NamedNote]:
    """The living notes in scope, those of vaults before those that were captured, each in the order of their ids."""
    rows = connection.execute(
        "SELECT note.id, source.name, source.kind, note.path, note.title, note.space, "
        f"(SELECT aliases FROM note_text WHERE note_text.note = note.key) {_OF} "
        "ORDER BY source.kind = 'capture', note.id",
        {"spaces": spaces_json(scope)},
    )
    return (NamedNote(*row) for row in rows)


def ids(connection: apsw.Connection, scope: Scope) -> list[str]:
    """The ids of the living notes in scope, in their order: what is exported of them follows it."""
    rows = connection.execute(f"SELECT note.id {_OF} ORDER BY note.id", {"spaces": spaces_json(scope)})
    return [str(note_id) for (note_id,) in rows]


def vaults(connection: apsw.Connection, scope: Scope) -> int:
    """How many sources the notes are of, what was captured not counted."""
    number: int = connection.execute(
        f"SELECT count(DISTINCT source.id) {_OF} AND source.kind <> 'capture'", {"spaces": spaces_json(scope)}
    ).get
    return number


def spaces(connection: apsw.Connection, scope: Scope) -> list[str]:
    """The spaces that the notes are in."""
    rows = connection.execute(f"SELECT DISTINCT note.space {_OF} ORDER BY 1", {"spaces": spaces_json(scope)})
    return [str(space) for (space,) in rows]


def origin(connection: apsw.Connection, note_id: str) -> str:
    """Where a note was said ("": nowhere)."""
    return str(connection.execute("SELECT origin FROM note WHERE id = ?", (note_id,)).get or "")


def files(connection: apsw.Connection, note_id: str) -> list[StoredFile]:
    """The files of a note in order."""
    rows = connection.execute(
        "SELECT ordinal, name, media_type, size, sha256, reason FROM attachment "
        "WHERE note = (SELECT key FROM note WHERE id = ?) ORDER BY ordinal",
        (note_id,),
    )
    return [StoredFile(*row) for row in rows]


def folders(connection: apsw.Connection) -> list[str]:
    """Where vaults lie that are read, as real paths: nothing is written there."""
    rows = connection.execute("SELECT root FROM source WHERE root LIKE '/%' AND removed_at IS NULL")
    return [str(root) for (root,) in rows]
