"""Take a vault in: the flow around the verbs `sync_source`, `plan`, `commit`, `pending_work` and `drain`.

Why: so that a vault is followed by a schedule, and each run leaves a record of what changed and what needs a person.
When: on a schedule or by trigger; a vault without changes costs one directory walk, and one question to its host if it
is in git. Needs: a vault that this machine can read or fetch; without an embedding model the notes are stored all the
same, and the run says what is missing. A killed, cancelled or timed-out run keeps every batch it has committed, and the
next one does the rest: there is nothing to clean up but the open database and workers, which the `with` blocks close
under any exception (a cancellation arrives as Prefect's TerminationSignal). While vaults are paused after a restore it
does nothing and says so. Of runs of one vault at once, one looks again for all others, which end at once.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import TypeVar, cast

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.utilities.annotations import quote

from flows.common import (
    CHANGED,
    INGEST_LIMIT,
    ROWS_SHOWN,
    Row,
    as_markdown,
    emit,
    first_of,
    opened,
    progress_shown,
    retried,
    settings_of,
)
from flows.notify import on_completion, on_crashed, on_failure
from flows.runners import by_setting, embed, in_turn, is_in_this_process
from nescord import KnowledgeManager
from nescord.embed import PendingWork
from nescord.embedding.pieces import Answer
from nescord.errors import EmbeddingError, LockTimeoutError, NescordError, ServiceUnavailableError
from nescord.ingest import IngestOptions, IngestPlan
from nescord.meaning import MeaningReport
from nescord.notes import Failure, IngestReport, WritebackReport
from nescord.writeback_verbs import exchange

CHANGES_KEY = "ingest-changes"
FAILURES_KEY = "ingest-failures"
PROGRESS_KEY = "ingest-progress"

# A service whose notes are all captured runs this every hour, too, and nothing is wrong with that.
_NO_VAULT = (
    "No vault is named (NESCORD_VAULT, NESCORD_VAULT_GIT_URL): what was captured was embedded, nothing else to do."
)
_CHANGES = ("added", "changed", "renamed", "deleted", "revived", "unchanged")
_COUNTS = (*_CHANGES, "withheld", "failed", "warned", "embedded", "refused", "pending", "indexed")
# The words of `nescord ingest --json`, and how many files were opened.
_SUMMARY = ("source", *_COUNTS, "files_read", "seconds", "degraded")
_ADDED_UP = ("added", "changed", "renamed", "deleted", "revived", "embedded", "indexed", "files_read", "seconds")
Summary = dict[str, str | int | float | list[str]]
T = TypeVar("T")


@retried
def sync(knowledge: KnowledgeManager) -> bool:
    """Fetch what is new in the git repository that holds the vault."""
    return knowledge.sync_source()


@retried
def scan(knowledge: KnowledgeManager, vault: str | None) -> IngestPlan:
    """Walk the vault and compare it with what is stored."""
    return knowledge.plan(vault)


@retried
def commit(knowledge: KnowledgeManager, found: IngestPlan, options: IngestOptions) -> IngestReport:
    """Store what the scan found, batch by batch. After a retry what was committed before counts as unchanged."""
    return knowledge.commit(found, options)


@retried
def write_back(knowledge: KnowledgeManager) -> WritebackReport:
    """Push to the vault's git repository what was captured, changed or deleted here."""
    return knowledge.write_back()


@retried
def drain(knowledge: KnowledgeManager) -> MeaningReport:
    """Tell Chroma what changed, and compare it with the database."""
    return knowledge.drain()


# With threads:1 one batch at a time, since each is shared among worker processes already; a cancelled run waits for no
# more than one.
@flow(
    name="ingest",
    timeout_seconds=INGEST_LIMIT.total_seconds(),
    persist_result=False,
    task_runner=by_setting(),
    on_failure=[on_failure],
    on_crashed=[on_crashed],
    on_completion=[on_completion],
)
def ingest(vault: str | None = None, allow_mass_delete: bool = False, data_dir: str | None = None) -> Summary:
    """Take in what is new, changed, renamed or gone in a vault of notes.

    Args:
        vault: The folder of notes, as the machine that runs this sees it. Empty: that of the settings.
        allow_mass_delete: Delete also when so many notes vanished at once that a missing mount is the likelier reason.
        data_dir: The data folder of the knowledge base. Empty: the setting NESCORD_DATA_DIR and its defaults.
    """
    settings = settings_of(data_dir)
    has_vault = bool(vault or settings.vault or settings.vault_git_url)
    with opened(data_dir) as knowledge:
        if snapshot := knowledge.paused():
            # An hourly run that failed until somebody looks would say no more than this.
            return _nothing_done("paused", f"paused since the restore of {snapshot}: nescord ingest --resume")
        with knowledge.ingest_turns(vault or None, allow_mass_delete=allow_mass_delete) as turns:
            reports = [_ingest(knowledge, vault or None, allow_mass_delete, has_vault=has_vault) for _ in turns]
    if not reports:
        return _nothing_done("handed over", "a run of the same vault is under way, and will look again when it is done")
    return _in_all(reports)


