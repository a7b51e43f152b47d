"""Put a snapshot in the place of the database: the flow around the verbs check, restore and verify.

Why: so that bringing the notes back needs no shell. When: by hand only, and only with the id typed twice. Needs: a good
snapshot, and room for two more databases. What was there before is backed up first and kept; vaults wait afterwards
until somebody has looked (nescord ingest --resume). Cancelled or killed before it is decided on, nothing has changed;
after that the next command of any kind finishes it.
"""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.common import (
    FAILED,
    RESTORE_LIMIT,
    Row,
    SnapshotId,
    as_markdown,
    emit,
    progress_shown,
    retried,
    settings_of,
)
from flows.notify import on_completion, on_crashed, on_failure
from flows.verify import look, show_checks
from nescord import KnowledgeManager, Settings
from nescord.backup.check import Checked
from nescord.backup.manager import BackupManager
from nescord.backup.restore import Restored
from nescord.catalog.status import Status
from nescord.errors import DamagedBackupError, FailedChecksError, NescordError, UsageError
from nescord.home import DataFolder

COUNTS_KEY = "restore-counts"
PROGRESS_KEY = "restore-progress"
_COUNTED = ("notes", "trashed", "chunks")

Summary = dict[str, str | int | float | bool]


@retried
def check(manager: BackupManager, snapshot: str) -> Checked:
    """Read the snapshot from the first byte to the last."""
    (checked,) = manager.checked([snapshot])
    if not checked.ok:
        raise DamagedBackupError(
            f"the snapshot {snapshot} is damaged, and nothing has changed: {'; '.join(checked.problems)}: take another "
            "(nescord backup list)"
        )
    return checked


@retried
def put_back(manager: BackupManager, snapshot: str) -> Restored:
    """Back up what is there, and put the snapshot in its place."""
    with progress_shown(PROGRESS_KEY) as tell:
        return manager.restored(snapshot, progress=tell)


@flow(
    name="restore",
    timeout_seconds=RESTORE_LIMIT.total_seconds(),
    persist_result=False,
    on_failure=[on_failure],
    on_crashed=[on_crashed],
    on_completion=[on_completion],
)
def restore(snapshot: SnapshotId, confirm: str, data_dir: str | None = None) -> Summary:
    """Make the knowledge base what it was when a snapshot was taken. What is there now is backed up first.

    Args:
        snapshot: The id of the snapshot in nescord backup list.
        confirm: The same id again, typed by hand: what is there now will be replaced.
        data_dir: The data folder of the knowledge base. Empty: the setting NESCORD_DATA_DIR and its defaults.
    """
    if confirm != snapshot:
        raise UsageError(f'nothing has changed: "confirm" must repeat the id {snapshot}')
    settings = settings_of(data_dir)
    manager = BackupManager(settings)
    check(manager, snapshot)
    before = _counts(settings)
    done = put_back(manager, snapshot)
    after = _counts(settings)
    create_table_artifact(_rows(before, after), key=COUNTS_KEY, description=_description(done))
    names = show_checks(look(settings, deep=False), [])
    if names:
        emit(FAILED, DataFolder.at(settings), {"checks": names})
        raise FailedChecksError(*names)
    return {"restored": done.restored, "before": done.before, "notes": done.notes, "paused": done.paused}


def _counts(settings: Settings) -> Status | None:
    """How much is stored; None where that cannot be known, which may be why there is a restore."""
    try:
        with KnowledgeManager.open_existing(settings) as knowledge:
            return knowledge.status()
    except NescordError:
        return None


def _rows(before: Status | None, after: Status | None) -> list[Row]:
    return [{"": name, "before": _count(before, name), "after": _count(after, name)} for name in _COUNTED]


def _count(status: Status | None, name: str) -> str:
    return "cannot be read" if status is None else f"{getattr(status, name):,}"


def _description(done: Restored) -> str:
    said = [
        f"Restored {done.restored}: {done.notes:,} notes, {done.seconds:g} s.",
        f"What was there before: nescord backup restore {done.before}" if done.before else "",
        f"{done.carried:,} vectors that were made since then are kept." if done.carried else "",
        f"{done.erased:,} notes were erased again." if done.erased else "",
        "Vaults wait: nescord ingest --resume shows what they would change." if done.paused else "",
        *(as_markdown(remark) for remark in done.remarks),
    ]
    return "\n\n".join(filter(None, said))
