"""SQL of notes with their text, tags, links, names and chunks.

Writers take whole batches: one statement per table over all notes of a batch costs a third of one per note. All of
them run inside the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

import apsw

from nescord.catalog import attachments, fulltext
from nescord.language import language_group
from nescord.notes import Chunk, Note, ResolvedLink, Scope, TrashedNote
from nescord.sources.vault import Fingerprint, KnownFile
from nescord.words import index_text


@dataclass(frozen=True, slots=True)
class DraftNote:
    """A note ready to be written: every column of `note` and `note_text`, and the rows that hang on it."""

    source: int
    path: str
    raw_path: bytes | None
    fingerprint: Fingerprint
    content_hash: bytes
    title: str
    lang: str
    author: str
    space: str
    kind: str
    owner: str
    origin: str
    created_at: str
    updated_at: str
    body: str
    body_offset: int
    front_matter: str
    aliases: str
    tags: Sequence[str]
    links: Sequence[tuple[str, str, str, str, str]]
    names: Sequence[str]
    chunks: Sequence[Chunk]

    @property
    def language_group(self) -> str:
        """Which vectors its own are searched with."""
        return language_group(self.lang)

    def index_title(self) -> str:
        return fulltext.index_title(self.title, self.aliases)


@dataclass(frozen=True, slots=True)
class IndexedChunk:
    """A chunk with its index words, which are made before the transaction begins: it should be short."""

    chunk: Chunk
    headings: str
    text: str

    @classmethod
    def of(cls, chunk: Chunk) -> IndexedChunk:
        return cls(chunk, index_text(chunk.headings), index_text(chunk.text))


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """What a diff needs of a chunk that is already stored."""

    id: int
    ordinal: int
    headings: str
    text_hash: bytes
    start: int
    end: int
    language_group: str


@dataclass(frozen=True, slots=True)
class ChunkDiff:
    """How the chunks of a changed note differ: equal text keeps its id, whatever moved around it."""

    kept: Sequence[tuple[StoredChunk, Chunk]]
    new: Sequence[IndexedChunk]
    gone: Sequence[int]


@dataclass(frozen=True, slots=True)
class KnownNote:
    """What planning an ingest needs of a stored note."""

    path: str
    key: int
    raw_path: bytes | None
    created_at: str
    content_hash: bytes


def fingerprints(connection: apsw.Connection, source: int) -> list[KnownFile]:
    """(path, raw_path, size, mtime_ns, ctime_ns, inode) of the living notes that `source` owns, in one SELECT."""
    rows: list[KnownFile] = connection.execute(
        "SELECT path, raw_path, size, mtime_ns, ctime_ns, inode FROM note "
        "WHERE source = ? AND trashed_at IS NULL AND owner = 'source'",
        (source,),
    ).fetchall()  # type: ignore[assignment]  # APSW cannot know the columns
    return rows


def known_by_path(connection: apsw.Connection, source: int) -> dict[str, KnownNote]:
    """The living notes that `source` owns, by path."""
    return _known(connection, source, "trashed_at IS NULL")


def trashed_by_path(connection: apsw.Connection, source: int) -> dict[str, KnownNote]:
    """The trashed notes of `source` by path, the one trashed last where there are several."""
    return _known(connection, source, "trashed_at IS NOT NULL ORDER BY trashed_at")


def _known(connection: apsw.Connection, source: int, condition: str) -> dict[str, KnownNote]:
    rows = connection.execute(
        "SELECT path, key, raw_path, created_at, content_hash FROM note "
        f"WHERE source = ? AND owner = 'source' AND {condition}",
        (source,),
    )
    return {path: KnownNote(path, *rest) for path, *rest in rows}


def chunks_of(connection: apsw.Connection, key: int) -> list[StoredChunk]:
    """The chunks of a note in order."""
    rows = connection.execute(
        'SELECT id, ordinal, headings, text_hash, start, "end", language_group FROM chunk '
        "WHERE note = ? ORDER BY ordinal",
        (key,),
    )
    return [StoredChunk(*row) for row in rows]


def insert(connection: apsw.Connection, notes: Sequence[tuple[str, DraftNote, Sequence[IndexedChunk]]]) -> None:
    """Write new notes (id, draft, chunks) with all that hangs on them."""
    first: int = connection.execute("SELECT coalesce(max(key), 0) + 1 FROM note").get
    keyed = [(key, draft) for key, (_, draft, _) in enumerate(notes, first)]
    connection.executemany(
        "INSERT INTO note VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        ((key, note_id, *_columns(draft)) for key, (note_id, draft, _) in enumerate(notes, first)),
    )
    connection.executemany(
        "INSERT INTO note_text VALUES (?, ?, ?, ?, ?)", ((key, *_text_columns(draft)) for key, draft in keyed)
    )
    _insert_hangers(connection, keyed)
    _insert_chunks(connection, [(key, draft, chunks) for key, (_, draft, chunks) in enumerate(notes, first)])


def update(connection: apsw.Connection, changes: Sequence[tuple[int, DraftNote, ChunkDiff]]) -> None:
    """Write changed, renamed or returned notes over what is stored under their keys."""
    titles = {
        key: connection.execute(
            "SELECT title, aliases FROM note JOIN note_text ON note_text.note = note.key WHERE key = ?", (key,)
        ).get
        for key, _, _ in changes
    }
    connection.executemany(
        "UPDATE note SET source = ?, path = ?, raw_path = ?, size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?, "
        "content_hash = ?, title = ?, lang = ?, author = ?, space = ?, kind = ?, owner = ?, origin = ?, "
        "created_at = ?, updated_at = ?, trashed_at = NULL WHERE key = ?",
        ((*_columns(draft), key) for key, draft, _ in changes),
    )
    connection.executemany(
        "UPDATE note_text SET body = ?, body_offset = ?, front_matter = ?, aliases = ? WHERE note = ?",
        ((*_text_columns(draft), key) for key, draft, _ in changes),
    )
    for table in ("tag", "link", "note_name"):
        connection.executemany(f"DELETE FROM {table} WHERE note = ?", ((key,) for key, _, _ in changes))
    _insert_hangers(connection, [(key, draft) for key, draft, _ in changes])
    gone = [chunk_id for _, _, diff in changes for chunk_id in diff.gone]
    delete_chunks(connection, gone)
    for key, draft, diff in changes:
        # A chunk keeps its id as long as its text is the same; what stands around it is brought up to date in place.
        connection.executemany(
            'UPDATE chunk SET ordinal = ?, headings = ?, start = ?, "end" = ? WHERE id = ?',
            (
                (new.ordinal, new.headings, new.start, new.end, old.id)
                for old, new in diff.kept
                if (old.ordinal, old.headings, old.start, old.end) != (new.ordinal, new.headings, new.start, new.end)
            ),
        )
        retitled = titles[key] != (draft.title, draft.aliases)
        title = draft.index_title()
        fulltext.insert(
            connection,
            (
                (old.id, title, index_text(new.headings), index_text(new.text))
                for old, new in diff.kept
                if retitled or old.headings != new.headings
            ),
        )
    _insert_chunks(connection, [(key, draft, diff.new) for key, draft, diff in changes])


def _insert_chunks(
    connection: apsw.Connection, groups: Sequence[tuple[int, DraftNote, Sequence[IndexedChunk]]]
) -> None:
    # Ids are never used twice (AUTOINCREMENT), so an id that an index still knows cannot come to mean another text.
    last: int = connection.execute("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'chunk'), 0)").get
    ids = count(last + 1)
    rows = []
    words = []
    for key, draft, chunks in groups:
        title = draft.index_title()
        for indexed in chunks:
            chunk_id, chunk = next(ids), indexed.chunk
            place = (chunk.start, chunk.end, draft.language_group)
            rows.append((chunk_id, key, chunk.ordinal, chunk.headings, chunk.text, chunk.text_hash, *place))
            words.append((chunk_id, title, indexed.headings, indexed.text))
    connection.executemany("INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    fulltext.insert(connection, words)
    # Text that was embedded before, elsewhere or in former times, needs no model to be found by meaning again.
    connection.execute(
        "INSERT INTO index_log (op, chunk, language_group) SELECT 'add', id, language_group FROM chunk "
        "WHERE id > ? AND EXISTS (SELECT 1 FROM model CROSS JOIN embedding ON embedding.model = model.id "
        "AND embedding.text_hash = chunk.text_hash)",
        (last,),
    )


def delete_chunks(connection: apsw.Connection, chunk_ids: Sequence[int]) -> None:
    """Delete chunks from the table and from the index."""
    fulltext.delete(connection, chunk_ids)
    connection.executemany(
        "INSERT INTO index_log (op, chunk, language_group) SELECT 'delete', id, language_group FROM chunk WHERE id = ?",
        ((chunk_id,) for chunk_id in chunk_ids),
    )
    connection.executemany("DELETE FROM chunk WHERE id = ?", ((chunk_id,) for chunk_id in chunk_ids))


def touch(connection: apsw.Connection, rows: Iterable[tuple[Fingerprint, int]]) -> None:
    """A file was touched, yet its content is the same: only its fingerprint is new."""
    connection.executemany(
        "UPDATE note SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ? WHERE key = ?",
        ((*print_, key) for print_, key in rows),
    )


def trash(connection: apsw.Connection, keys: Sequence[int], when: str) -> int:
    """Take notes out of every search at once; their id, text and history stay. Returns how many chunks went."""
    chunks = [row[0] for key in keys for row in connection.execute("SELECT id FROM chunk WHERE note = ?", (key,))]
    delete_chunks(connection, chunks)
    connection.executemany("UPDATE note SET trashed_at = ? WHERE key = ?", ((when, key) for key in keys))
    return len(chunks)


def living_keys(connection: apsw.Connection, source: int) -> list[int]:
    """The keys of the living notes that `source` owns."""
    rows = connection.execute(
        "SELECT key FROM note WHERE source = ? AND owner = 'source' AND trashed_at IS NULL", (source,)
    )
    return [key for (key,) in rows]


def is_taken(connection: apsw.Connection, source: int, path: str) -> bool:
    """Whether a living note of `source` has that path."""
    query = "SELECT count(*) FROM note WHERE source = ? AND path = ? AND trashed_at IS NULL"
    return bool(connection.execute(query, (source, path)).get)


def restore(connection: apsw.Connection, note_id: str, draft: DraftNote, chunks: Sequence[IndexedChunk]) -> None:
    """Bring a trashed note back as `draft` (trashing has deleted its chunks)."""
    key: int = connection.execute("SELECT key FROM note WHERE id = ?", (note_id,)).get
    update(connection, [(key, draft, ChunkDiff((), chunks, ()))])


def erase(connection: apsw.Connection, note_id: str) -> bool:
    """Delete a note for good, with the vectors and files that no other note has. Whether there was one."""
    row = connection.execute("SELECT key FROM note WHERE id = ?", (note_id,)).get
    if row is None:
        return False
    chunks = connection.execute("SELECT id, text_hash FROM chunk WHERE note = ?", (row,)).fetchall()
    delete_chunks(connection, [int(chunk) for chunk, _ in chunks])  # type: ignore[arg-type]  # an integer key
    for table in ("embedding", "embed_failure"):
        connection.executemany(
            f"DELETE FROM {table} WHERE text_hash = ?1 AND NOT EXISTS (SELECT 1 FROM chunk WHERE text_hash = ?1)",
            ((text_hash,) for _, text_hash in chunks),
        )
    blobs = attachments.blobs_of(connection, row)
    connection.execute("DELETE FROM note WHERE key = ?", (row,))
    attachments.drop_unused(connection, blobs)
    return True


def all_trashed(connection: apsw.Connection) -> list[TrashedNote]:
    """What is in the trash, the latest first."""
    rows = connection.execute(
        "SELECT note.id, source.name, note.path, note.title, note.trashed_at FROM note "
        "JOIN source ON source.id = note.source WHERE trashed_at IS NOT NULL ORDER BY trashed_at DESC, path"
    )
    return [TrashedNote(*row) for row in rows]


_NOTE = """
SELECT note.key, note.id, source.name, note.path, note.title, body, front_matter, note.lang, note.author, note.space,
       note.kind, note.owner, note.created_at, note.updated_at, coalesce(note.trashed_at, ''), aliases
