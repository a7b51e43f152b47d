"""Rehearse a restore: the flow around the verb `drill`.

Why: a backup that nobody has restored is a hope. When: on Sundays as a part of `nightly`, and by hand. Needs: a good
snapshot, and room for three times the database. The knowledge base itself is not touched; everything happens in a
scratch folder that is gone afterwards, also when the run is cancelled.
"""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.common import (
    DRILL_LIMIT,
    ROWS_SHOWN,
    Row,
    SnapshotId,
    as_markdown,
    first_of,
    progress_shown,
    retried,
    settings_of,
)
from flows.notify import on_completion, on_crashed, on_failure
from nescord.backup.drill import Drilled
from nescord.backup.drill import drill as rehearse_one
from nescord.backup.manager import BackupManager
from nescord.errors import BackupError

PROBES_KEY = "drill-probes"
PROGRESS_KEY = "drill-progress"

Summary = dict[str, str | int | float | None]


@retried
def rehearse(manager: BackupManager, snapshot: str | None) -> Drilled:
    """Restore the snapshot aside, check it and ask it its probes."""
    with progress_shown(PROGRESS_KEY) as tell, manager.opened() as base:
        return rehearse_one(base, snapshot, progress=tell)


@flow(
    name="drill",
    timeout_seconds=DRILL_LIMIT.total_seconds(),
    persist_result=False,
    on_failure=[on_failure],
    on_crashed=[on_crashed],
    on_completion=[on_completion],
)
def drill(snapshot: SnapshotId | None = None, data_dir: str | None = None) -> Summary:
    """Restore a snapshot to a scratch place, check it there, and ask it again what it was asked when it was made.

    Args:
        snapshot: The id of the snapshot in nescord backup list. Empty: the newest good one.
        data_dir: The data folder of the knowledge base. Empty: the setting NESCORD_DATA_DIR and its defaults.
    """
    done = rehearse(BackupManager(settings_of(data_dir)), snapshot)
    rows = _rows(done)
    create_table_artifact(rows[:ROWS_SHOWN], key=PROBES_KEY, description=_description(done, rows))
    if not done.ok:
        raise BackupError(
            f"the drill of {done.id} has failed: {'; '.join(done.problems)}: make a new backup and drill that one "
            "(nescord backup create)"
        )
    return {
        "id": done.id,
        "probes": done.probes,
        "chunks": done.chunks,
        "seconds": done.seconds,
        "index_overlap": done.index_overlap,
    }


def _rows(done: Drilled) -> list[Row]:
    """Each question by words and by vectors, those with another answer first. Not what was asked, which are titles of
    notes: the server keeps its records also of notes that are erased."""
    answers = sorted(enumerate(done.answers, 1), key=lambda answer: answer[1].agrees)
    return [
        {
            "probe": str(number),
            "by": answer.by,
            "chunks before": _shown(answer.before),
            "chunks now": _shown(answer.after),
            "agree": "yes" if answer.agrees else "NO",
        }
        for number, answer in answers
    ] or [{"probe": "nothing was asked", "by": "", "chunks before": "", "chunks now": "", "agree": ""}]


def _shown(chunks: tuple[int, ...]) -> str:
    return ", ".join(map(str, chunks))


def _description(done: Drilled, rows: list[Row]) -> str:
    verdict = "restores and answers as it did" if done.ok else "FAILED"
    overlap = "" if done.index_overlap is None else f", an index built from it finds {done.index_overlap:.0%}"
    said = [
        f"Snapshot {done.id} {verdict}: {done.probes} probes over {done.chunks:,} chunks{overlap}; {done.seconds:g} s.",
        *(f"Problem: {as_markdown(problem)}" for problem in done.problems),
        as_markdown(done.note),
        first_of(rows),
    ]
    return "\n\n".join(filter(None, said))
