"""Whether SQLite's file is whole, and whether what is in it belongs together.

Everything is read in one transaction, and nothing is written. FTS5's own check comes with SQLite's: since 3.44 the
pragmas quick_check and integrity_check ask virtual tables, too, and unlike FTS5's `INSERT … ('integrity-check')` they
take no lock that keeps writers waiting. It is weak for an index without content, hence rows and words are compared.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import apsw

from nescord.catalog.fulltext import index_title, not_indexed, only_indexed
from nescord.catalog.migrations import APPLICATION_ID, SCHEMA_VERSION
from nescord.errors import LockTimeoutError
from nescord.persistence.report import Checklist, Outcome, failed, passed, warned
from nescord.words import bigrams, normalise, pieces

if TYPE_CHECKING:
    from nescord.catalog.database import Catalog
    from nescord.meaning import Meaning

RESTORE = "restore a backup (nescord backup restore …)"
REBUILD_WORDS = "nescord verify --repair writes the full-text index anew"
_MOST_SHOWN = 5
_CANARIES, _CANARIES_DEEP = 24, 1000
_WORDS_OF_A_CANARY = 3
_LONGEST_WORD = 60
_BATCH = 2000

_ORPHANS = {
    "chunks without a note": "SELECT count(*) FROM chunk WHERE note NOT IN (SELECT key FROM note)",
    "notes without their text": "SELECT count(*) FROM note WHERE key NOT IN (SELECT note FROM note_text)",
    "chunks of notes in the trash": (
        "SELECT count(*) FROM chunk WHERE note IN (SELECT key FROM note WHERE trashed_at IS NOT NULL)"
    ),
}
_UNUSED_VECTORS = (
    "SELECT count(*) FROM embedding WHERE NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.text_hash = embedding.text_hash)"
)
_CHUNK_WITH_TITLE = (
    "SELECT chunk.text, note.title, note_text.aliases FROM chunk JOIN note ON note.key = chunk.note "
    "JOIN note_text ON note_text.note = note.key WHERE chunk.id = ?"
)
_VECTORS = "SELECT id, vector FROM embedding WHERE model = ?"


def look_at_database(checklist: Checklist, catalog: Catalog, meaning: Meaning, *, deep: bool) -> None:
    """Add the checks `database.…`; `deep` reads every index entry (integrity_check) and more canaries."""
    # First: another connection that opens the file would put its journal mode right.
    checklist.look("database.durability", lambda: _durability(catalog))
    with catalog.read() as connection:
        checklist.look("database.application_id", lambda: _application_id(connection))
        checklist.look("database.schema", lambda: _schema(connection))
        _look_at_pages(checklist, connection, deep=deep)
        checklist.look("database.foreign_keys", lambda: _foreign_keys(connection))
        checklist.look("database.orphans", lambda: _orphans(connection))
        checklist.look("database.word_rows", lambda: _word_rows(connection))
        count = _CANARIES_DEEP if deep else _CANARIES
        checklist.look("database.word_canaries", lambda: _word_canaries(connection, count))
        checklist.look("database.embeddings", lambda: _embeddings(connection))
        _look_at_waiting(checklist, connection, meaning)


def unusable_vectors(connection: apsw.Connection, model: int, dims: int) -> list[int]:
    """Ids of the embeddings of a model that are of the wrong length or hold what is no finite number."""
    import numpy as np

    size, bad = 4 * dims, []
    rows = iter(connection.execute(_VECTORS, (model,)))
    while batch := list(islice(rows, _BATCH)):
        right = [(key, vector) for key, vector in batch if isinstance(vector, bytes) and len(vector) == size]
        if len(right) < len(batch):
            bad += sorted({key for key, _ in batch} - {key for key, _ in right})
        numbers = np.frombuffer(b"".join(vector for _, vector in right), dtype="<f4").reshape(len(right), dims)
        bad += [right[row][0] for row in np.flatnonzero(~np.isfinite(numbers).all(axis=1))]
    return bad


def models(connection: apsw.Connection) -> list[tuple[int, str]]:
    """Number and key of every model that something was embedded with."""
    return [(int(str(number)), str(key)) for number, key in connection.execute("SELECT id, key FROM model")]


def dims_of(model_key: str) -> int:
    """The length of a model's vectors, as its key says: `provider|model|dims|task|prep-version`."""
    return int(model_key.split("|")[2])


