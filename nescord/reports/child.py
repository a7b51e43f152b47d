"""The child that drives one notebook: `python -m nescord.reports.child run|render JOB`; its answer is JSON on stdout.

The only place that imports papermill and nbconvert. See kernel.py for why it is a process of its own.
"""

from __future__ import annotations

import html
import json
import os
import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from nescord.reports.page import page, sanitized

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_HEADING, _TAG = re.compile(r"<h1\b[^>]*>(.*?)</h1>", re.DOTALL), re.compile(r"<[^>]*>")
_STOPPED = 143
_LONGEST = 500
# The tags of cells that papermill adds: its remarks about a failure, for which we have our own, and the parameters.
_MARKER, _INJECTED = "papermill-error-cell-tag", "injected-parameters"
_DIED = "the kernel died, probably because the machine ran out of memory"


def _run(job: dict[str, Any]) -> dict[str, object] | None:
    """Run the notebook; what went wrong, or None."""
    import papermill  # type: ignore[import-untyped]  # it has no types
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError  # type: ignore[import-untyped]

    try:
        papermill.execute_notebook(
            job["notebook"],
            job["ipynb"],
            parameters=job["parameters"],
            kernel_name=job["kernel"],
            progress_bar=False,
            autosave_cell_every=0,
        )
    except PapermillExecutionError as error:
        said = f"{error.ename}: {error.evalue}" if error.evalue else error.ename
        return _failure(_read(job).cells, error.cell_index, said)
    except DeadKernelError:
        return _interrupted(_read(job).cells, _DIED)
    return None


def _read(job: dict[str, Any]) -> Any:
    """The notebook as far as it was saved, without the remarks that papermill writes above a cell that failed."""
    import nbformat

    notebook = nbformat.read(job["ipynb"], as_version=4)  # type: ignore[no-untyped-call]  # of nbformat
    notebook.cells = [cell for cell in notebook.cells if _MARKER not in cell.metadata.get("tags", [])]
    return notebook


def _interrupted(cells: list[Any], how: str) -> dict[str, object]:
    """Which cell was running in a notebook that was saved on the way: the last that was begun."""
    begun = [place for place, cell in enumerate(cells) if cell.metadata.get("papermill", {}).get("start_time")]
    return _failure(cells, begun[-1], how) if begun else {"cell": 0, "source": "", "error": how}


def _failure(cells: list[Any], place: int, said: str) -> dict[str, object]:
    """`cell` counts as a person who opens the notebook does, to whom the cell that sets the parameters is not there."""
    added = sum(_INJECTED in cell.metadata.get("tags", []) for cell in cells[:place])
    return {"cell": place + 1 - added, "source": _first_line(cells[place].source), "error": _short(said)}


def _render(job: dict[str, Any], notebook: Any, failure: dict[str, object] | None) -> str:
    """Write the page; its title."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            # What is left of it are style attributes, which the page's policy refuses.
            if output.output_type == "stream":
                output.text = _ANSI.sub("", output.text)
            elif output.output_type == "error":
                output.traceback = [_ANSI.sub("", line) for line in output.traceback]
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]  # of nbconvert
        config=Config(),
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        sanitize_html=True,
        mathjax_url="",
        require_js_url="",
        filters={"clean_html": sanitized},
    )
    body, _ = exporter.from_notebook_node(notebook)
    heading = _HEADING.search(body)
    title = _short(html.unescape(_TAG.sub("", heading[1]))) if heading else ""
    written = page(body, title=title or job["title"], language=job["language"], failure=failure)
    Path(job["html"]).write_text(written, encoding="utf-8")
    return title or str(job["title"])


def _first_line(source: str) -> str:
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    code = [line for line in lines if not line.startswith("#")]
    return _short((code or lines or [""])[0])


def _short(text: str) -> str:
    text = " ".join(_ANSI.sub("", text).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _spent() -> tuple[float, int]:
    """CPU seconds, and the peaks of this process and of its largest child, in bytes."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1 if sys.platform == "darwin" else 1024
    return sum(each.ru_utime + each.ru_stime for each in both), sum(each.ru_maxrss for each in both) * unit


def _main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_STOPPED))
    os.umask(0o077)
    answer_to = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed is no answer
    verb, job = sys.argv[1], json.loads(sys.argv[2])
    failure = _run(job) if verb == "run" else None
    notebook = _read(job)
    if verb == "render":
        failure = _interrupted(notebook.cells, job["error"])
    title = _render(job, notebook, failure)
    cpu, rss = _spent()
    with os.fdopen(answer_to, "w", encoding="utf-8") as stream:
        json.dump({"title": title, "failure": failure, "cpu_seconds": cpu, "rss_bytes": rss}, stream)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
