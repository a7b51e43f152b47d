"""Tidy up: the flow around the verb `maintain`.

Why: a volume must not fill up with what nobody will ask for again, and one should know months before when it will.
When: on Sundays as a part of `nightly`, after its backup, and by hand. Needs: nothing; what is in use by others is left
for the next time. A step that fails does not keep the others from being made; the run then fails and names it. A killed
or cancelled run has done a part of it, and the next one does the rest.
"""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.common import MAINTAIN_LIMIT, Row, as_markdown, megabytes, retried, settings_of
from flows.notify import on_completion, on_crashed, on_failure
from nescord import KnowledgeManager
from nescord.errors import NescordError
from nescord.maintain import MaintainReport

STEPS_KEY = "maintain-steps"

Summary = dict[str, int | float | None]


@retried
def tidy(knowledge: KnowledgeManager) -> MaintainReport:
    """Do all steps."""
    return knowledge.maintain()


@flow(
    name="maintain",
    timeout_seconds=MAINTAIN_LIMIT.total_seconds(),
    persist_result=False,
    on_failure=[on_failure],
    on_crashed=[on_crashed],
    on_completion=[on_completion],
)
def maintain(data_dir: str | None = None) -> Summary:
    """Remove what is past its days, put database and index in order, and say how long the disk will last.

    Args:
        data_dir: The data folder of the knowledge base. Empty: the setting NESCORD_DATA_DIR and its defaults.
    """
    with KnowledgeManager.open_existing(settings_of(data_dir)) as knowledge:
        report = tidy(knowledge)
    create_table_artifact(key=STEPS_KEY, table=_rows(report), description=_description(report))
    if not report:
        reasons = "; ".join(f"{step.name}: {step.error}" for step in report.failed)
        raise NescordError(f"steps of the maintenance failed, the others are done: {reasons}")
    return {"steps": len(report.steps), "full_in_months": report.full_in_months, "seconds": report.seconds}


def _rows(report: MaintainReport) -> list[Row]:
    return [
        {
            "step": step.name,
            "before": _amount(step.before, step.unit),
            "after": _amount(step.after, step.unit),
            "remark": as_markdown(f"FAILED: {step.error}" if step.error else step.remark),
        }
        for step in report.steps
    ]


def _amount(count: int | None, unit: str) -> str:
    if count is None:
        return ""
    return megabytes(count) if unit == "bytes" else f"{count:,} {unit}"


def _description(report: MaintainReport) -> str:
    failed = f"{len(report.failed)} of {len(report.steps)} steps failed" if report.failed else "Every step is done"
    disk = report.steps[-1]
    return f"{failed}; {report.seconds:g} s. Free disk: {_amount(disk.after, disk.unit)}. {as_markdown(disk.remark)}"
