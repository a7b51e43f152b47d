"""`nescord budget`: what models elsewhere have cost this month, what is switched off, and what is allowed beyond."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nescord.cli.call import Call, DataDir, Json
from nescord.cli.output import Part, Screen, emit

if TYPE_CHECKING:
    from nescord.budget import BudgetState, BudgetUse
    from nescord.catalog.ledger import Use

_THIS_MONTH = ("this month", "今月")
_LISTED = 20
_MOMENT = "%Y-%m-%d %H:%M %Z"


def budget(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show what models elsewhere have cost this month, for what and whom, and what is switched off."""
    if context.invoked_subcommand is not None:
        return
    call = Call.of(context, data_dir, as_json)
    with call.open() as knowledge:
        use = knowledge.budget.use()
    if call.as_json:
        emit(_document(use))
    else:
        _show(use)


def budget_allow(
    context: typer.Context,
    tokens: Annotated[
        int, typer.Argument(metavar="TOKENS", min=0, help="How many more a month; 0 takes back what was allowed.")
    ],
    until: Annotated[
        str, typer.Option(metavar="DATE", help='The last day that it holds: a date, a month or "this month".')
    ] = "this month",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Allow more tokens than GEMINI_MONTHLY_LIMIT for a while. Who did it, and when, is recorded."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from nescord.query import moment_after

    call = Call.of(context, data_dir, as_json)
    settings = call.settings()
    with call.open() as knowledge:
        if until.strip().lower() in _THIS_MONTH:
            end = knowledge.budget.state().returns_at
        else:
            end = datetime.fromisoformat(moment_after(until, "until", ZoneInfo(settings.timezone)))
        override = knowledge.budget.allow(tokens, end, _user())
        state = knowledge.budget.state()
    if call.as_json:
        emit(asdict(override) | {"limit": state.limit})
        return
    screen = Screen()
    if tokens:
        screen.line(
            f"{tokens:,} more tokens a month are allowed by {override.who} until {_local(override.until, state)}"
        )
    else:
        screen.line(f"what was allowed beyond the limit is taken back by {override.who}")
    _show_state(screen, state)


def _user() -> str:
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container often has no name for it
        return f"uid {uid}"


def _document(use: BudgetUse) -> dict[str, object]:
    state = use.state
    return {
        "month": state.month,
        "limit": state.limit,
        "extra": state.extra,
        "used": state.used,
        "reserved": state.reserved,
        "share": round(state.share, 6),
        "level": str(state.level),
        "off": sorted(state.off),
        "returns_at": state.returns_at.isoformat(),
        "forecast": use.forecast,
        **{name: [asdict(each) for each in rows] for name, rows in _tables(use)},
        "unsettled": [asdict(each) for each in use.unsettled],
        "overrides": [asdict(each) for each in use.overrides],
    }


def _tables(use: BudgetUse) -> list[tuple[str, Sequence[Use]]]:
    return [("days", use.days), ("purposes", use.purposes), ("models", use.models), ("people", use.people)]


def _show(use: BudgetUse) -> None:
    screen = Screen()
    _show_state(screen, use.state)
    screen.line(f"if it goes on like this, {use.forecast:,} tokens by the end of the month")
    for name, rows in _tables(use):
        if rows:
            cells = [(each.name or "-", f"{each.tokens:,}", f"{each.calls:,}") for each in rows]
            screen.table((name, "tokens", "calls"), cells)
    for each in use.unsettled[:_LISTED]:
        call = f"{each.purpose} by {each.model}" + (f" for {each.who}" if each.who else "")
        counts = f"{call} at {_local(each.at, use.state)} counts with its estimate, {each.tokens:,} tokens"
        screen.line(Part("no known end: ", "yellow"), counts)
    if len(use.unsettled) > _LISTED:
        screen.line(Part(f"and {len(use.unsettled) - _LISTED:,} more without a known end", "dim"))
    for override in use.overrides:
        at, until = (_local(moment, use.state) for moment in (override.at, override.until))
        screen.line(f"allowed by {override.who} at {at}: {override.tokens:,} more tokens a month until {until}")


def _show_state(screen: Screen, state: BudgetState) -> None:
    reserved = f", {state.reserved:,} of them by calls without a known end" if state.reserved else ""
    screen.line(f"{state.month}: {state.total:,} of {state.limit:,} tokens ({state.share:.1%}){reserved}")
    if not state.off:
        screen.line("nothing is switched off")
        return
    until = f"until {state.returns_at:{_MOMENT}}" if state.limit else "GEMINI_MONTHLY_LIMIT is 0"
    screen.line(Part("switched off: ", "yellow"), f"{', '.join(sorted(state.off))} ({until})")


def _local(moment: str, state: BudgetState) -> str:
    from datetime import datetime

    return datetime.fromisoformat(moment).astimezone(state.returns_at.tzinfo).strftime(_MOMENT)
