"""Maintenance of Chroma: collections that nobody follows, folders that belong to no collection, damage moved aside.

All of it is derived from the database. Still nothing is touched unless index.lock is ours and nobody has the folder
open: a server works in it without any lock of ours.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from uuid import UUID

from nescord.backup.copies import open_copy
from nescord.catalog import maintenance as sql
from nescord.catalog import vectors as vectors_sql
from nescord.catalog.database import Catalog
from nescord.errors import LockTimeoutError, ServiceUnavailableError
from nescord.index.drain import KEPT_ROWS, drain
from nescord.index.seal import Folder
from nescord.index.service import open_service
from nescord.locks import LockName
from nescord.maintain.files import bytes_in, days_since_change
from nescord.maintain.report import Outcome
from nescord.opened import OpenBase

BAD_DAYS = 7
# A damaged folder is of interest to somebody, but not at the price of a full disk.
_FREE_SHARE = 0.2
_DATABASE = "chroma.sqlite3"


def collections(base: OpenBase, catalog: Catalog, *, dry_run: bool) -> Outcome:
    """Drop the collections that were replaced, and those of a model that is not used any more: it costs no embedding to
    build them again."""
    is_exact = base.settings.vector == "exact"
    key = ""
    with catalog.read() as connection:
        with suppress(ServiceUnavailableError):  # without a model nobody knows which one is used
            key = base.meaning.live_key(connection)
        known = vectors_sql.collections(connection)
        model = vectors_sql.model_id(connection, key)
        lagging = sql.lagging_collections(connection, None if is_exact else model, KEPT_ROWS)
    if model is None and not is_exact:
        lagging = []
    going = {collection.name for collection in known if collection.state == "old"} | set(lagging)
    if dry_run or not going:
        return Outcome(len(known), len(known) - len(going))
    with catalog.write() as connection:
        for name in lagging:
            sql.retire_collection(connection, name)
    if model is None or is_exact:
        return Outcome(len(known), len(known), f"{len(going)} are dropped by the next ingest that uses Chroma")
    with open_service(base.settings, base.folder, base.locks) as service:
        drain(catalog, service, key, prefix=base.settings.collection_name)
    with catalog.read() as connection:
        return Outcome(len(known), len(vectors_sql.collections(connection)))


def orphans(base: OpenBase, *, dry_run: bool) -> Outcome:
    """Remove folders of collections that Chroma's database does not name: a process killed while it dropped one, and
    Chroma itself, leave them."""
    chroma = base.folder.chroma
    before = bytes_in(chroma)
    if base.settings.chroma_url is not None or not (chroma / _DATABASE).is_file():
        return Outcome(before, before)
    try:
        with base.locks.exclusive(LockName.INDEX, timeout=0):
            found, remark = _orphans(chroma, Folder(chroma, base.folder.run))
            if dry_run or not found:
                return Outcome(before, before - sum(map(bytes_in, found)), remark)
            folder = Folder(chroma, base.folder.run)
            folder.break_seal()  # killed in between, the next drain compares everything
            for each in found:
                shutil.rmtree(each)
            folder.put_seal()
            return Outcome(before, bytes_in(chroma))
    except LockTimeoutError:
        return Outcome(before, before, "somebody works with it: next time")


def damaged(base: OpenBase, now: datetime, *, dry_run: bool) -> Outcome:
    """Remove what was moved aside as damaged, a week later or when the disk gets full."""
    bad = base.folder.chroma.with_name(f"{base.folder.chroma.name}.bad")
    before = bytes_in(bad)
    if not bad.is_dir():
        return Outcome(0, 0)
    usage = shutil.disk_usage(bad)
    if days_since_change(bad, now) < BAD_DAYS and usage.free >= _FREE_SHARE * usage.total:
        return Outcome(before, before, f"kept for {BAD_DAYS} days for whoever wants to know why")
    if not dry_run:
        # Without index.lock, which a server holds for its life: whoever moves damage aside removes this first, too.
        shutil.rmtree(bad)
    return Outcome(before, 0)


def _orphans(chroma: Path, folder: Folder) -> tuple[list[Path], str]:
    """The folders that no segment has, and why none is looked for. The caller holds index.lock."""
    if not folder.is_sealed():
        return [], "it is not as it was left: the next ingest looks into it first"
    if _is_open(chroma):
        return [], "a server has it open"
    if any(bytes_in(chroma / f"{_DATABASE}{suffix}") for suffix in ("-wal", "-journal")):
        return [], "its database was not closed in order: the next ingest looks into it first"
    with open_copy(chroma / _DATABASE) as connection:  # immutable: it leaves no file, and changes none
        segments = {str(name) for (name,) in connection.execute("SELECT id FROM segments")}
    return [each for each in sorted(chroma.iterdir()) if _is_segment(each) and each.name not in segments], ""


def _is_segment(path: Path) -> bool:
    if path.is_symlink() or not path.is_dir():
        return False
    try:
        return str(UUID(path.name)) == path.name
    except ValueError:
        return False


def _is_open(chroma: Path) -> bool:
    """Whether a process of this user has a file below the folder open (Linux; elsewhere none is seen)."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = link.readlink()
        except OSError:  # closed meanwhile, or another user's
            continue
        if target.is_relative_to(chroma):
            return True
    return False
