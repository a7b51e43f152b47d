"""Verify disk, identity, database, index and backups: the flow around the verb of that name.

Why: so that a loss is known before the last copy of what was lost is pruned. When: after an ingest that changed
something, at most once in 6 hours, and deep every night. Needs: nothing; what does not open is a finding like any
other. A run fails when a check has failed, and its message names the checks; the table says what to do about each.
"""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.common import FAILED, VERIFY_LIMIT, Row, as_markdown, emit, retried, settings_of
from flows.notify import on_completion, on_crashed, on_failure
from nescord import Settings
from nescord.errors import FailedChecksError
from nescord.home import DataFolder
from nescord.persistence import PersistenceReport
from nescord.persistence.verb import repaired, verified

CHECKS_KEY = "verify-checks"
_SHOWN = {"fail": "❌ fail", "warn": "⚠️ warn", "pass": "✅ pass"}

Summary = dict[str, bool | int | list[str]]


@retried
def look(settings: Settings, deep: bool) -> PersistenceReport:
    """Make every check."""
    return verified(settings, deep=deep)


@retried
def mend(settings: Settings, report: PersistenceReport) -> list[str]:
    """Mend what can be mended without loss."""
    return repaired(settings, report)


@flow(
    name="verify",
    timeout_seconds=VERIFY_LIMIT.total_seconds(),
    persist_result=False,
    on_failure=[on_failure],
    on_crashed=[on_crashed],
    on_completion=[on_completion],
)
def verify(deep: bool = False, repair: bool = False, data_dir: str | None = None) -> Summary:
    """Verify that what was stored is still there, whole, on a disk that keeps it, and could be brought back.

    Args:
        deep: Read every page and index entry of the database, and sample more.
        repair: Mend what can be mended without loss, then verify again.
        data_dir: The data folder of the knowledge base. Empty: the setting NESCORD_DATA_DIR and its defaults.
    """
    settings = settings_of(data_dir)
    report = look(settings, deep)
    done = []
    if repair:
        done = mend(settings, report)
        report = look(settings, deep)
    names = show_checks(report, done)
    if names:
        emit(FAILED, DataFolder.at(settings), {"checks": names})
        raise FailedChecksError(*names)
    return {"ok": True, "checks": len(report.checks), "warned": _named(report, "warn"), "repaired": done}


def show_checks(report: PersistenceReport, done: list[str]) -> list[str]:
    """Keep the checks as an artifact, what failed first; the names of those that failed."""
    order = list(_SHOWN)
    rows: list[Row] = [
        {
            "check": check.name,
            "status": _SHOWN[check.status],
            "value": as_markdown(check.value),
            "mend": as_markdown(check.mend),
        }
        for check in sorted(report.checks, key=lambda check: order.index(check.status))
    ]
    names = _named(report, "fail")
    counts = f"{len(rows)} checks: {len(names)} failed, {len(_named(report, 'warn'))} warned."
    mended = [f"Repair: {as_markdown(sentence)}" for sentence in done]
    create_table_artifact(rows, key=CHECKS_KEY, description="\n\n".join([counts, *mended]))
    return names


def _named(report: PersistenceReport, status: str) -> list[str]:
    return [check.name for check in report.checks if check.status == status]
