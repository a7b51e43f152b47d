"""Build a report: marts and golden queries, then each notebook in a process of its own, then an index.

A notebook that fails is told with its cell and its error, what it showed before is kept, and the others go on. A report
counts when all of it is on disk; whatever happens before that, the last one stays as it is.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from nescord import durable, marts
from nescord.errors import NescordError, ReportError, UsageError
from nescord.home import DataFolder
from nescord.locks import held_alone
from nescord.marts import Built
from nescord.reports import golden, retention
from nescord.reports.index import index_of, index_of_all
from nescord.reports.kernel import Failure, NotebookRun, jupyter_home, run_notebook
from nescord.reports.retention import INDEX, Report, ReportPage
from nescord.settings import Settings
from nescord.times import utc_text

LOCK = "report.lock"
NOTEBOOKS = Path(__file__).resolve().parent.parent.parent / "notebooks"
_NAME = re.compile(r"[0-9]{2}_[a-z0-9_]{1,60}")
_STOP_PATIENCE = 30.0


class Building:
    """A report that is being built. Made by `building`; `run` may be called from several threads."""

    def __init__(self, settings: Settings, target: Path, home: Path, language: str, space: str, now: datetime) -> None:
        self.notebooks = notebooks_of(settings)
        self._settings = settings
        self._target = target
        self._home = home
        self._language = language
        self._space = space
        self._now = now
        self._began = time.monotonic()
        self._generation = ""
        self._remarks: tuple[str, ...] = ()
        self._pages: dict[str, ReportPage] = {}
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._running = 0

    def make_marts(self) -> Built:
        """Build the marts that all its notebooks read.

        Raises:
            MartsError and what else `marts.build` raises: there is no report without them.
        """
        built = marts.build(self._settings)
        self._generation = built.generation
        self._remarks += built.remarks
        return built

    def ask_golden_queries(self) -> str:
        """Ask the golden queries, whose history a notebook shows; what went wrong, which keeps no report from being.

        Without a file of them, or for a space alone, nothing is asked.
        """
        if self._space:
            return ""
        try:
            golden.ask_in_child(DataFolder.at(self._settings))
        except NescordError as error:
            self._remarks += (str(error),)
            return str(error)
        return ""

    def run(self, notebook: Path) -> ReportPage:
        """Run one of `notebooks`; its page, and what went wrong if something did.

        Raises:
            ReportError: somebody has removed the report meanwhile, or the disk failed.
        """
        with self._changed:
            self._running += 1
        try:
            ran = self._ran(notebook)
            page = self._target / f"{notebook.stem}.html"
            made = ReportPage(
                notebook=notebook.stem,
                title=ran.title,
                file=page.name if ran.has_page else "",
                bytes=page.stat().st_size if ran.has_page else 0,
                seconds=ran.seconds,
                cpu_seconds=ran.cpu_seconds,
                rss_bytes=ran.rss_bytes,
                failure=ran.failure,
            )
            self._refuse_a_removed_one()
        except OSError as error:
            self._refuse_a_removed_one()
            raise ReportError(f"the report could not be written to {self._target}: {error.strerror}") from error
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
        with self._changed:
            self._pages[notebook.stem] = made
        return made

    def publish(self) -> Report:
        """Write the index and let the report be the latest. What is older than the kept ones goes.

        A notebook that never came to its end (its `run` raised, or was not called) counts as failed.

        Raises:
            ReportError: somebody has removed the report meanwhile, or the disk failed.
        """
        report = Report(
            stamp=self._target.name,
            folder=self._target,
            built_at=utc_text(self._now),
            language=self._language,
            generation=self._generation,
            space=self._space,
            seconds=round(time.monotonic() - self._began, 1),
            remarks=self._remarks,
            pages=tuple(self._pages.get(path.stem) or _lacking(path) for path in self.notebooks),
        )
        try:
            shutil.rmtree(self._home, ignore_errors=True)  # with all that was written on the way
            durable.write_file(report.index, index_of(report, self._settings.timezone).encode("utf-8"))
            retention.publish(report)
            tidy(self._target.parent, self._settings)
        except OSError as error:
            self._refuse_a_removed_one()
            raise ReportError(f"the report could not be written to {self._target}: {error.strerror}") from error
        return report

    def stop(self) -> None:
        """End what still runs."""
        self._stop.set()
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0, _STOP_PATIENCE)

    def _ran(self, notebook: Path) -> NotebookRun:
        parameters = {
            "data_dir": str(self._target.parent.parent),
            "language": self._language,
            "space": self._space,
            "generation": self._generation,
        }
        saved, page = self._home / f"{notebook.stem}.ipynb", self._target / f"{notebook.stem}.html"
        environment = _told(self._settings)
        return run_notebook(notebook, parameters, saved, page, environment, home=self._home, stop=self._stop)

    def _refuse_a_removed_one(self) -> None:
        """An erasure has taken away what is made of what it erases."""
        if not self._target.is_dir():
            raise ReportError("somebody removed the report while it was made (an erasure does): make it once more")


@contextmanager
def building(settings: Settings, *, language: str | None = None, space: str = "") -> Iterator[Building]:
    """A report in the making, the only one of this knowledge base; what is not published in the block goes.

    Raises:
        LockTimeoutError: another report is being made. UsageError: there are no notebooks, or a package is missing.
    """
    folder = DataFolder.find(settings)
    notebooks_of(settings)  # before anything is made
    with _alone(folder, settings.lock_timeout):
        retention.prune(folder.reports)
        now = datetime.now(UTC)
        # The folder is there before the marts are built: whoever erases something after that finds it to remove.
        target = retention.begin(folder.reports, now)
        try:
            with jupyter_home(target) as home:
                under_way = Building(settings, target, home, language or settings.language, space, now)
                try:
                    yield under_way
                finally:
                    under_way.stop()
        finally:
            if retention.read(folder.reports, target.name) is None:
                retention.remove(target)


def build(
    settings: Settings,
    *,
    language: str | None = None,
    space: str = "",
    tell: Callable[[ReportPage], None] = lambda page: None,
) -> Report:
    """Build a report with all its notebooks, as many at once as the settings say; `tell` hears of each that is done.

    `language` is "ja" or "en", unset that of the settings; with `space` only notes of this space are looked at.

    Raises:
        ReportError: it could not be written. MartsError: without marts there is none. LockTimeoutError: another one is
        being made. UsageError: there are no notebooks, or a package is missing.
    """
    with building(settings, language=language, space=space) as under_way:
        under_way.make_marts()
        under_way.ask_golden_queries()
        if settings.report_parallel == 1:
            for notebook in under_way.notebooks:
                tell(under_way.run(notebook))
        else:
            with ThreadPoolExecutor(settings.report_parallel) as pool:
                try:
                    for page in pool.map(under_way.run, under_way.notebooks):
                        tell(page)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    under_way.stop()
                    raise
        return under_way.publish()


def notebooks_of(settings: Settings) -> tuple[Path, ...]:
    """The notebooks of a report, in order: `NN_name.ipynb` of NESCORD_NOTEBOOKS, unset those that come with Nescord.

    Raises:
        UsageError: there are none.
    """
    folder = settings.notebooks or NOTEBOOKS
    found = tuple(sorted(path for path in folder.glob("*.ipynb") if _NAME.fullmatch(path.stem)))
    if not found:
        raise UsageError(
            f"there are no notebooks in {folder}: NESCORD_NOTEBOOKS must name a folder with files such as "
            "01_overview.ipynb (those of Nescord are beside its code in the repository)"
        )
    return found


def tidy(room: Path, settings: Settings, *, dry_run: bool = False) -> list[Path]:
    """Remove what is older than the reports that are kept, and lead to those that are left. `room` is `reports/`.

    Only while nobody builds a report; the paths that went, or in a dry run would go.
    """
    going = retention.prune(room, dry_run=dry_run)
    kept = retention.complete(room)
    if not dry_run and (kept or (room / INDEX).exists()):
        language = kept[-1].language if kept else settings.language
        durable.write_file(room / INDEX, index_of_all(kept, settings.timezone, language).encode("utf-8"))
    return going


def _lacking(notebook: Path) -> ReportPage:
    """What stands for a notebook of which there is no page: without it a report would count as whole."""
    failure = Failure(0, "", "it did not come to its end")
    return ReportPage(notebook.stem, notebook.stem, "", 0, 0.0, 0.0, 0, failure)


def _told(settings: Settings) -> dict[str, str]:
    """The settings that a notebook may ask for: all that were made, but for secrets."""
    made = {name: getattr(settings, name) for name in settings.model_fields_set}
    told = {
        str(Settings.model_fields[name].validation_alias): str(value)
        for name, value in made.items()
        if isinstance(value, str | int | float | Path)
    }
    return told | {"NESCORD_TZ": settings.timezone}


@contextmanager
def _alone(folder: DataFolder, timeout: float) -> Iterator[None]:
    """One report at a time."""
    durable.make_folder(folder.run)
    with held_alone(folder.run / LOCK, timeout, f"a report of {folder.path} is being made"):
        yield
