"""Take a vault in: the flow around the verbs `plan`, `commit`, `pending_work` and `drain`.

Why: so that a vault is followed by a schedule, and each run leaves a record of what changed and what needs a person.
When: on a schedule or by trigger; a vault without changes costs one directory walk. Needs: a vault that this machine
can read; without an embedding model the notes are stored all the same, and the run says what is missing. A killed,
cancelled or timed-out run keeps every batch it has committed, and the next one does the rest: there is nothing to clean
up but the open database and the workers, which the `with` blocks close under any exception (a cancellation arrives as
Prefect's TerminationSignal).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from prefect import flow, task, unmapped
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task, exponential_backoff
from prefect.utilities.annotations import quote

from nescord import KnowledgeManager, Settings
from nescord.catalog.vectors import PendingText
from nescord.embed import Answer, PendingWork
from nescord.errors import DiskError, EmbeddingError, LockTimeoutError, ServiceUnavailableError
from nescord.home import drop_privileges, locate
from nescord.ingest import IngestOptions, IngestPlan
from nescord.meaning import MeaningReport
from nescord.notes import Failure, IngestReport

CHANGES_KEY = "ingest-changes"
FAILURES_KEY = "ingest-failures"

# The artifacts are rows in the server's database, for people to read: the first ones tell what is going on.
_ROWS_SHOWN = 100
_LONGEST_TEXT = 500
_RUN_LIMIT = timedelta(hours=6)
_RETRIES = 3
_FIRST_DELAY_SECONDS = 2
_JITTER = 0.5

# Another process is writing, or a volume over the network hiccuped. Everything else stays wrong until a person acts.
_CAN_PASS = (LockTimeoutError, DiskError)

# The words of `nescord ingest --json`, and how many files were opened.
_SUMMARY = (
    *("source", "added", "changed", "renamed", "deleted", "revived", "unchanged"),
    *("withheld", "failed", "warned", "embedded", "refused", "pending", "indexed", "files_read", "seconds", "degraded"),
)
Summary = dict[str, str | int | float | list[str]]
Row = dict[str, str]
P = ParamSpec("P")
T = TypeVar("T")


def can_pass(task: Task[..., object], task_run: TaskRun, state: State[object]) -> bool:
    """Whether trying again may help. The parameters are those of a `retry_condition_fn`."""
    return isinstance(state.data, _CAN_PASS)


def retried(function: Callable[P, T]) -> Task[P, T]:
    """A task of that name that is tried again where that may help."""
    make: Callable[[Callable[P, T]], Task[P, T]] = task(
        name=function.__name__,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=_RETRIES,
        retry_delay_seconds=exponential_backoff(_FIRST_DELAY_SECONDS),
        retry_jitter_factor=_JITTER,
        retry_condition_fn=can_pass,
    )
    return make(function)


@retried
def scan(knowledge: KnowledgeManager, vault: str | None) -> IngestPlan:
    """Walk the vault and compare it with what is stored."""
    return knowledge.plan(vault)


@retried
def commit(knowledge: KnowledgeManager, found: IngestPlan, options: IngestOptions) -> IngestReport:
    """Store what the scan found, batch by batch. After a retry what was committed before counts as unchanged."""
    return knowledge.commit(found, options)


# Without retries: what a model answers to a text, it answers to it again.
@task(name="embed", cache_policy=NO_CACHE, persist_result=False)
def embed(work: PendingWork, batch: list[PendingText]) -> list[Answer]:
    """The vectors of one batch of texts. Pure work: the flow stores them."""
    return work.embed_batch(batch)


@retried
def drain(knowledge: KnowledgeManager) -> MeaningReport:
    """Tell Chroma what changed, and compare it with the database."""
    return knowledge.drain()


# One batch at a time, since each is shared among worker processes already; a cancelled run waits for no more than one.
@flow(
    name="ingest",
    timeout_seconds=_RUN_LIMIT.total_seconds(),
    persist_result=False,
    task_runner=cast(TaskRunner[PrefectFuture[object]], ThreadPoolTaskRunner(max_workers=1)),
)
def ingest(vault: str | None = None, allow_mass_delete: bool = False, data_dir: str | None = None) -> Summary:
    """Take in what is new, changed, renamed or gone in a vault of notes.

    Args:
        vault: The folder of notes, as the machine that runs this sees it. Empty: the setting NESCORD_VAULT.
        allow_mass_delete: Delete also when so many notes vanished at once that a missing mount is the likelier reason.
        data_dir: The data folder of the knowledge base. Empty: the setting NESCORD_DATA_DIR and its defaults.
    """
    settings = Settings(data_dir=Path(data_dir) if data_dir else None)
    drop_privileges(locate(settings))
    with KnowledgeManager.open(settings) as knowledge:
        found = scan(knowledge, vault)
        report = commit(knowledge, _unsearched(found), IngestOptions(allow_mass_delete=allow_mass_delete))
        _embed_pending(knowledge, report)
        drained = drain(knowledge)
        report.pending, report.indexed = drained.pending, drained.indexed
        report.degraded = list(dict.fromkeys([*report.degraded, *drained.degraded]))
        failures = knowledge.failures()
        begun = f"new knowledge base at {knowledge.folder.path}" if knowledge.is_new else ""
    create_table_artifact(key=CHANGES_KEY, table=_changes(report), description=_description(report, begun))
    if failures:
        create_table_artifact(key=FAILURES_KEY, table=_failures(failures), description=_first_of(len(failures)))
    return {name: getattr(report, name) for name in _SUMMARY}


def _embed_pending(knowledge: KnowledgeManager, report: IngestReport) -> None:
    """Embed batch by batch and store each as soon as it is there. Notes are kept and found by words without it."""
    try:
        with knowledge.pending_work() as work:
            futures = embed.map(unmapped(work), _unsearched(work.batches)) if work.batches else []
            try:
                for batch, future in zip(work.batches, futures, strict=True):
                    embedded, refused = work.store_batch(batch, future.result())
                    report.embedded += embedded
                    report.refused += refused
            finally:  # after a failure or a cancellation no further batch is begun
                for future in futures:
                    if isinstance(future, PrefectConcurrentFuture):
                        future.wrapped_future.cancel()
    except (EmbeddingError, ServiceUnavailableError, LockTimeoutError) as error:
        report.degraded.append(f"vector: {error}")


def _unsearched(value: T) -> T:
    """`value` for a task, marked so that Prefect does not look into each of its thousands of files for futures."""
    return cast(T, quote(value))


def _changes(report: IngestReport) -> list[Row]:
    if not report.changes:
        return [{"what": "nothing changed", "path": "", "detail": ""}]
    return [
        {
            "what": change.what,
            "path": as_markdown(change.path),
            "detail": as_markdown(f"was {change.was}" if change.was else change.reason),
        }
        for change in report.changes[:_ROWS_SHOWN]
    ]


def _failures(failures: Iterable[Failure]) -> list[Row]:
    return [
        {
            "path": as_markdown(failure.path),
            "source": as_markdown(failure.source),
            "searchable": "yes" if failure.stored else "no",
            "reason": as_markdown(failure.reason),
            "since": failure.first_seen,
        }
        for failure in list(failures)[:_ROWS_SHOWN]
    ]


def _description(report: IngestReport, begun: str) -> str:
    counts = ", ".join(
        f"{getattr(report, name)} {name}" for name in ("added", "changed", "renamed", "deleted", "revived", "unchanged")
    )
    trouble = f"{report.failed} failed, {report.warned} stored with a warning, {report.withheld} deletions withheld"
    work = f"{report.files_read} files opened, {report.seconds:g} s"
    meaning = f"{report.embedded} texts embedded, {report.refused} refused, {report.pending} chunks pending"
    meaning += f", {report.indexed} indexed"
    said = [as_markdown(message) for message in [*report.messages, begun] if message]
    said += [f"Degraded: {as_markdown(reason)}" for reason in report.degraded]
    return "\n\n".join([f"{counts}; {trouble}; {work}; {meaning}.", *said, _first_of(len(report.changes))]).strip()


def _first_of(count: int) -> str:
    return f"The first {_ROWS_SHOWN} of {count}." if count > _ROWS_SHOWN else ""


def as_markdown(text: str) -> str:
    """`text` as a code span, in which nothing is markup.

    Prefect's UI renders descriptions and every string in a table as Markdown with its HTML, and paths and reasons come
    from files that anyone may have written. One line, since a blank line would end the span; the fence is longer than
    any run of backticks inside; bytes of a file name that are no text are shown as escapes.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    if len(text) > _LONGEST_TEXT:
        text = text[: _LONGEST_TEXT - 1] + "…"
    if not text:
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{space}{text}{space}{fence}"
