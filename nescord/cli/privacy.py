"""`nescord privacy …`: what is kept of a person who uses the bot, for the owner who is asked about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json, ask
from nescord.cli.output import Part, Screen, emit, say

if TYPE_CHECKING:
    from datetime import datetime

    from nescord.privacy import ErasureReport, PrivacySummary

UserId = Annotated[str, typer.Argument(metavar="USER_ID", help="The person's number in Discord.")]
_UNFINISHED = 1


def show(context: typer.Context, user_id: UserId, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show how much is kept of a person, by kind, and when the backups forget it."""
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        summary = knowledge.privacy(_person(user_id)).summary()
    if call.as_json:
        emit(
            {
                "who": _person(user_id),
                "counts": summary.counts,
                "merged": summary.merged,
                "backups": summary.backups,
                "pinned": summary.pinned,
                "off_site": summary.off_site,
                "backups_forget_at": _text(summary.backups_forget_at),
            }
        )
        return
    screen = Screen()
    screen.table(("", ""), [(kind.replace("_", " "), f"{count:,}") for kind, count in summary.counts.items()])
    _tell(screen, summary)


def export(
    context: typer.Context,
    user_id: UserId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The zip file to write; it must not exist.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write all that is kept of a person into a zip file: notes as Markdown, their files, the rest as JSON."""
    from nescord import durable
    from nescord.errors import UsageError

    call = Call.of(context, data_dir, as_json)
    if file.exists() or not file.absolute().parent.is_dir():
        raise UsageError(f"{file} cannot be written: name a file that does not exist, in a folder that does")
    with call.open() as knowledge:
        content = knowledge.privacy(_person(user_id)).export()
    durable.write_file(file.absolute(), content)
    if call.as_json:
        emit({"who": _person(user_id), "file": str(file), "bytes": len(content)})
    else:
        Screen().line(f"{file}: {len(content) / 1e6:,.1f} MB")


def erase(
    context: typer.Context,
    user_id: UserId,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Erase all that is kept of a person for good: no restore brings it back. Backups hold it until they are pruned."""
    call = Call.of(context, data_dir, as_json)
    who = _person(user_id)
    if not yes:
        ask(f"Erase all that is kept of {who} for good?", call)
    with call.open() as knowledge:
        report = knowledge.privacy(who).erase()
        remark = knowledge.remark_on_erased()
    if remark:
        say(f"note: {remark}")
    if call.as_json:
        emit(
            {
                "who": who,
                "complete": report.is_complete,
                "counts": report.counts,
                "merged": report.merged,
                "pinned": report.pinned,
                "off_site": report.off_site,
                "backups_forget_at": _text(report.backups_forget_at),
                "remarks": list(report.remarks),
            }
        )
    else:
        screen = Screen()
        erased = [(kind.replace("_", " "), f"{count:,}") for kind, count in report.counts.items() if count]
        screen.table(("", ""), erased)
        _tell(screen, report)
        for remark in report.remarks:
            screen.line(Part(f"left to do: {remark}", "bold red"))
    if not report.is_complete:
        say("what is left is done by the flow digest, by nescord maintain, or when this is said again")
        raise typer.Exit(_UNFINISHED)


def _person(user_id: str) -> str:
    return f"user:{user_id.removeprefix('user:')}"


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _tell(screen: Screen, known: PrivacySummary | ErasureReport) -> None:
    """Where else it is."""
    if known.merged:
        screen.line(f"notes of others that hold text of theirs, for it was merged into them: {known.merged}")
    screen.line(_of_backups(known.backups_forget_at, known.pinned, off_site=known.off_site))


def _of_backups(forget_at: datetime | None, pinned: int, *, off_site: bool) -> str:
    said = []
    if forget_at is not None:
        said.append(f"backups hold it until {forget_at.astimezone():%Y-%m-%d}, when one is made each night")
    if pinned:
        said.append(f"pinned backups hold it until they are unpinned (nescord backup unpin): {pinned}")
    if off_site:
        said.append("copies elsewhere may hold it until you delete them there; a restore of one erases it again")
    return "; ".join(said) or "no backup holds any of it"
