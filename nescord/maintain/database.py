"""Maintenance of the database: what is past its days goes for good, and what is left is put in order.

Everything is done in short transactions, so a capture never waits long and a kill loses at most the one under way.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from nescord.catalog import maintenance as sql
from nescord.catalog.database import Catalog
from nescord.index.drain import KEPT_ROWS
from nescord.maintain.report import Outcome
from nescord.times import utc_text

UNUSED_DAYS = 90
_BATCH_NOTES = 100
_BATCH_VECTORS = 2000


def trash(catalog: Catalog, now: datetime, days: int, *, dry_run: bool) -> Outcome:
    """Delete for good what is in the trash for more than so many days. It is not remembered as erased: to bring a note
    back that went by its age alone, a restore may be what somebody wants."""
    with catalog.read() as connection:
        before = sql.count_trashed(connection)
        if not days:
            return Outcome(before, before, "kept for ever (NESCORD_TRASH_DAYS=0)")
        oldest = utc_text(now - timedelta(days=days))
        due = sql.count_trashed(connection, oldest)
    if dry_run:
        return Outcome(before, before - due)
    _in_batches(lambda: _purged(catalog, oldest))
    with catalog.read() as connection:
        return Outcome(before, sql.count_trashed(connection))


def embeddings(catalog: Catalog, now: datetime, *, dry_run: bool) -> Outcome:
    """Delete the vectors that no chunk has used for 90 days. Until then a text that comes back costs nothing."""
    oldest = utc_text(now - timedelta(days=UNUSED_DAYS))
    if not dry_run:
        with catalog.write() as connection:
            sql.forget_unused_of_another_life(connection)
        with catalog.read() as connection:  # a look at all of them: nobody should wait for it
            fresh, used = sql.unused_changes(connection)
        with catalog.write() as connection:
            sql.note_unused(connection, fresh, used, utc_text(now))
    with catalog.read() as connection:
        before, due = sql.count_embeddings(connection), sql.count_unused(connection, oldest)
        unused = sql.count_unused(connection) - due
    remark = f"{unused} are unused, for less than {UNUSED_DAYS} days" if unused else ""
    if dry_run:
        return Outcome(before, before - due, remark)
    _in_batches(lambda: _dropped(catalog, oldest))
    with catalog.read() as connection:
        return Outcome(before, sql.count_embeddings(connection), remark)


def full_text(catalog: Catalog, *, dry_run: bool) -> Outcome:
    """Merge the segments of the full-text index: it gets smaller, and words of what was deleted are gone from disk."""
    with catalog.read() as connection:
        before = sql.full_text_bytes(connection)
    if dry_run:
        return Outcome(before, None)
    is_first = goes_on = True
    while goes_on:
        with catalog.write() as connection:
            goes_on = sql.merge_full_text(connection, is_first=is_first)
        is_first = False
    with catalog.read() as connection:
        return Outcome(before, sql.full_text_bytes(connection))


def log(catalog: Catalog, *, dry_run: bool) -> Outcome:
    """Forget what every index has been told."""
    with catalog.read() as connection:
        before = sql.count_log(connection)
    if dry_run:
        return Outcome(before, None)
    with catalog.write() as connection:
        sql.trim_log(connection, KEPT_ROWS)
        return Outcome(before, sql.count_log(connection))


def wal(catalog: Catalog, *, dry_run: bool) -> Outcome:
    """Write the write-ahead log back into the database, and cut it to nothing: after a large transaction it stays
    large otherwise."""
    path = catalog.path.with_name(f"{catalog.path.name}-wal")
    before = path.stat().st_size if path.exists() else 0
    if dry_run:
        return Outcome(before, 0)
    is_done = catalog.checkpoint()
    after = path.stat().st_size if path.exists() else 0
    return Outcome(before, after, "" if is_done else "somebody reads or writes: the next commit goes on with it")


def _purged(catalog: Catalog, oldest: str) -> bool:
    with catalog.write() as connection:
        return sql.purge_trash(connection, oldest, _BATCH_NOTES) == _BATCH_NOTES


def _dropped(catalog: Catalog, oldest: str) -> bool:
    with catalog.write() as connection:
        return sql.drop_unused(connection, oldest, _BATCH_VECTORS) == _BATCH_VECTORS


def _in_batches(batch: Callable[[], bool]) -> None:
    while batch():
        pass
