"""`/review`: what a day, week or month was about, or one note after the other before it is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import discord
from discord import app_commands

from bot.desk import Desk
from bot.everywhere import everywhere, options
from bot.hits import note_buttons
from bot.registry import handles
from bot.render import Button, Field, Reply, Style, escape
from bot.texts import named
from bot.visit import Refused, Visit
from nescord.errors import NotFoundError
from nescord.knowing import NoteRef
from nescord.knowing.review import Review
from nescord.spaced import ReviewCard

# Of an embed's 6,000 characters in all.
_ROOM, _CARD = 1000, 3500
_TITLE, _LINE = 80, 160
_MOST = 10


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Register `/review`."""

    @tree.command(name=named("cmd.review.name"), description=named("cmd.review.description"))
    @everywhere
    @options("review", "period")
    @app_commands.choices(
        period=[
            app_commands.Choice(name=named("cmd.review.period.daily"), value="daily"),
            app_commands.Choice(name=named("cmd.review.period.weekly"), value="weekly"),
            app_commands.Choice(name=named("cmd.review.period.monthly"), value="monthly"),
            app_commands.Choice(name=named("cmd.review.period.spaced"), value="spaced"),
        ]
    )
    async def review(interaction: discord.Interaction, period: str = "spaced") -> None:
        kind = "review.card" if period == "spaced" else "review.period"
        await desk.accept(interaction, kind, {"period": period})


@handles("review.period")
async def period(visit: Visit) -> Reply:
    """What was written and changed, and what is still to do."""
    wanted = visit.request.string("period")
    zone = await visit.call(visit.base.preferences.zone, visit.who)
    name = {"weekly": "week", "monthly": "month"}.get(wanted) or datetime.now(zone).date().isoformat()
    found = await visit.call(visit.view.review, name, timezone=zone)
    titles = {"weekly": "review.week", "monthly": "review.month"}
    if not (found.written or found.changed or found.tasks or found.questions):
        raise Refused("review.nothing")
    return _about(visit, visit.text(titles.get(wanted, "review.day")), found)


@handles("review.card")
async def card(visit: Visit) -> Reply:
    """The next note that is due, or a new one."""
    return await _next(visit)


@handles("button.grade", updates=True)
async def grade(visit: Visit) -> Reply:
    """Note how it went, and show the next one in its place. The stamp of the card makes a second click do nothing."""
    rating, _, stamp = visit.request.string("more").partition("-")
    if rating not in ("1", "2", "3", "4"):
        raise Refused("frame.unknown")
    spaced = await visit.call(visit.view.spaced, visit.who)
    now = datetime.now(UTC)
    try:
        due = await visit.call(spaced.grade, visit.request.string("id"), int(rating), stamp, now)
    except NotFoundError:
        return await _next(visit, visit.text("review.gone"))
    return await _next(visit, visit.text("review.again_at", when=f"<t:{int(due.timestamp())}:R>"))


async def _next(visit: Visit, before: str = "") -> Reply:
    spaced = await visit.call(visit.view.spaced, visit.who)
    found = await visit.call(spaced.next, datetime.now(UTC))
    # No notice: those are of what is wrong.
    above = f"-# {before}\n\n" if before else ""
    if found is None:
        return Reply(title=visit.text("review.done_title"), body=above + visit.text("review.done"))
    return Reply(
        title=escape(found.note.title, _TITLE),
        body=above + escape(found.note.body, _CARD),
        footer=visit.text("review.new") if found.is_new else visit.text("review.left", left=found.due_left),
        buttons=_ratings(visit, found),
    )


def _ratings(visit: Visit, found: ReviewCard) -> list[Button]:
    ratings: Sequence[tuple[int, str, Style]] = (
        (1, "review.again", "danger"),
        (2, "review.hard", "secondary"),
        (3, "review.good", "primary"),
        (4, "review.easy", "success"),
    )
    return [
        Button(visit.text(key), "grade", found.note.id, style=style, more=f"{rating}-{found.stamp}")
        for rating, key, style in ratings
    ]


def _about(visit: Visit, title: str, found: Review) -> Reply:
    # As many as there are buttons for.
    written = found.written[: _MOST // 2 if found.changed else _MOST]
    changed = found.changed[: _MOST - len(written)]
    fields = [
        _notes(visit.text("review.written", count=len(found.written)), written, 1),
        _notes(visit.text("review.changed", count=len(found.changed)), changed, 1 + len(written)),
        _lines(
            visit.text("review.tags"), [" ".join(f"#{escape(tag, 40)} ({count})" for tag, count in found.tags[:12])]
        ),
        _lines(
            visit.text("review.tasks", count=len(found.tasks)),
            [f"☐ {escape(task.text, _LINE)} — {escape(task.note.title, 40)}" for task in found.tasks],
        ),
        _lines(visit.text("review.questions"), [f"- {escape(question, _LINE)}" for question in found.questions]),
    ]
    passages = "\n".join(f"- {escape(passage.text, 2 * _LINE)}" for passage in found.passages)
    return Reply(
        title=title,
        body=passages,
        fields=[field for field in fields if field is not None],
        buttons=note_buttons([note.note_id for note in (*written, *changed)]),
        notices=[visit.text("review.degraded")] if found.degraded else [],
    )


def _notes(name: str, notes: Sequence[NoteRef], first: int) -> Field | None:
    """Numbered as the buttons are."""
    return _lines(name, [f"**{number}.** {escape(note.title, _TITLE)}" for number, note in enumerate(notes, first)])


def _lines(name: str, lines: Sequence[str]) -> Field | None:
    """As many whole lines as there is room for."""
    shown: list[str] = []
    for line in lines[:_MOST]:
        if line and sum(map(len, shown)) + len(shown) + len(line) <= _ROOM:
            shown.append(line)
    if not shown:
        return None
    return Field(name, "\n".join(shown))
