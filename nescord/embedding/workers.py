"""Processes that embed beside the one that writes: pure work by the batch, so that a second core counts.

Each is a new interpreter (never a fork: BLAS threads, locks and SQLite connections do not survive one) that reads texts
from a socket and answers with vectors. It ends when the socket does, hence also when its parent is killed. One that
dies costs the texts at hand: another does them again, or the parent itself when too many have died.
"""

from __future__ import annotations

import os
import pickle
import select
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nescord.errors import NescordError

if TYPE_CHECKING:
    from nescord.embedding import Embedder, Vectors

# Texts that a worker gets at a time: about 0.15 s of work, so that none waits long for the last one to end.
_SLICE = 8

_BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# The child finds modules where its parent does, whatever that did to sys.path; PYTHONPATH counts as ever.
_CHILD = (
    "import sys\n"
    "from multiprocessing.connection import Connection\n"
    "parent = Connection(int(sys.argv[1]))\n"
    "sys.path[:] = parent.recv()\n"
    "from nescord.embedding.workers import serve\n"
    "serve(parent)"
)


class _Worker:
    """One process and the socket to it. `at` is the slice that it has at hand."""

    def __init__(self, embedder: Embedder) -> None:
        self.at: int | None = None
        self.connection, theirs = Pipe()
        with theirs:
            # A process group of its own: Ctrl-C is for the parent, which ends its workers in its own time.
            self.process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **dict.fromkeys(_BLAS_THREADS, "1")},
                process_group=0,
            )
        with suppress(OSError):  # it died at once: seen when its answer is read
            self.connection.send(sys.path)
            self.connection.send(embedder)

    def end(self) -> None:
        """What it has at hand is pure work: nothing is lost by a kill."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


class WorkerPool:
    """`count` workers with a copy of `embedder` (pickled) each. A context manager; used by one thread."""

    def __init__(self, embedder: Embedder, count: int) -> None:
        self._embedder = embedder
        self._workers: list[_Worker] = []
        self._to_start = count
        self._replacements = count

    @property
    def pids(self) -> list[int]:
        """The processes that live."""
        return [worker.process.pid for worker in self._workers]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, in their order.

        Raises:
            NescordError: what the embedder raised for the first of the slices that it failed on.
        """
        import numpy as np

        slices = [list(texts[first : first + _SLICE]) for first in range(0, len(texts), _SLICE)]
        if not slices:
            return self._embedder.embed_documents([])
        try:
            answers = self._answers(slices)
        except BaseException:
            self._end()  # interrupted: what they still answer belongs to nobody
            raise
        for _, answer in sorted(answers.items()):
            if isinstance(answer, NescordError):
                raise answer
        return np.concatenate([answers[place] for place in range(len(slices))])

    def _answers(self, slices: Sequence[list[str]]) -> dict[int, Vectors | NescordError]:
        answers: dict[int, Vectors | NescordError] = {}
        waiting = deque(range(len(slices)))
        while len(answers) < len(slices):
            self._start(len(waiting))
            for worker in self._workers:
                if worker.at is None and waiting:
                    worker.at = waiting.popleft()
                    with suppress(OSError):  # dead: seen below, where its answer is read
                        worker.connection.send(slices[worker.at])
            busy = {worker.connection: worker for worker in self._workers if worker.at is not None}
            if not busy:  # no worker is left, and none will come
                place = waiting.popleft()
                answers[place] = _answer(self._embedder, slices[place])
            for connection in wait(list(busy)) if busy else ():
                worker = busy[connection]  # type: ignore[index]  # wait() gives back what it was given
                place = worker.at if worker.at is not None else -1
                worker.at = None
                try:
                    answers[place] = worker.connection.recv()
                except (EOFError, OSError, pickle.UnpicklingError):
                    waiting.appendleft(place)
                    self._bury(worker)
        return answers

    def _start(self, waiting: int) -> None:
        try:
            for _ in range(min(self._to_start, waiting)):
                self._workers.append(_Worker(self._embedder))
                self._to_start -= 1
        except OSError:  # no memory or no process left to have: those that run, or the parent alone, do the work
            self._to_start = self._replacements = 0

    def _bury(self, worker: _Worker) -> None:
        worker.end()
        self._workers.remove(worker)
        # Where each one dies (no memory left?), the parent goes on alone.
        if self._replacements:
            self._replacements -= 1
            self._to_start += 1

    def _end(self) -> None:
        while self._workers:
            self._workers.pop().end()
        self._to_start = 0


def serve(parent: Connection) -> None:
    """The life of a worker: texts in, vectors out, until the parent closes the socket or dies."""
    threading.Thread(target=_end_with, args=(parent.fileno(),), daemon=True).start()
    with suppress(EOFError, OSError):
        embedder: Embedder = parent.recv()
        while True:
            parent.send(_answer(embedder, parent.recv()))


def _end_with(descriptor: int) -> None:
    """Wait for the other end to hang up, and stop in the midst of work: nobody will read it."""
    poller = select.poll()
    poller.register(descriptor, 0)
    poller.poll()
    os._exit(0)


def _answer(embedder: Embedder, texts: list[str]) -> Vectors | NescordError:
    try:
        return embedder.embed_documents(texts)
    except NescordError as error:
        return error
