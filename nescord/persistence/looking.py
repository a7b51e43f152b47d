"""A child process that looks into Chroma: `python -m nescord.persistence.looking TASK`, TASK as JSON.

A damaged index ends the process that uses it, and a sentinel must be found by another process than wrote it. So the
child forks twice, one after the other: the first compares everything and leaves the sentinel, the second finds it. It
forks after `import chromadb`, which costs a CPU second, and before anything is open, so nothing is shared that could
break. Nothing is moved or mended: what is damaged stays as it is for the drain that follows. The parent holds
index.lock as long as they run; they end with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from nescord.catalog import vectors as sql
from nescord.catalog.database import Catalog
from nescord.errors import NescordError
from nescord.index.chroma import ChromaDBService
from nescord.index.probe import CRASHES, PATIENCE, end_with_parent
from nescord.index.seal import Folder
from nescord.persistence.index import REBUILD, find_sentinel, leave_sentinel, mend_for
from nescord.persistence.report import Check, Checklist, PersistenceReport, failed


@dataclass(frozen=True, slots=True)
class Task:
    """What to look into: Chroma's folder or (`url`) a server. `seal`: the folder was sealed, and is to be so again."""

    database: str
    chroma: str
    run: str
    url: str
    model: int
    prefix: str
    deep: bool
    seal: bool


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a fork found: the checks; the sentinel that it left, and the folders that Chroma made for it."""

    report: PersistenceReport
    sentinel: str = ""
    scratch: tuple[str, ...] = ()


def run(task: Task) -> PersistenceReport:
    """The checks `index.…`, made by a child."""
    with subprocess.Popen(
        [sys.executable, "-m", "nescord.persistence.looking", json.dumps(asdict(task))],
        stdin=subprocess.PIPE,  # stays open as long as we live: the child's forks end with us
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # no thread before the forks
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        patience = threading.Timer(PATIENCE, child.kill)
        patience.start()
        try:
            answer = child.stdout.read().decode("utf-8", "replace")
            status = child.wait()
        finally:
            patience.cancel()
            child.kill()
            child.stdin.close()
            child.stdout.read()  # ends when the last fork has ended, and index.lock may be given back only then
    if status != 0:
        found = f"Chroma could not be looked into (status {status}): {answer[-500:]}"
        return PersistenceReport((Check("index.store", *failed(found, "verify again")),))
    return PersistenceReport(tuple(Check(**check) for check in json.loads(answer.splitlines()[-1])))


def _look_twice(task: Task) -> PersistenceReport:
    first = _in_a_fork(task, None)
    if isinstance(first, str):
        return PersistenceReport((Check("index.store", *failed(first, REBUILD)),))
    if not first.sentinel:
        return first.report
    second = _in_a_fork(replace(task, seal=task.seal and first.report.ok), first)
    if isinstance(second, str):
        second = _Looked(PersistenceReport((Check("index.sentinel", *failed(second, REBUILD)),)))
    return PersistenceReport((*first.report.checks, *second.report.checks))


def _in_a_fork(task: Task, first: _Looked | None) -> _Looked | str:
    """What a fork of this process finds, or how it came to its end instead."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as told:
        child = os.fork()
        if not child:
            _be_the_fork(task, first, told)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told.seek(0)
        answer = told.read()
    if status < 0 and -status in CRASHES:
        return f"using the index ends the process with {signal.Signals(-status).name}"
    if status or not answer:
        return f"looking into the index ended with status {status}"
    document = json.loads(answer)
    report = PersistenceReport(tuple(Check(**check) for check in document["checks"]))
    return _Looked(report, document["sentinel"], tuple(document["scratch"]))


def _be_the_fork(task: Task, first: _Looked | None, told: IO[str]) -> None:
    status = 1
    try:
        threading.Thread(target=end_with_parent, daemon=True).start()
        found = _compare(task) if first is None else _find(task, first)
        document = {"checks": found.report.document()["checks"], "sentinel": found.sentinel, "scratch": found.scratch}
        told.write(json.dumps(document))
        told.flush()
        status = 0
    finally:
        if status:
            sys.excepthook(*sys.exc_info())
        os._exit(status)  # a damaged store may hang or crash when it is taken down


def _compare(task: Task) -> _Looked:
    checklist = Checklist()
    try:
        with _service(task, checklist, (), seal=False) as service:
            with Catalog(Path(task.database)) as catalog, catalog.read() as connection:
                checklist.extend(service.verify_persistence(connection, task.model, deep=task.deep))
                epoch = sql.epoch(connection)
            # A store that does not even give its collections has been told enough.
            if checklist.report().checks[0].status != "fail":
                before = _folders(task)
                sentinel = leave_sentinel(service, epoch, task.prefix)
                return _Looked(checklist.report(), sentinel, tuple(sorted(_folders(task) - before)))
    except NescordError as error:
        name = "index.sentinel" if checklist.report().checks else "index.store"
        checklist.add(name, failed(str(error), mend_for(error)))
    return _Looked(checklist.report())


def _find(task: Task, first: _Looked) -> _Looked:
    checklist = Checklist()
    try:
        with _service(task, checklist, first.scratch, seal=task.seal) as service:
            checklist.look("index.sentinel", lambda: find_sentinel(service, first.sentinel))
    except NescordError as error:
        checklist.add("index.sentinel", failed(str(error), mend_for(error)))
    return _Looked(checklist.report())


class _Unmoved(Folder):
    """A folder that is opened as it is: what is damaged is told, never moved aside."""

    @contextmanager
    def open_as_it_is(self, checklist: Checklist, scratch: Iterable[str], *, seal: bool) -> Iterator[ChromaDBService]:
        from nescord.index.embedded import EmbeddedStore

        self.break_seal()
        store = EmbeddedStore(self._chroma)
        yield ChromaDBService(store)
        store.close()
        for name in scratch:  # Chroma leaves the folder of a collection that was dropped
            shutil.rmtree(self._chroma / name, ignore_errors=True)
        self.close(store, seal=seal and checklist.report().ok)


def _service(
    task: Task, checklist: Checklist, scratch: Iterable[str], *, seal: bool
) -> AbstractContextManager[ChromaDBService]:
    """Chroma, open. Folders named in `scratch` go when it is closed; then it is sealed, if `seal` and all was right."""
    if task.url:
        from nescord.index.http import HttpStore

        return ChromaDBService(HttpStore(task.url))
    return _Unmoved(Path(task.chroma), Path(task.run)).open_as_it_is(checklist, scratch, seal=seal)


def _folders(task: Task) -> set[str]:
    """Chroma's folders of collections."""
    return set() if task.url else {entry.name for entry in Path(task.chroma).iterdir() if entry.is_dir()}


def _main() -> None:
    task = Task(**json.loads(sys.argv[1]))
    if not task.url:
        os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
        import chromadb  # noqa: F401 - for both forks
    report = _look_twice(task)
    sys.stdout.write("\n" + json.dumps(report.document()["checks"]) + "\n")


if __name__ == "__main__":
    _main()