FROM note JOIN source ON source.id = note.source JOIN note_text ON note_text.note = note.key
"""

# A name may fit several notes: one of the same source wins, then the one whose path is shortest.
_LINKS = """
SELECT link.target, link.anchor, link.text, link.kind, coalesce((
    SELECT other.id FROM note_name JOIN note AS other ON other.key = note_name.note
    WHERE note_name.name = link.name AND other.trashed_at IS NULL
      AND (:spaces IS NULL OR other.space IN (SELECT value FROM json_each(:spaces)))
    ORDER BY other.source <> note.source, length(other.path), other.path LIMIT 1), '')
FROM link JOIN note ON note.key = link.note WHERE link.note = :note ORDER BY link.ordinal
"""


def find(connection: apsw.Connection, wanted: str, scope: Scope) -> list[Note]:
    """The notes that `wanted` may mean within `scope`: an id; else a living one's path, name in links or title."""
    spaces = spaces_json(scope)
    for condition in (
        "note.id = :wanted",
        "note.path = :wanted AND trashed_at IS NULL",
        "note.key IN (SELECT note FROM note_name WHERE name = :name) AND trashed_at IS NULL",
        "note.title = :wanted AND trashed_at IS NULL",
    ):
        rows = connection.execute(
            f"{_NOTE} WHERE {condition} AND (:spaces IS NULL OR note.space IN (SELECT value FROM json_each(:spaces))) "
            "ORDER BY length(note.path), note.path",
            {"wanted": wanted, "name": wanted.removesuffix(".md").casefold(), "spaces": spaces},
        ).fetchall()
        if rows:
            return [_note(connection, row, spaces) for row in rows]
    return []


