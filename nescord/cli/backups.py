"""`nescord backup …`: make, list, check, drill, restore and prune snapshots."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json, ask
from nescord.cli.output import Part, Screen, emit, say

if TYPE_CHECKING:
    from nescord.backup.check import Checked, Progress
    from nescord.backup.fetch import OffSiteChecked
    from nescord.backup.manager import BackupManager
    from nescord.backup.store import Snapshot

Id = Annotated[str, typer.Argument(metavar="ID", help="The id of the snapshot in nescord backup list.")]
OptionalId = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="The id of the snapshot (default: the newest good one).")
]
_FAILED = 1


def create(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Back up the database, then read the backup back. Others go on reading and writing meanwhile."""
    call = Call.of(context, data_dir, as_json)
    with progress(call) as tell:
        made = _manager(call).create(progress=tell)
    if call.as_json:
        emit(asdict(made))
        return
    if made.remark:
        say(f"note: {made.remark}")
    added, total = (f"{size / 1e6:,.1f} MB" for size in (made.bytes_added, made.bytes_total))
    Screen().line(
        "backed up and read back: ", Part(made.id, "bold"), f"  {made.notes:,} notes, {added} added, {total} in all"
    )


def list_(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the snapshots, the newest last: age, sizes, notes, whether good, drilled and off-site."""
    from nescord.backup.store import BackupStore

    call = Call.of(context, data_dir, as_json)
    snapshots = BackupStore(_manager(call).path).snapshots()
    if call.as_json:
        emit([_document(each) for each in snapshots])
        return
    headers = ("id", "age", "added", "restored", "notes", "state", "drilled", "off-site", "")
    Screen().table(headers, [_row(each) for each in snapshots])
    for each in snapshots:
        if problem := each.problem or each.status.reason:
            say(f"{each.id}: {problem}")


def check(
    context: typer.Context,
    backup_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The snapshot (default: all).")] = None,
    off_site: Annotated[
        bool, typer.Option("--off-site", help="Read the copies at NESCORD_OFF_SITE instead; needs no key.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Read every byte of a snapshot, or of all, and hold it against its hashes. Exit code 1 if one is bad."""
    call = Call.of(context, data_dir, as_json)
    manager = _manager(call)
    found: Sequence[Checked | OffSiteChecked]
    with progress(call) as tell:
        if off_site:
            found = manager.checked_off_site(backup_id, progress=tell)
        else:
            found = manager.checked(None if backup_id is None else [backup_id], progress=tell)
    documents = [asdict(each) | {"ok": each.ok} for each in found]
    if call.as_json:
        emit(documents if backup_id is None else documents[0])
    else:
        for each in found:
            word = Part("good", "green") if each.ok else Part("BAD", "bold red")
            Screen().line(
                word, f"  {each.id}", *(f"  {line}" for line in (*each.problems, *getattr(each, "mended", ())))
            )
    if not all(each.ok for each in found):
        raise typer.Exit(_FAILED)


def drill(
    context: typer.Context, backup_id: OptionalId = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Restore a snapshot to a scratch place and ask it its questions again. Exit code 1 if it fails."""
    from nescord.backup.drill import drill as run

    call = Call.of(context, data_dir, as_json)
    with progress(call) as tell, _manager(call).opened() as base:
        done = run(base, backup_id, progress=tell)
    if call.as_json:
        emit(asdict(done) | {"ok": done.ok})
    else:
        word = Part("passed", "green") if done.ok else Part("FAILED", "bold red")
        Screen().line(word, f"  {done.id}  {done.probes} questions, {done.chunks:,} chunks, {done.seconds:.1f} s")
        for problem in done.problems:
            Screen().line("  ", problem)
    if not done.ok:
        raise typer.Exit(_FAILED)


def restore(
    context: typer.Context,
    backup_id: OptionalId = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="DATE", help="The newest one from then or before: 2026-11-24.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Into this empty folder, to look into it.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="Fetch it first: s3://bucket/prefix or a folder.")
    ] = None,
    identity: Annotated[
        Path | None, typer.Option("--identity", metavar="FILE", help="The key file, where the copy is encrypted.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Put a snapshot in the place of the database. What is there now is backed up first.

    Vaults are not ingested afterwards until nescord ingest --resume has shown what that would change.
    """
    call = Call.of(context, data_dir, as_json)
    manager = _manager(call)
    with progress(call) as tell:
        if source is not None:
            backup_id, at = manager.fetched(source, backup_id, at=at, identity=identity, progress=tell), None
            say(f"fetched {backup_id}")
        if to is not None:
            copied = manager.restored_copy(to, backup_id, at=at, progress=tell)
    if to is not None:
        _say_copied(call, copied, to)
        return
    chosen = manager.chosen(backup_id, at)
    if not yes:
        ask(f"Put the knowledge base at {manager.path.parent} back to {chosen}?", call)
    with progress(call) as tell:
        done = manager.restored(chosen, progress=tell)
    if call.as_json:
        emit(asdict(done))
    else:
        screen = Screen()
        screen.line("restored ", Part(done.restored, "bold"), f": {done.notes:,} notes, {done.seconds:.1f} s")
        if done.before:
            screen.line(f"what was there before: nescord backup restore {done.before}")
        if done.carried:
            screen.line(f"{done.carried:,} vectors that were made since then are kept")
        if done.paused:
            screen.line("vaults wait: nescord ingest --resume shows what they would change")
    for remark in done.remarks:
        say(f"note: {remark}")


def prune(
    context: typer.Context,
    keep_last: Annotated[int | None, typer.Option(help="Keep the newest N.")] = None,
    keep_within: Annotated[float | None, typer.Option(help="Keep those of N days before the newest.")] = None,
    keep_daily: Annotated[int | None, typer.Option(help="Keep one of each of N days.")] = None,
    keep_weekly: Annotated[int | None, typer.Option(help="Keep one of each of N weeks.")] = None,
    keep_monthly: Annotated[int | None, typer.Option(help="Keep one of each of N months.")] = None,
    keep_yearly: Annotated[int | None, typer.Option(help="Keep one of each of N years.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go and why; drop nothing.")] = False,
    off_site: Annotated[
        bool, typer.Option("--off-site", help="Delete the copies at NESCORD_OFF_SITE of what goes, too.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Drop old snapshots. Without a rule: 2 days whole, then 7 daily, 5 weekly and 12 monthly.

    The newest good one, the newest that was drilled, what is pinned and what a restore has saved always stay.
    """
    from nescord.backup.prune import prune as run
    from nescord.backup.retention import NIGHTLY, Policy

    call = Call.of(context, data_dir, as_json)
    rules = (keep_last, keep_within, keep_daily, keep_weekly, keep_monthly, keep_yearly)
    if keep_last is not None and keep_last < 1:
        Policy.last(keep_last)  # says what is wrong with it
    policy = NIGHTLY if all(rule is None for rule in rules) else Policy(*(rule or 0 for rule in rules))  # type: ignore[arg-type]
    done = run(call.settings(), policy, dry_run=dry_run, off_site=off_site)
    if call.as_json:
        document = {"kept": done.kept, "dropped": done.dropped, "bytes_freed": done.bytes_freed}
        emit(document | {"dry_run": dry_run, "off_site": done.off_site})
        return
    screen = Screen()
    words = ("keep", "would drop" if dry_run else "dropped")
    rows = [(words[not each.keep], each.id, ", ".join(each.reasons)) for each in done.decisions]
    screen.table(("", "id", "because"), rows)
    if not dry_run and done.dropped:
        screen.line(f"{done.bytes_freed / 1e6:,.1f} MB are free again")
    if done.off_site:
        screen.line(f"off-site: {done.off_site}")


def pin(context: typer.Context, backup_id: Id, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Keep a snapshot, whatever prune's rules say."""
    _pinned(Call.of(context, data_dir, as_json), backup_id, pinned=True)


def unpin(context: typer.Context, backup_id: Id, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Let prune's rules count for a snapshot again."""
    _pinned(Call.of(context, data_dir, as_json), backup_id, pinned=False)


@contextmanager
def progress(call: Call) -> Iterator[Progress]:
    """Shows how far long work is: a bar in a terminal, else a line every two seconds."""
    if sys.stderr is not None and sys.stderr.isatty() and not call.as_json:
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Bar(*columns, TimeRemainingColumn(), console=Screen(sys.stderr).console(), transient=True) as bar:
            tasks: dict[str, object] = {}

            def show(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bar.add_task(stage)
                bar.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]  # a TaskID

            yield show
        return
    said = [time.monotonic(), time.monotonic()]
    stages = [""]

    def tell(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != stages[0]:
            stages[0], said[1] = stage, now
        if now - said[0] >= 2:
            said[0] = now
            rate = done / max(now - said[1], 0.001)
            left = (total - done) / max(rate, 1)
            say(f"{stage}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {rate / 1e6:,.0f} MB/s, {left:,.0f} s left")

    yield tell


def _manager(call: Call) -> BackupManager:
    from nescord.backup.manager import BackupManager

    return BackupManager(call.settings())


def _pinned(call: Call, backup_id: str, *, pinned: bool) -> None:
    _manager(call).pin(backup_id, pinned=pinned)
    if call.as_json:
        emit({"id": backup_id, "pinned": pinned})
    else:
        Screen().line(f"{backup_id} {'stays until it is unpinned' if pinned else 'goes when the rules say so'}")


def _say_copied(call: Call, backup_id: str, to: Path) -> None:
    if call.as_json:
        emit({"restored": backup_id, "to": str(to)})
    else:
        Screen().line(f"{backup_id} is at {to}: look into it with nescord --data-dir {to} …")


def _document(each: Snapshot) -> dict[str, object]:
    from nescord.backup.manifest import parse_id
    from nescord.times import utc_text

    manifest, status = each.manifest, each.status
    created_at = manifest.created_at if manifest else utc_text(parse_id(each.id)[1])
    document: dict[str, object] = {
        "id": each.id,
        "created_at": created_at,
        "status": status.state if manifest else "bad",
    }
    if manifest is not None:
        document |= {"trigger": manifest.trigger, "counts": dict(manifest.counts)}
        document |= {"bytes_added": manifest.bytes_added, "bytes_restored": manifest.size}
    document |= {"problem": each.problem or status.reason, "pinned": status.pinned, "checked_at": status.checked_at}
    return document | {"drilled_at": status.drilled_at, "drill_ok": status.drill_ok, "off_site": dict(status.off_site)}


def _row(each: Snapshot) -> Sequence[str]:
    from nescord.backup.manifest import parse_id

    manifest, status = each.manifest, each.status
    age = _age(parse_id(each.id)[1])
    drilled = {None: "", True: "yes", False: "FAILED"}[status.drill_ok]
    off_site = "yes" if status.off_site else ""
    remarks = ", ".join(filter(None, ("pinned" if status.pinned else "", manifest.trigger if manifest else "")))
    if manifest is None:
        return (each.id, age, "", "", "", "unreadable", drilled, off_site, remarks)
    sizes = (f"{manifest.bytes_added / 1e6:,.1f} MB", f"{manifest.size / 1e6:,.1f} MB")
    return (each.id, age, *sizes, f"{manifest.counts['notes']:,}", status.state, drilled, off_site, remarks)


def _age(when: datetime) -> str:
    minutes = int((datetime.now(UTC) - when).total_seconds() // 60)
    if minutes < 120:
        return f"{max(minutes, 0)} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"
