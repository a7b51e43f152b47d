"""Where the tasks of a run are done: in threads of the run itself, or by the workers of a Dask cluster.

NESCORD_TASK_RUNNER says which, and is read when a run begins, so that one deployment serves any of them. What goes to
a worker is pure work (a model and texts); the run alone has the database and stores what comes back.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, PrefectWrappedFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from nescord.embedding.pieces import Answer
from nescord.errors import EmbeddingError, ServiceUnavailableError, SettingsError
from nescord.settings import Settings

# Batches handed on before the first is waited for: enough for some 60 workers, and all that waits is in memory.
AHEAD = 128
_CONNECT_SECONDS = 10
_HERE = "127.0.0.1"

AnyRunner = TaskRunner[PrefectFuture[Any]]  # Any: Prefect's own bound; a runner runs tasks of any result
T = TypeVar("T")
R = TypeVar("R")


class RunnerBySetting(ThreadPoolTaskRunner[Any]):
    """What a flow is declared with. Prefect makes a duplicate for each run: that is the one of the setting."""

    def duplicate(self) -> AnyRunner:  # type: ignore[override]  # Prefect asks of it only to be a task runner
        return new_runner(Settings().task_runner)


# Here and not beside its flow, because a flow is loaded from its file, and a worker finds only what it can import.
# Without retries: what a model answers to a text, it answers to it again.
@task(name="embed", cache_policy=NO_CACHE, persist_result=False)
def embed(work: Callable[[], list[Answer]]) -> list[Answer]:
    """The vectors of one batch of texts. Pure work, wherever it is done: the flow stores them.

    As one callable the texts are opaque to Prefect and Dask, which would look into each of them for futures.
    """
    return work()


def by_setting() -> AnyRunner:
    """The `task_runner` of a flow that follows NESCORD_TASK_RUNNER."""
    return cast(AnyRunner, RunnerBySetting(max_workers=1))


def new_runner(wanted: str) -> AnyRunner:
    """The runner that `threads:N`, `dask:N` or `dask+tcp://host:port` names.

    Raises:
        SettingsError: it needs a package that is not installed.
    """
    kind, _, rest = wanted.partition(":")
    if kind == "threads":
        return cast(AnyRunner, ThreadPoolTaskRunner(max_workers=int(rest)))
    # What a cluster says of its comings and goings would drown what the run says. Its processes inherit it.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
    try:
        from flows.dask_runner import WorkersRunner
    except ImportError as error:
        raise SettingsError(
            f"NESCORD_TASK_RUNNER is {wanted}: that needs the packages of the extra dask "
            f"(pip install 'nescordbot[dask]'): {error}"
        ) from error
    if kind == "dask":
        # One thread each: a process has its model once, and embeds one text after the other.
        cluster = {"n_workers": int(rest), "threads_per_worker": 1, "host": _HERE, "dashboard_address": f"{_HERE}:0"}
        return cast(AnyRunner, WorkersRunner(cluster_kwargs=cluster))
    address = wanted.removeprefix("dask+")
    return cast(AnyRunner, WorkersRunner(address=address, client_kwargs={"timeout": _CONNECT_SECONDS}))


def is_in_this_process() -> bool:
    """Whether the tasks of the run at hand are done here, where they may use what the run has open."""
    context = FlowRunContext.get()
    return context is None or isinstance(context.task_runner, ThreadPoolTaskRunner)


def in_turn(submit: Callable[[T], PrefectFuture[R]], batches: Sequence[T]) -> Generator[R]:
    """The results of the batches in their order, some under way ahead; after an error or a stop no other is begun.

    Each future is let go with its result, and so the cluster lets go of what it holds for it.

    Raises:
        ServiceUnavailableError: the cluster cannot be reached. EmbeddingError: a batch cannot be done there.
    """
    waiting: deque[PrefectFuture[R]] = deque()
    try:
        for batch in batches:
            with _as_ours():
                waiting.append(submit(batch))
            if len(waiting) > AHEAD:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        for future in waiting:
            if isinstance(future, PrefectWrappedFuture):
                future.wrapped_future.cancel()


def _result(future: PrefectFuture[R]) -> R:
    with _as_ours():
        return future.result()


@contextmanager
def _as_ours() -> Iterator[None]:
    """Errors of a cluster in our words. Those of the task itself come as they are."""
    try:
        yield
    except OSError as error:
        raise ServiceUnavailableError(
            f"the Dask cluster of NESCORD_TASK_RUNNER does not answer: {error} (is its scheduler running?)"
        ) from error
    except Exception as error:
        if type(error).__name__ == "KilledWorker":  # distributed's; it is not imported where no cluster is used
            raise EmbeddingError(f"one batch ended several Dask workers (no memory left there?): {error}") from error
        raise