def _note(connection: apsw.Connection, row: tuple, spaces: str | None) -> Note:  # type: ignore[type-arg]  # SQL row
    key, note_id, source, path, title, body, front_matter, lang, author, space, kind, owner, *rest = row
    created_at, updated_at, trashed_at, aliases = rest
    tags = tuple(name for (name,) in connection.execute("SELECT name FROM tag WHERE note = ? ORDER BY name", (key,)))
    links = tuple(ResolvedLink(*link) for link in connection.execute(_LINKS, {"note": key, "spaces": spaces}))
    return Note(
        note_id, source, path, title, body, json.loads(front_matter), lang, author, space, kind, owner, created_at,
        updated_at, trashed_at, tags, tuple(json.loads(aliases)), links,
    )  # fmt: skip


def spaces_json(scope: Scope) -> str | None:
    """The spaces of a scope as SQL takes them: a JSON array, or NULL for the owner's view."""
    return None if scope.spaces is None else json.dumps(sorted(scope.spaces))


def _columns(draft: DraftNote) -> tuple[object, ...]:
    return (
        draft.source, draft.path, draft.raw_path, *draft.fingerprint, draft.content_hash, draft.title, draft.lang,
        draft.author, draft.space, draft.kind, draft.owner, draft.origin, draft.created_at, draft.updated_at,
    )  # fmt: skip


def _text_columns(draft: DraftNote) -> tuple[object, ...]:
    return draft.body, draft.body_offset, draft.front_matter, draft.aliases


def _insert_hangers(connection: apsw.Connection, keyed: Sequence[tuple[int, DraftNote]]) -> None:
    connection.executemany(
        "INSERT INTO tag VALUES (?, ?)", ((key, name) for key, draft in keyed for name in draft.tags)
    )
    connection.executemany(
        "INSERT INTO link VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((key, ordinal, *link) for key, draft in keyed for ordinal, link in enumerate(draft.links)),
    )
    connection.executemany(
        "INSERT INTO note_name VALUES (?, ?)", ((name, key) for key, draft in keyed for name in draft.names)
    )
