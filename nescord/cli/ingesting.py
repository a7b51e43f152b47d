"""`nescord ingest`: a vault is taken in, watched, and may be interrupted without losing what was stored."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from nescord.cli.call import Call, DataDir, Json, ask
from nescord.cli.output import Part, Screen, emit, fail, say
from nescord.errors import NescordError, UsageError, VaultError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from nescord.costs import Cost, EmbeddingCost
    from nescord.embed import EmbedProgress
    from nescord.ingest import Progress
    from nescord.notes import IngestReport

_LISTED = 20
_COUNTS = ("added", "changed", "renamed", "deleted", "revived", "unchanged", "failed", "warned", "withheld")
_MEANING = ("embedded", "refused", "pending", "indexed")
_SIGNS = {"added": "+", "changed": "~", "renamed": ">", "deleted": "-", "revived": "^"}
_STYLES = {"added": "green", "changed": "yellow", "renamed": "cyan", "deleted": "red", "revived": "green"}


def ingest(
    context: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="The vault (unset: that of the settings).")
    ] = None,
    name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Keep a new vault under this name.")] = None,
    moved: Annotated[
        bool, typer.Option("--same", help="It is the known vault of that name, in another folder now.")
    ] = False,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", help="Trash the notes even when a whole folder or vault vanished.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; change no note.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="After a restore: show what all vaults would change, then go on.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --resume: do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Take in what is new, changed, renamed or gone in a vault. The vault itself is only read.

    Ctrl-C stores what is under way and stops; the next ingest goes on from there.
    """
    from nescord.ingest import IngestOptions

    call = Call.of(context, data_dir, as_json)
    if resume:
        _resume(call, yes)
        return
    stop = Stop()
    with ExitStack() as stack:
        stack.enter_context(stop)
        try:
            knowledge = stack.enter_context(call.open_or_begin(warn=True))
            watch = stack.enter_context(Watch(with_bar=sys.stderr.isatty() and not call.as_json))
            if path is None and knowledge.is_vault_remote and sys.stderr.isatty():
                say("fetching what is new in the vault's git repository")
            options = IngestOptions(
                allow_mass_delete=allow_mass_delete,
                dry_run=dry_run,
                stop=stop.is_asked,
                progress=watch.tell,
                embed_progress=watch.tell_embedding,
            )
            report = knowledge.ingest(path, name=name, moved=moved, options=options)
        except KeyboardInterrupt:
            stack.close()
            message = "interrupted before the first note; the next ingest begins again"
            raise typer.Exit(fail(message, stop.exit_code, call.as_json)) from None
    # The report itself says so of the notes only.
    waits = not report.interrupted and stop.was_asked and report.pending > 0
    if call.as_json:
        emit(asdict(report) | {"interrupted": report.interrupted or waits})
    else:
        _show(report)
    say_what_is_wrong(report)
    if waits:
        say(
            f"interrupted: {report.pending:,} chunks wait to be embedded; all notes are stored and found by their "
            "words, and the next ingest goes on from there"
        )
        raise typer.Exit(stop.exit_code)
    if report.interrupted:
        say(f"interrupted: {stop.looked:,} of {watch.total:,} files looked into; the next ingest goes on from there")
        raise typer.Exit(stop.exit_code)


def _resume(call: Call, yes: bool) -> None:
    """Show what each vault would change since a restore; with a yes, take in vaults again from now on."""
    from nescord.ingest import IngestOptions

    with call.open() as knowledge:
        snapshot = knowledge.paused()
        if not snapshot:
            raise UsageError("nothing is paused: nescord ingest takes in vaults as ever")
        would = []
        try:
            knowledge.sync_source()
        except NescordError as error:  # then it is shown as last fetched
            say(f"note: {error}")
        for source in knowledge.sources():
            if not source.root.startswith("/"):  # what was captured or imported has no folder
                continue
            try:
                would.append(knowledge.ingest(source.root, options=IngestOptions(dry_run=True)))
            except VaultError as error:  # such as on another machine: of a vault that is not there nothing changes
                say(f"note: {error}")
        if not call.as_json:
            for report in would:
                _show(report)
        if not yes:
            ask(f"Vaults wait since the restore of {snapshot}. Take them in again from now on?", call)
        knowledge.resume()
    if call.as_json:
        emit({"resumed": snapshot, "would": [asdict(report) for report in would]})
    else:
        Screen().line("vaults are taken in again: the next nescord ingest does it")


