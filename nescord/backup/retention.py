"""Which snapshots stay: restic's rules, as a pure function of what is known about them.

The rules are OR-ed: a snapshot stays if one of them keeps it. `daily`, `weekly`, `monthly` and `yearly` are about
calendar periods in a time zone (weeks are ISO weeks, from Monday), count only periods that have a snapshot, and keep
the newest one of each. `within_days` counts back from the newest snapshot and not from now, so that nothing goes
while no new ones come. Unlike newer versions of restic, a rule with counts left does not keep the oldest one, too.

Newest means highest number, never latest time: a clock may go back or run ahead, the numbers only go up. Where ages
matter, a snapshot is taken to be at least as late as every one before it, so that a clock that goes back a year does
not make the newest backup a year old; and a date that is still to come says nothing about the ones after it.

The rules see good snapshots only: a damaged one never takes the place of a good one. What is not good:

- not checked yet (its check was cut short, or is still going on): stays until it is known to be good or damaged;
- damaged: goes once a newer good one exists, until then it may be the best there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from nescord.errors import UsageError

PRE_RESTORE = "pre-restore"
"""The trigger of a snapshot that a restore takes of what it is about to replace."""

PRE_RESTORE_DAYS = 7

_CENTURY = 36_525.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How many to keep of each kind; 0 is no such rule. UsageError without any rule, and for a negative one."""

    keep_last: int = 0
    within_days: float = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("keep_last", "daily", "weekly", "monthly", "yearly")}
        for name, count in counts.items():
            if count < 0:
                raise UsageError(f"retention: {name} is {count}: give 1 or more, or leave it out")
        if not (math.isfinite(self.within_days) and 0 <= self.within_days <= _CENTURY):
            raise UsageError(f"retention: within_days is {self.within_days:g}: give days from 0 to {_CENTURY:g}")
        if not any(counts.values()) and not self.within_days:
            raise UsageError("retention: no rule was given, which would keep nothing: name at least one")

    @classmethod
    def last(cls, keep_count: int) -> Policy:
        """Keep the newest `keep_count`; UsageError if that is less than 1."""
        if keep_count < 1:
            raise UsageError(f"keep_count is {keep_count}: at least 1 backup must stay")
        return cls(keep_last=keep_count)


NIGHTLY = Policy(within_days=2, daily=7, weekly=5, monthly=12)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the rules need to know of one snapshot."""

    id: str
    seq: int
    created_at: datetime
    """Aware, in any time zone."""

    is_good: bool | None
    """None: not checked yet."""

    is_drilled: bool
    """Whether its last drill gave the right answers."""

    is_pinned: bool
    trigger: str


@dataclass(frozen=True, slots=True)
class Decision:
    id: str
    keep: bool
    reasons: tuple[str, ...]
    """Each rule that keeps it, or the one reason why it goes: fit for a person's eyes."""


def plan(candidates: Iterable[Candidate], policy: Policy, timezone: ZoneInfo, now: datetime) -> list[Decision]:
    """What happens to each snapshot, newest first. `now` is aware.

    Whatever the policy: the newest good one, the newest good one that was drilled, those that are pinned, and
    those taken before a restore stay, the latter for 7 days.
    """
    newest_first = sorted(candidates, key=lambda candidate: (candidate.seq, candidate.id), reverse=True)
    good = [candidate for candidate in newest_first if candidate.is_good]
    taken = _taken(newest_first, now)
    reasons: dict[str, list[str]] = {candidate.id: [] for candidate in newest_first}
    for candidate, reason in (*_always(newest_first, good, taken, now), *_by_rule(good, policy, timezone, taken, now)):
        reasons[candidate.id].append(reason)
    return [_decision(candidate, reasons[candidate.id], good) for candidate in newest_first]


def _taken(newest_first: Sequence[Candidate], now: datetime) -> dict[str, datetime]:
    """When each was taken at the earliest, in UTC; of one whose date is still to come, that date."""
    taken: dict[str, datetime] = {}
    latest: datetime | None = None
    for candidate in reversed(newest_first):
        # In UTC: two moments of one time zone are subtracted by their wall clocks, which a summer time puts off.
        created = candidate.created_at.astimezone(UTC)
        if created <= now:
            latest = max(latest or created, created)
        taken[candidate.id] = created if created > now or latest is None else latest
    return taken


def _always(
    newest_first: Sequence[Candidate], good: Sequence[Candidate], taken: dict[str, datetime], now: datetime
) -> list[tuple[Candidate, str]]:
    kept = [(candidate, "newest good") for candidate in good[:1]]
    kept += [(candidate, "newest drilled") for candidate in good if candidate.is_drilled][:1]
    kept += [(candidate, "pinned") for candidate in newest_first if candidate.is_pinned]
    young = now.astimezone(UTC) - timedelta(days=PRE_RESTORE_DAYS)
    kept += [
        (candidate, f"before a restore, under {PRE_RESTORE_DAYS} days")
        for candidate in newest_first
        if candidate.trigger == PRE_RESTORE and taken[candidate.id] > young
    ]
    return kept


def _by_rule(
    good: Sequence[Candidate], policy: Policy, timezone: ZoneInfo, taken: dict[str, datetime], now: datetime
) -> list[tuple[Candidate, str]]:
    kept = [(candidate, f"last {policy.keep_last}") for candidate in good[: policy.keep_last]]
    if good and policy.within_days:
        newest = min(taken[good[0].id], now.astimezone(UTC))
        since = newest - timedelta(days=policy.within_days)
        kept += [(each, f"within {policy.within_days:g} days") for each in good if taken[each.id] > since]
    for count, period in (
        (policy.daily, "daily %Y-%m-%d"),
        (policy.weekly, "weekly %G-W%V"),
        (policy.monthly, "monthly %Y-%m"),
        (policy.yearly, "yearly %Y"),
    ):
        newest_of: dict[str, Candidate] = {}
        for candidate in good:
            newest_of.setdefault(candidate.created_at.astimezone(timezone).strftime(period), candidate)
        kept += [(candidate, name) for name, candidate in list(newest_of.items())[:count]]
    return kept


def _decision(candidate: Candidate, reasons: Sequence[str], good: Sequence[Candidate]) -> Decision:
    if candidate.is_good is None:
        return Decision(candidate.id, True, (*reasons, "not checked yet"))
    has_newer_good = bool(good) and good[0].seq > candidate.seq
    if not candidate.is_good and not has_newer_good:
        return Decision(candidate.id, True, (*reasons, "damaged, but no newer one is good"))
    if reasons:
        return Decision(candidate.id, True, tuple(reasons))
    return Decision(candidate.id, False, ("no rule keeps it" if candidate.is_good else "damaged, a newer one is good",))