def _durability(catalog: Catalog) -> Outcome:
    try:
        # An empty transaction writes nothing, and shows that one can be had.
        with catalog.write() as connection:
            mode, synchronous = connection.pragma("journal_mode"), connection.pragma("synchronous")
    except LockTimeoutError as error:
        return warned(str(error), "verify again when it is done")
    value = f"journal_mode {mode}, synchronous {synchronous}"
    if (mode, synchronous) != ("wal", 2):
        return failed(f"{value} instead of wal and 2: a power cut could lose what was acknowledged", "start again")
    return passed(value)


def _application_id(connection: apsw.Connection) -> Outcome:
    found = connection.pragma("application_id")
    if found != APPLICATION_ID:
        return failed(f"{found:#x} instead of {APPLICATION_ID:#x}: another program has marked the file", RESTORE)
    return passed(f"{found:#x}")


def _schema(connection: apsw.Connection) -> Outcome:
    version = connection.pragma("user_version")
    if version != SCHEMA_VERSION:
        mend = "install the newer nescord again" if version > SCHEMA_VERSION else "close it; the next command migrates"
        return failed(f"schema {version}, this nescord knows {SCHEMA_VERSION}", mend)
    return passed(str(version))


def _look_at_pages(checklist: Checklist, connection: apsw.Connection, *, deep: bool) -> None:
    """One pass for both: what SQLite says of its pages, and what FTS5 says of its index."""
    pragma = "integrity_check" if deep else "quick_check"
    words: list[str] | None = None

    def pages() -> Outcome:
        nonlocal words
        # FTS5 keeps what it knows of its index from an earlier query, and the pragma does not make it look whether
        # another process has written since; a query does. Without one it takes what was merged away for damage.
        with suppress(apsw.Error):  # what is really damaged, the pragma finds
            connection.execute("SELECT rowid FROM chunk_fts WHERE chunk_fts MATCH 'a' LIMIT 1").fetchall()
        found: list[str] = [str(line) for (line,) in connection.execute(f"PRAGMA {pragma}({_MOST_SHOWN * 4})")]
        words = [line for line in found if "fts5" in line.casefold()]
        others = [line for line in found if line not in words and line != "ok"]
        if others:
            return failed(f"{pragma}: {_some(others)}", RESTORE)
        size = connection.pragma("page_count") * connection.pragma("page_size")
        return passed(f"{pragma}: ok, {size / 2**20:,.1f} MB")

    def index() -> Outcome:
        if words is None:
            return warned("not looked into, since SQLite could not read its pages", RESTORE)
        return failed(_some(words), REBUILD_WORDS) if words else passed("FTS5 finds its index in order")

    checklist.look("database.pages", pages)
    checklist.look("database.words", index)


def _foreign_keys(connection: apsw.Connection) -> Outcome:
    broken = [
        f"{table} row {row} names a {parent} that is not there"
        for table, row, parent, _ in islice(connection.execute("PRAGMA foreign_key_check"), _MOST_SHOWN + 1)
    ]
    return failed(_some(broken), RESTORE) if broken else passed("every row has what it refers to")


def _orphans(connection: apsw.Connection) -> Outcome:
    counts = {name: connection.execute(statement).get for name, statement in _ORPHANS.items()}
    found = [f"{count:,} {name}" for name, count in counts.items() if count]
    if found:
        return failed(", ".join(found), RESTORE)
    unused = connection.execute(_UNUSED_VECTORS).get
    return passed(f"none; {unused:,} vectors are kept for texts that were there before")