def _ingest(
    knowledge: KnowledgeManager, vault: str | None, allow_mass_delete: bool, *, has_vault: bool
) -> IngestReport:
    if not has_vault:
        return _caught_up(knowledge, IngestReport(messages=[_NO_VAULT]))
    try:
        report = _taken_in(knowledge, vault, allow_mass_delete)
    except NescordError:
        # A vault that is away must not keep what was captured from its vectors.
        with suppress(NescordError):
            _embed_pending(knowledge, IngestReport())
            drain(knowledge)
        raise
    return _caught_up(knowledge, report)


def _taken_in(knowledge: KnowledgeManager, vault: str | None, allow_mass_delete: bool) -> IngestReport:
    if vault is not None or not knowledge.is_written_back:
        return _stored(knowledge, vault, allow_mass_delete)
    report, written = exchange(lambda: _stored(knowledge, None, allow_mass_delete), lambda: write_back(knowledge))
    if written.commits:
        done = f"{written.written} written, {written.removed} removed, commits: {written.commits}"
        report.messages.append(f"Written back to the vault in git: {done}.")
    return report


def _stored(knowledge: KnowledgeManager, vault: str | None, allow_mass_delete: bool) -> IngestReport:
    if vault is None and knowledge.is_vault_remote:
        sync(knowledge)
    found = scan(knowledge, vault)
    return commit(knowledge, _unsearched(found), IngestOptions(allow_mass_delete=allow_mass_delete))


def _caught_up(knowledge: KnowledgeManager, report: IngestReport) -> IngestReport:
    """Vectors and index follow, also those of what was captured; and it is told."""
    _embed_pending(knowledge, report)
    drained = drain(knowledge)
    report.pending, report.indexed = drained.pending, drained.indexed
    before = report.embedded
    _embed_pending(knowledge, report, second=True)
    if report.embedded > before:  # what Chroma follows has grown by it
        drained = drain(knowledge)
    report.degraded = list(dict.fromkeys([*report.degraded, *drained.degraded]))
    failures = knowledge.failures()
    begun = f"new knowledge base at {knowledge.folder.path}" if knowledge.is_new else ""
    create_table_artifact(key=CHANGES_KEY, table=_changes(report), description=_description(report, begun))
    if failures:
        create_table_artifact(key=FAILURES_KEY, table=_failures(failures), description=first_of(failures))
    if report.changes or report.embedded:
        emit(CHANGED, knowledge.folder, {name: getattr(report, name) for name in _COUNTS})
    return report


def _in_all(reports: Sequence[IngestReport]) -> Summary:
    """What all turns of a run have done, and how the last one left it."""
    summary: Summary = {name: getattr(reports[-1], name) for name in _SUMMARY}
    return summary | {name: sum(getattr(report, name) for report in reports) for name in _ADDED_UP}


def _nothing_done(what: str, remark: str) -> Summary:
    row = {"what": what, "path": "", "detail": as_markdown(remark)}
    create_table_artifact(key=CHANGES_KEY, table=[row], description=as_markdown(remark))
    return {name: getattr(IngestReport(degraded=[remark]), name) for name in _SUMMARY}


def _embed_pending(knowledge: KnowledgeManager, report: IngestReport, *, second: bool = False) -> None:
    """Embed batch by batch and store each as soon as it is there. Notes are kept and found by words without it."""
    try:
        with (
            knowledge.pending_work(second=second) as work,
            progress_shown(PROGRESS_KEY) as tell,
            closing(_embedded(work)) as answers,
        ):
            for number, (batch, answer) in enumerate(zip(work.batches, answers, strict=True)):
                tell("embedding", number, len(work.batches))
                embedded, refused = work.store_batch(batch, answer)
                report.embedded += embedded
                report.refused += refused
    except (EmbeddingError, ServiceUnavailableError, LockTimeoutError) as error:
        report.degraded.append(f"vector: {error}")


def _embedded(work: PendingWork) -> Generator[list[Answer]]:
    """The answers to the batches, in their order. A model elsewhere is asked from here alone: each batch is stored
    before the next is paid for, and only this process keeps its budget and its pace."""
    if work.is_remote:
        return (work.embed_batch(batch) for batch in work.batches)
    embed_batch = work.embed_batch if is_in_this_process() else work.embed_elsewhere
    return in_turn(lambda batch: embed.submit(partial(embed_batch, batch)), work.batches)


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
        for change in report.changes[:ROWS_SHOWN]
    ]


def _failures(failures: Sequence[Failure]) -> list[Row]:
    return [
        {
            "path": as_markdown(failure.path),
            "source": as_markdown(failure.source),
            "searchable": "yes" if failure.stored else "no",
            "reason": as_markdown(failure.reason),
            "since": failure.first_seen,
        }
        for failure in failures[:ROWS_SHOWN]
    ]


def _description(report: IngestReport, begun: str) -> str:
    counts = ", ".join(f"{getattr(report, name)} {name}" for name in _CHANGES)
    trouble = f"{report.failed} failed, {report.warned} stored with a warning, {report.withheld} deletions withheld"
    work = f"{report.files_read} files opened, {report.seconds:g} s"
    meaning = f"{report.embedded} texts embedded, {report.refused} refused, {report.pending} chunks pending"
    meaning += f", {report.indexed} indexed"
    said = [as_markdown(message) for message in [*report.messages, begun] if message]
    said += [f"Degraded: {as_markdown(reason)}" for reason in report.degraded]
    return "\n\n".join([f"{counts}; {trouble}; {work}; {meaning}.", *said, first_of(report.changes)]).strip()
