"""What a maintenance has done: one step after the other, each with before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Step:
    """A step: how much there was before and after, in `unit`; `remark` says what is to be known, `error` what failed.

    In a dry run `after` is what would be left, None where only doing it tells. `before` is None where it failed.
    """

    name: str
    unit: str
    before: int | None
    after: int | None
    remark: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class MaintainReport:
    """All steps. True when none failed. `full_in_months`: when the disk is full if all grows as before (None: never, or
    not known)."""

    steps: tuple[Step, ...]
    full_in_months: float | None
    seconds: float
    dry_run: bool

    @property
    def ok(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.error)

    def __bool__(self) -> bool:
        return self.ok

    def document(self) -> dict[str, object]:
        """`{ok, dry_run, full_in_months, seconds, steps: [{name, unit, before, after, remark, error}]}`."""
        return {"ok": self.ok, **asdict(self)}


class Outcome(NamedTuple):
    """What one step has done."""

    before: int | None
    after: int | None
    remark: str = ""


class Steps:
    """Steps as they are made. Whatever one of them meets cannot keep the others from being made."""

    def __init__(self) -> None:
        self.made: list[Step] = []

    def make(self, name: str, unit: str, step: Callable[[], Outcome]) -> None:
        """Make a step; an exception is its failure, which the report tells."""
        try:
            outcome = step()
        except Exception as error:  # a disk, SQLite or Chroma may raise anything, and the next step is another matter
            self.made.append(Step(name, unit, None, None, error=f"{type(error).__name__}: {error}"))
        else:
            self.made.append(Step(name, unit, *outcome))