def _word_rows(connection: apsw.Connection) -> Outcome:
    missing, extra = not_indexed(connection), only_indexed(connection)
    if missing or extra:
        found = f"{len(missing):,} chunks are not in the full-text index, {len(extra):,} rows of it have no chunk"
        return failed(f"{found} ({_some([*missing, *extra])})", REBUILD_WORDS)
    return passed(f"{connection.execute('SELECT count(*) FROM chunk').get:,} chunks, each in the full-text index")


def _word_canaries(connection: apsw.Connection, wanted: int) -> Outcome:
    chunks = [
        chunk for (chunk,) in connection.execute("SELECT id FROM chunk INTERSECT SELECT id FROM chunk_fts_docsize")
    ]
    chosen = random.sample(chunks, min(wanted, len(chunks)))
    lost = [chunk for chunk in chosen if not _is_found_by_its_words(connection, chunk)]
    if lost:
        return failed(
            f"{len(lost)} of {len(chosen)} chunks are not found by their words ({_some(lost)})", REBUILD_WORDS
        )
    return passed(f"{len(chosen)} chunks are found by their own words")


def _is_found_by_its_words(connection: apsw.Connection, chunk: int) -> bool:
    row = connection.execute(_CHUNK_WITH_TITLE, (chunk,)).fetchone()
    if row is None:  # an orphan, which has a check of its own
        return True
    text, title, aliases = map(str, row)
    asked = [
        f"{column} : {phrase}"
        for column, source in (("text", text), ("title", title if index_title(title, aliases).strip() else ""))
        for phrase in _phrases(source)
    ]
    if not asked:
        return True
    query = " AND ".join(asked)
    found = connection.execute("SELECT 1 FROM chunk_fts WHERE chunk_fts MATCH ? AND rowid = ?", (query, chunk))
    return bool(found.get)


def _phrases(text: str) -> list[str]:
    """Some words of a text, as FTS5 would be asked for them."""
    words = [(is_run, word) for is_run, word in pieces(normalise(text)) if len(word) > 1]
    chosen = random.sample(words, min(_WORDS_OF_A_CANARY, len(words)))
    return [
        '"' + (" ".join(bigrams(word[:_LONGEST_WORD])) if is_run else word) + '"'
        for is_run, word in chosen
        if is_run or len(word) <= _LONGEST_WORD
    ]


def _embeddings(connection: apsw.Connection) -> Outcome:
    values, bad = [], []
    for model, key in models(connection):
        wrong = unusable_vectors(connection, model, dims_of(key))
        count = connection.execute("SELECT count(*) FROM embedding WHERE model = ?", (model,)).get
        values.append(f"{count:,} of {key}")
        if wrong:
            bad.append(f"{len(wrong):,} of {count:,} vectors of {key} are of the wrong length or not finite")
    if bad:
        return failed("; ".join(bad), "nescord verify --repair drops them, nescord ingest embeds those texts again")
    return passed(", ".join(values) or "there are none")


def _look_at_waiting(checklist: Checklist, connection: apsw.Connection, meaning: Meaning) -> None:
    """How many chunks have no vector yet, and how many changes Chroma has not been told."""
    status = None

    def pending() -> Outcome:
        nonlocal status
        status = meaning.status(connection)
        if not status.model_key:
            return passed(f"not used: {'; '.join(status.degraded)}")
        if status.pending:
            return warned(f"{status.pending:,} chunks wait for a vector", "nescord ingest")
        return passed("every chunk has its vector")

    def behind() -> Outcome:
        if status is None or not status.model_key or status.index_kind == "exact":
            return passed("not used")
        if status.behind:
            return warned(f"Chroma has not been told {status.behind:,} changes", "nescord ingest")
        return passed("Chroma has been told everything")

    checklist.look("database.pending", pending)
    checklist.look("database.behind", behind)


def _some(found: Sequence[object] | Iterable[object]) -> str:
    items = list(map(str, found))
    more = f" and {len(items) - _MOST_SHOWN} more" if len(items) > _MOST_SHOWN else ""
    return ", ".join(items[:_MOST_SHOWN]) + more