class Stop:
    """SIGINT and SIGTERM during an ingest: the first lets the batch at hand be stored, the second ends at once.

    Before the first file is looked into there is nothing to store, and the first one ends at once, too (an ingest may
    be waiting for another one).
    """

    def __init__(self) -> None:
        self.looked = 0
        self._number = 0
        self._is_at_work = False
        self._before: dict[int, object] = {}

    @property
    def exit_code(self) -> int:
        return 128 + (self._number or signal.SIGINT)

    @property
    def was_asked(self) -> bool:
        """Whether a signal came."""
        return bool(self._number)

    def is_asked(self) -> bool:
        """`IngestOptions.stop`: asked before each file, and before each batch that is embedded."""
        self._is_at_work = True
        self.looked += not self._number
        return bool(self._number)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:  # in the background of a script Ctrl-C is not meant for us
                self._before[number] = before
                signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what getsignal gave

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        if not self._is_at_work:
            raise KeyboardInterrupt
        # The system itself acts on the second one: no code of ours can be late for it.
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        # Not through sys.stderr, which may be in the middle of a line. The bar has hidden the cursor, and after a
        # second signal nothing would show it again.
        show_cursor = "\r\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""
        os.write(2, f"{show_cursor}stopping after the batch at hand (once more: at once)\n".encode())


class Watch:
    """Shows how far an ingest is: a bar in a terminal, else a line every two seconds."""

    def __init__(self, *, with_bar: bool) -> None:
        self.total = 0
        self._bar = _bar() if with_bar else None
        self._task: TaskID | None = None
        self._is_embedding = False
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar:
            self._task = self._bar.add_task("", total=None, rate="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def tell(self, progress: Progress) -> None:
        """`IngestOptions.progress`: called after each batch of notes."""
        self.total = progress.total
        self._show(progress, "files", "notes/s")

    def tell_embedding(self, progress: EmbedProgress) -> None:
        """`IngestOptions.embed_progress`: called after each batch that got its vectors, when all notes are stored."""
        if self._bar and self._task is not None and not self._is_embedding:
            self._bar.remove_task(self._task)  # its pace would count for the time left
            self._task = self._bar.add_task("", total=progress.total, rate="")
        self._is_embedding = True
        self._show(progress, "chunks embedded", "chunks/s")

    def _show(self, progress: Progress | EmbedProgress, what: str, unit: str) -> None:
        rate = progress.done / max(progress.seconds, 0.001)
        if self._bar and self._task is not None:
            total = progress.total or None
            self._bar.update(self._task, completed=progress.done, total=total, rate=f"{rate:,.0f} {unit}")
        elif time.monotonic() - self._said >= 2:
            self._said = time.monotonic()
            if not progress.total:  # an import does not know it
                say(f"{progress.done:,} {what}, {rate:,.0f} {unit}")
                return
            left = (progress.total - progress.done) / max(rate, 0.001)
            say(f"{progress.done:,} of {progress.total:,} {what}, {rate:,.0f} {unit}, {left:,.0f} s left")


def _bar() -> Bar:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    return Progress(*columns, console=Screen(sys.stderr).console(), transient=True)


def _show(report: IngestReport) -> None:
    """The changes, then the counts."""
    screen = Screen()
    show_changes(screen, report)
    counts = [(name, getattr(report, name)) for name in (*_COUNTS, *_MEANING)]
    title = f"{report.source}: would be" if report.dry_run else f"{report.source}, {report.seconds:.1f} s"
    if screen.is_terminal:
        screen.table((title, ""), [(name, f"{count:,}") for name, count in counts if count or name == "unchanged"])
    else:
        said = ", ".join(f"{name} {count}" for name, count in counts if count or name == "unchanged")
        screen.line(f"{title}: {said}")
    if report.cost:
        _show_cost(screen, report.cost)


def show_changes(screen: Screen, report: IngestReport) -> None:
    """One line for each change, yet no more than fit on a screen."""
    changes = [change for change in report.changes if change.what in _SIGNS]
    shown = changes if report.dry_run else changes[:_LISTED]
    for change in shown:
        sign = Part(_SIGNS[change.what], _STYLES[change.what])
        screen.line(sign, " ", change.path, *((Part(f"  (was {change.was})", "dim"),) if change.was else ()))
    if len(changes) > len(shown):
        screen.line(Part(f"and {len(changes) - len(shown):,} more", "dim"))


def _show_cost(screen: Screen, cost: EmbeddingCost) -> None:
    """What a model elsewhere will be paid for this."""
    model = cost.model_key.split("|")[1]
    screen.line(f"to embed with {model}: {_priced(cost.warm)}; all notes, from nothing: {_priced(cost.cold)}")
    if cost.warm.tokens > cost.left:
        left = f"the month's budget has {cost.left:,} tokens left"
        screen.line(Part(f"{left}: what does not fit waits, and is found by its words (nescord budget)", "yellow"))


def _priced(cost: Cost) -> str:
    return f"{cost.texts:,} texts, about {cost.tokens:,} tokens, ${cost.usd:,.4f}"


def say_what_is_wrong(report: IngestReport) -> None:
    """On stderr, also with --json: what a person has to know or to mend."""
    screen = Screen(sys.stderr)
    failed = [change for change in report.changes if change.what == "failed"]
    for change in failed[:_LISTED]:
        screen.line(Part("failed: ", "red"), f"{change.path}: {change.reason}")
    if len(failed) > _LISTED or report.failed > len(failed) or report.warned:
        screen.line("every file with something to mend: nescord failures")
    for reason in report.degraded:
        screen.line(Part("note: ", "yellow"), reason)
    for message in report.messages:
        screen.line(Part(f"WARNING: {message}", "bold red"))
