"""Build the weekly report: the flow around the verbs of `nescord.reports`.

Why: to look, without asking, at what the knowledge base knows and how well it lives. When: on Monday mornings, and by
hand. Needs: the packages of the extra `notebooks`, and no model. The marts are one task and each notebook is one; one
that fails shows as such with its cell, its page holds what there was before, the others go on, and the run then fails
and names it. A killed run leaves the last report as it was, and the next one clears away what it left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.task_runners import ThreadPoolTaskRunner

from flows.common import REPORT_LIMIT, Row, as_markdown, megabytes, retried, settings_of
from flows.notify import on_completion, on_crashed, on_failure
from flows.runners import AnyRunner
from nescord import packages
from nescord.errors import ReportError
from nescord.marts import Built
from nescord.reports.build import Building, building
from nescord.reports.retention import Report, ReportPage

PAGES_KEY = "report-pages"
_MOST_AT_ONCE = 2

Summary = dict[str, int | float | str]


@retried
def marts(report: Building) -> Built:
    """Export what the notebooks read."""
    return report.make_marts()


@retried
def golden_queries(report: Building) -> str:
    """Ask them, if there are any."""
    return report.ask_golden_queries()


@retried
def notebook(report: Building, path: Path) -> ReportPage:
    """Run one; ReportError when a cell of it failed."""
    page = report.run(path)
    if page.failure is not None:
        raise ReportError(f"{page.notebook}: {page.failure}")
    return page


@flow(
    name="report",
    timeout_seconds=REPORT_LIMIT.total_seconds(),
    persist_result=False,
    task_runner=cast(AnyRunner, ThreadPoolTaskRunner(max_workers=_MOST_AT_ONCE)),
    on_failure=[on_failure],
    on_crashed=[on_crashed],
    on_completion=[on_completion],
)
def report(language: Literal["ja", "en"] | None = None, data_dir: str | None = None) -> Summary:
    """Run the notebooks over new marts and keep what they show as pages that are complete by themselves.

    Args:
        language: The language of the report. Empty: the setting NESCORD_LANG.
        data_dir: The data folder of the knowledge base. Empty: the setting NESCORD_DATA_DIR and its defaults.
    """
    settings = settings_of(data_dir)
    if lacking := packages.lacking(packages.OF_REPORTS):
        # An image without them is made so on purpose (REPORTS=0), and would fail every Monday.
        remark = f"not installed: {', '.join(lacking)} ({packages.GET_NOTEBOOKS})"
        return {"report": "", "notebooks": 0, "remark": remark}
    with building(settings, language=language) as under_way:
        marts(under_way)
        golden_queries(under_way)
        if settings.report_parallel == 1:
            for path in under_way.notebooks:
                notebook.with_options(task_run_name=path.stem)(under_way, path, return_state=True)
        else:
            named = {path: notebook.with_options(task_run_name=path.stem) for path in under_way.notebooks}
            for future in [one.submit(under_way, path) for path, one in named.items()]:
                future.wait()
        done = under_way.publish()
    remarks = "".join(f" {as_markdown(remark)}" for remark in done.remarks)
    create_table_artifact(_rows(done), key=PAGES_KEY, description=_description(done) + remarks)
    if not done:
        reasons = "; ".join(f"{page.notebook}: {page.failure}" for page in done.failed)
        raise ReportError(f"notebooks failed, the pages of the others are whole: {reasons}")
    return {"report": done.stamp, "notebooks": len(done.pages), "bytes": done.bytes, "seconds": done.seconds}


def _rows(done: Report) -> list[Row]:
    return [
        {
            "notebook": page.notebook,
            "page": as_markdown(str(done.folder / page.file)) if page.file else "",
            "size": megabytes(page.bytes),
            "took": f"{page.seconds:g} s ({page.cpu_seconds:g} CPU s)",
            "memory": megabytes(page.rss_bytes),
            "failed": as_markdown(str(page.failure or "")),
        }
        for page in done.pages
    ]


def _description(done: Report) -> str:
    failed = f"{len(done.failed)} of {len(done.pages)} notebooks failed" if done.failed else "Every notebook is done"
    where = as_markdown(str(done.index))
    return f"{failed}; {done.seconds:g} s. Index: {where}; on the status page at `/reports/{done.stamp}/index.html`."
