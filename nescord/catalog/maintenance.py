"""SQL of what maintenance removes and puts in order. Each statement works on a share, so that no writer waits long."""

from __future__ import annotations

import apsw

from nescord.catalog import notes as notes_sql
from nescord.catalog import privacy as privacy_sql
from nescord.catalog import vectors as vectors_sql

_IS_UNUSED = "NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.text_hash = embedding.text_hash)"
# Pages that one step of a merge writes at most, more or less: about 50 ms.
_MERGED_PAGES = 500


def count_trashed(connection: apsw.Connection, before: str = "~") -> int:
    """How many notes are in the trash, or were put there before that moment."""
    query = "SELECT count(*) FROM note WHERE trashed_at IS NOT NULL AND trashed_at < ?"
    count: int = connection.execute(query, (before,)).get
    return count


def purge_trash(connection: apsw.Connection, before: str, limit: int) -> int:
    """Delete for good up to `limit` of the notes that were trashed before that moment, with the answers that quote
    them; how many it were."""
    query = "SELECT id FROM note WHERE trashed_at IS NOT NULL AND trashed_at < ? ORDER BY trashed_at LIMIT ?"
    ids = [str(note_id) for (note_id,) in connection.execute(query, (before, limit)).fetchall()]
    privacy_sql.erase_quotes(connection, ids)
    return sum(notes_sql.erase(connection, note_id) for note_id in ids)


def count_embeddings(connection: apsw.Connection) -> int:
    """How many vectors are stored, of whatever model."""
    count: int = connection.execute("SELECT count(*) FROM embedding").get
    return count


def unused_changes(connection: apsw.Connection) -> tuple[list[int], list[int]]:
    """The vectors that no chunk uses and that are not known for it yet; those that are known for it and are used."""
    fresh = connection.execute(
        f"SELECT id FROM embedding WHERE {_IS_UNUSED} AND id NOT IN (SELECT embedding FROM unused_embedding)"
    )
    used = connection.execute(
        "SELECT id FROM unused_embedding JOIN embedding ON embedding.id = unused_embedding.embedding "
        f"WHERE NOT {_IS_UNUSED}"
    )
    return [key for (key,) in fresh.fetchall()], [key for (key,) in used.fetchall()]  # type: ignore[misc]  # keys


def forget_unused_of_another_life(connection: apsw.Connection) -> None:
    """What a restore has brought back begins to count anew: nobody knows whether it was used in between."""
    connection.execute(
        "DELETE FROM unused_embedding WHERE (SELECT value FROM meta WHERE name = 'unused_epoch') IS NOT "
        "(SELECT value FROM meta WHERE name = 'epoch')"
    )
    connection.execute("INSERT OR REPLACE INTO meta SELECT 'unused_epoch', value FROM meta WHERE name = 'epoch'")


def note_unused(connection: apsw.Connection, fresh: list[int], used: list[int], now: str) -> None:
    """Remember since when those vectors are unused."""
    connection.executemany("DELETE FROM unused_embedding WHERE embedding = ?", ((key,) for key in used))
    connection.executemany(
        "INSERT OR IGNORE INTO unused_embedding SELECT id, ? FROM embedding WHERE id = ?", ((now, key) for key in fresh)
    )


def count_unused(connection: apsw.Connection, since: str = "~") -> int:
    """How many vectors were unused at the last look, and are, or have been since before that moment."""
    query = (
        "SELECT count(*) FROM unused_embedding JOIN embedding ON embedding.id = unused_embedding.embedding "
        f"WHERE since < ? AND {_IS_UNUSED}"
    )
    count: int = connection.execute(query, (since,)).get
    return count


def drop_unused(connection: apsw.Connection, since: str, limit: int) -> int:
    """Delete up to `limit` vectors that have been unused since before that moment; how many it were."""
    # Asked again: a note may have come meanwhile, and found its vector stored.
    connection.execute(
        "DELETE FROM embedding WHERE id IN (SELECT embedding FROM unused_embedding JOIN embedding ON "
        f"embedding.id = unused_embedding.embedding WHERE since < ? AND {_IS_UNUSED} LIMIT ?)",
        (since, limit),
    )
    return connection.changes()


def full_text_bytes(connection: apsw.Connection) -> int:
    """The size of the full-text index."""
    size: int = connection.execute("SELECT coalesce(sum(length(block)), 0) FROM chunk_fts_data").get
    return size


def merge_full_text(connection: apsw.Connection, *, is_first: bool) -> bool:
    """One step of FTS5's `optimize`: all segments into one, without the words of deleted chunks. Whether it goes on."""
    before = connection.total_changes()
    pages = -_MERGED_PAGES if is_first else _MERGED_PAGES
    connection.execute("INSERT INTO chunk_fts (chunk_fts, rank) VALUES ('merge', ?)", (pages,))
    return connection.total_changes() - before >= 2  # https://www.sqlite.org/fts5.html#the_merge_command


def count_log(connection: apsw.Connection) -> int:
    """Rows of the log that indexes follow."""
    count: int = connection.execute("SELECT count(*) FROM index_log").get
    return count


def trim_log(connection: apsw.Connection, keep: int) -> None:
    """Forget all but the newest `keep` rows of the log, as far as no collection follows it."""
    if any(known.state != "old" for known in vectors_sql.collections(connection)):
        vectors_sql.trim_log(connection, keep)
    else:
        connection.execute("DELETE FROM index_log WHERE seq <= (SELECT max(seq) FROM index_log) - ?", (keep,))


def lagging_collections(connection: apsw.Connection, model: int | None, rows: int) -> list[str]:
    """The collections that nobody has told the last `rows` rows and more of the log: those of models other than `model`
    (None: of any), which only keep the log from being trimmed."""
    found = connection.execute(
        "SELECT name FROM collection WHERE state <> 'old' AND model IS NOT ? "
        "AND applied_seq < (SELECT coalesce(max(seq), 0) FROM index_log) - ? ORDER BY name",
        (model, rows),
    )
    return [str(name) for (name,) in found]


def retire_collection(connection: apsw.Connection, name: str) -> None:
    """It is of no use any more: the next drain drops it, and until then the log need not be kept for it."""
    connection.execute("UPDATE collection SET state = 'old' WHERE name = ?", (name,))


def count_done(connection: apsw.Connection, before: str = "~") -> int:
    """How many interactions of the inbox are done, or were before that moment."""
    count: int = connection.execute("SELECT count(*) FROM inbox WHERE done_at < ?", (before,)).get
    return count
