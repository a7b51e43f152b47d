"""Run one notebook in a process of its own, and make a page of what it shows.

Why a process of its own: what Jupyter imports and warns of stays out of ours, memory is given back, a notebook that
eats all of it takes nobody along, and DuckDB's and ADBC's SQLite never meet the one of the live database. Nothing is
read from or written to anybody's home: kernel, profile and caches have a folder that goes with the run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from nescord import packages
from nescord.errors import UsageError
from nescord.process_groups import how_it_ended, signal_group

NOTEBOOK_LIMIT = 900.0
_RENDER_LIMIT = 120.0
_GRACE = 8.0
_KERNEL = "nescord"
_LAST_WORDS = 2000
# What a notebook's process is told of our environment: where programs and packages are, and how to speak. No secrets.
_INHERITED = frozenset(
    (
        *("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TZDIR"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OFFLINE_GUARD_FILE"),
    )
)
_LOOK = 0.1

Parameters = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Failure:
    """Where a notebook stopped. `cell` counts all cells from 1 (0: in none of them), `source` is its first line."""

    cell: int
    source: str
    error: str

    def __str__(self) -> str:
        return f"cell {self.cell}: {self.error}" if self.cell else self.error


@dataclass(frozen=True, slots=True)
class NotebookRun:
    """What running a notebook took, and the first heading of its page (else the name of the notebook).

    `rss_bytes` is an upper bound: the kernel's peak and that of who drives it. This and the CPU seconds are 0 where the
    process was killed. True when every cell ran.
    """

    title: str
    seconds: float
    cpu_seconds: float
    rss_bytes: int
    has_page: bool
    failure: Failure | None = None

    def __bool__(self) -> bool:
        return self.failure is None


@contextmanager
def jupyter_home(inside: Path | None = None) -> Iterator[Path]:
    """A folder with our kernel and room for whatever Jupyter, IPython and matplotlib keep; several runs may share it.

    It is made `inside` a folder, unset that of the system for temporary files, and removed at the end.

    Raises:
        UsageError: the packages of notebooks are not installed.
    """
    if missing := packages.lacking(packages.OF_REPORTS):
        raise UsageError(f"notebooks need packages that are not there ({', '.join(missing)}): {packages.GET_NOTEBOOKS}")
    with tempfile.TemporaryDirectory(prefix="nescord-notebooks-", dir=inside, ignore_cleanup_errors=True) as name:
        home = Path(name)
        kernel = home / "jupyter" / "kernels" / _KERNEL
        kernel.mkdir(parents=True)
        for folder in ("run", "config", "ipython", "matplotlib", "cache", "tmp"):
            (home / folder).mkdir()
        argv = [sys.executable, "-m", "nescord.reports.kernel_process", "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": "Nescord", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        yield home


def run_notebook(
    path: Path,
    parameters: Parameters,
    out_ipynb: Path,
    out_html: Path,
    env: Mapping[str, str] | None = None,
    *,
    home: Path | None = None,
    limit: float = NOTEBOOK_LIMIT,
    stop: threading.Event | None = None,
) -> NotebookRun:
    """Run `path` with `parameters` in place of those of its cell tagged `parameters`; a failure is in what is returned.

    The notebook with its outputs is written to `out_ipynb` and the page, complete by itself, to `out_html`: up to the
    failing cell where one fails. `env` is added to the little that its processes know of our environment, `home` is a
    `jupyter_home()` (else it has its own), `limit` in seconds. The parameter `language` is that of the page, too.
    Whoever sets `stop` from another thread ends it as if it had failed.

    Raises:
        UsageError: there is no such notebook, or the packages of notebooks are not installed.
    """
    if not path.is_file():
        raise UsageError(f"there is no notebook {path}")
    if home is None:
        with jupyter_home() as own:
            return run_notebook(path, parameters, out_ipynb, out_html, env, home=own, limit=limit, stop=stop)
    job: dict[str, Any] = {
        "notebook": str(path.absolute()),
        "parameters": dict(parameters),
        "ipynb": str(out_ipynb.absolute()),
        "html": str(out_html.absolute()),
        "title": path.stem,
        "language": parameters.get("language") or "en",
        "kernel": _KERNEL,
    }
    began = time.monotonic()
    environment = _environment(home) | dict(env or {})
    stop = stop or threading.Event()
    answer, how = _child("run", job, environment, home, limit, stop)
    if answer is None:
        # It was killed. What it had saved by then can still be shown.
        job["error"] = how
        answer, _ = _child("render", job, environment, home, _RENDER_LIMIT, stop)
        title = answer["title"] if answer else path.stem
        failure = _failure(answer) or Failure(0, "", how)
        return NotebookRun(title, round(time.monotonic() - began, 2), 0.0, 0, out_html.is_file(), failure)
    return NotebookRun(
        title=answer["title"],
        seconds=round(time.monotonic() - began, 2),
        cpu_seconds=round(answer["cpu_seconds"], 2),
        rss_bytes=answer["rss_bytes"],
        has_page=out_html.is_file(),
        failure=_failure(answer),
    )


def _failure(answer: dict[str, Any] | None) -> Failure | None:
    stored = answer and answer["failure"]
    return Failure(**stored) if stored else None


def _environment(home: Path) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {
        "HOME": str(home),
        "JUPYTER_DATA_DIR": str(home / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "run"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPYTHONDIR": str(home / "ipython"),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "TMPDIR": str(home / "tmp"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "2",
    }


def _child(
    verb: str,
    job: Mapping[str, object],
    environment: Mapping[str, str],
    home: Path,
    limit: float,
    stop: threading.Event,
) -> tuple[dict[str, Any] | None, str]:
    """What the child answers; else None, and how it ended."""
    with tempfile.TemporaryFile(dir=home) as answered, tempfile.TemporaryFile(dir=home) as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "nescord.parent", str(_GRACE), "nescord.reports.child", verb, json.dumps(job)],
            stdin=subprocess.PIPE,  # ends when we do, and the child with it
            stdout=answered,
            stderr=said,
            env=dict(environment),
            cwd=home,
            process_group=0,
        )
        try:
            status = _waited(process, limit, stop)
        finally:
            _end(process)
        if status is None:
            return None, "it was stopped" if stop.is_set() else f"it took longer than {limit:g} s and was ended"
        if status != 0:
            last = _last_line(said)
            return None, f"its process {how_it_ended(status)}" + (f"; it said: {last}" if last else "")
        answered.seek(0)
        answer: dict[str, Any] = json.loads(answered.read())
        return answer, ""


def _waited(process: subprocess.Popen[bytes], limit: float, stop: threading.Event) -> int | None:
    deadline = time.monotonic() + limit
    while not stop.is_set() and time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK)
    return None


def _last_line(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - _LAST_WORDS))
    return said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its kernel goes with it (kernel_process)."""
    if process.poll() is None:
        signal_group(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    signal_group(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
