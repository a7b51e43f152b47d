"""Back up the database: the flow around the verbs create, check, replicate and prune.

Why: so that there is always a young backup which was read back, a copy of it elsewhere, and no disk full of old ones.
When: every night as a part of `nightly`, and by hand. Needs: room for a copy of the database; NESCORD_OFF_SITE for
copies elsewhere. A copy that cannot be made fails the run, but neither undoes the backup nor keeps old ones from being
pruned. Cancelled or killed in its midst, there is one backup less, and what it left is swept by the next.
"""

from __future__ import annotations

from typing import Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.common import (
    BACKED_UP,
    BACKUP_LIMIT,
    ROWS_SHOWN,
    Row,
    as_markdown,
    emit,
    first_of,
    megabytes,
    progress_shown,
    retried,
    settings_of,
)
from flows.notify import on_completion, on_crashed, on_failure
from nescord import Settings
from nescord.backup.check import Checked
from nescord.backup.create import Created
from nescord.backup.growth import growth, sparkline
from nescord.backup.manager import BackupManager
from nescord.backup.prune import Pruned
from nescord.backup.prune import prune as prune_by
from nescord.backup.replicate import Replicated
from nescord.backup.replicate import replicate as replicate_all
from nescord.backup.retention import NIGHTLY
from nescord.backup.store import BackupStore
from nescord.errors import DamagedBackupError, NescordError
from nescord.home import DataFolder

SNAPSHOT_KEY = "backup-snapshot"
COPIES_KEY = "backup-copies"
RETENTION_KEY = "backup-retention"
PROGRESS_KEY = "backup-progress"
_BARS_SHOWN = 60

Summary = dict[str, str | int | float | list[str]]


@retried
def create(manager: BackupManager, trigger: str) -> Created:
    """Make the snapshot and read it back."""
    with progress_shown(PROGRESS_KEY) as tell:
        return manager.create(trigger=trigger, progress=tell)


@retried
def check(manager: BackupManager, snapshot: str) -> Checked:
    """Read the snapshot once more, with the locks of a check and every pack that it needs."""
    (checked,) = manager.checked([snapshot])
    if not checked.ok:
        raise DamagedBackupError(
            f"the new snapshot {snapshot} is damaged: {'; '.join(checked.problems)}: mend the disk, then make another "
            "(nescord backup create)"
        )
    return checked


@retried
def replicate(manager: BackupManager) -> Replicated:
    """Copy every good snapshot elsewhere that is not there yet."""
    with progress_shown(COPIES_KEY + "-progress") as tell, manager.opened() as base:
        return replicate_all(base, progress=tell)


@retried
def prune(settings: Settings) -> Pruned:
    """Drop what the nightly rules do not keep."""
    return prune_by(settings, NIGHTLY)


@flow(
    name="backup",
    timeout_seconds=BACKUP_LIMIT.total_seconds(),
    persist_result=False,
    on_failure=[on_failure],
    on_crashed=[on_crashed],
    on_completion=[on_completion],
)
def backup(
    replicate: bool = True,
    prune: bool = True,
    trigger: Literal["manual", "nightly"] = "manual",
    data_dir: str | None = None,
) -> Summary:
    """Back up the database, read the backup back, copy it elsewhere and drop old ones.

    Args:
        replicate: Copy to NESCORD_OFF_SITE what is not there yet. Without that setting nothing is copied.
        prune: Drop old snapshots: 2 days stay whole, then 7 daily, 5 weekly and 12 monthly ones.
        trigger: Why it is made, as nescord backup list shows it.
        data_dir: The data folder of the knowledge base. Empty: the setting NESCORD_DATA_DIR and its defaults.
    """
    settings = settings_of(data_dir)
    manager = BackupManager(settings)
    made = create(manager, trigger)
    check(manager, made.id)
    create_markdown_artifact(_card(made, BackupStore(manager.path)), key=SNAPSHOT_KEY)
    emit(BACKED_UP, DataFolder.at(settings), {"id": made.id, "notes": made.notes, "bytes_added": made.bytes_added})
    missed: NescordError | None = None
    summary: Summary = {"id": made.id, "notes": made.notes, "bytes_added": made.bytes_added}
    if replicate and settings.off_site is not None:
        try:
            summary["copied"] = _replicated(manager)
        except NescordError as error:  # the backup here is good, and its disk must not fill up meanwhile
            missed = error
    if prune:
        summary["dropped"] = _pruned(settings)
    if missed is not None:
        raise missed
    return summary


# The parameters of the flow have the names of the tasks, as people know them.
def _replicated(manager: BackupManager) -> list[str]:
    done = replicate(manager)
    sent = f"{len(done.sent)} snapshots were copied, {megabytes(done.bytes)}, {done.seconds:g} s"
    create_markdown_artifact(f"{sent}: {as_markdown(', '.join(done.sent))}" if done.sent else sent, key=COPIES_KEY)
    return list(done.sent)


def _pruned(settings: Settings) -> list[str]:
    done = prune(settings)
    rows: list[Row] = [
        {"snapshot": each.id, "became": "kept" if each.keep else "dropped", "because": ", ".join(each.reasons)}
        for each in done.decisions
    ]
    freed = f"{len(done.kept)} kept, {len(done.dropped)} dropped, {megabytes(done.bytes_freed)} freed."
    create_table_artifact(rows[:ROWS_SHOWN], key=RETENTION_KEY, description=f"{freed} {first_of(rows)}".strip())
    return done.dropped


def _card(made: Created, store: BackupStore) -> str:
    """The snapshot, and how large the backups were from one to the next."""
    grown = growth(store)[-_BARS_SHOWN:]
    sizes = [size for _, size in grown]
    lines = [
        f"# Snapshot {made.id}",
        f"Backed up and read back in {made.seconds:g} s.",
        "| | |\n|---|---|\n"
        f"| notes | {made.notes:,} |\n"
        f"| added | {megabytes(made.bytes_added)} |\n"
        f"| all backups | {megabytes(made.bytes_total)} |",
    ]
    if made.remark:
        lines.append(f"Note: {as_markdown(made.remark)}")
    if len(sizes) > 1:
        lines += [
            f"Growth over the last {len(sizes)} snapshots, from {megabytes(sizes[0])} to {megabytes(sizes[-1])}:",
            f"`{sparkline(sizes)}`",
        ]
    return "\n\n".join(lines)
