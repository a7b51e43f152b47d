"""What a verification says: one check per promise, each with what was measured and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, looked into: `value` is what was found, `mend` what to do about it ("" when it passed)."""

    name: str
    status: Status
    value: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class PersistenceReport:
    """Every check of one verification, in the order they were made. True when none failed."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.status != "fail" for check in self.checks)

    def __bool__(self) -> bool:
        return self.ok

    def document(self) -> dict[str, object]:
        """`{ok, checks: [{name, status, value, mend}]}`."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}


class Outcome(NamedTuple):
    """What one look found."""

    status: Status
    value: str
    mend: str = ""


def passed(value: str) -> Outcome:
    return Outcome("pass", value)


def warned(value: str, mend: str) -> Outcome:
    return Outcome("warn", value, mend)


def failed(value: str, mend: str) -> Outcome:
    return Outcome("fail", value, mend)


class Checklist:
    """Checks as they are made. Nothing that one of them meets can keep the others from being made."""

    def __init__(self) -> None:
        self._checks: list[Check] = []

    def look(self, name: str, look: Callable[[], Outcome]) -> None:
        """Make a check; an exception that it did not expect is its failure."""
        try:
            outcome = look()
        except Exception as error:  # whatever it is, it is what verification was called for
            outcome = failed(f"{type(error).__name__}: {error}", "see the other checks; nescord doctor says more")
        self.add(name, outcome)

    def add(self, name: str, outcome: Outcome) -> None:
        self._checks.append(Check(name, *outcome))

    def extend(self, report: PersistenceReport) -> None:
        self._checks.extend(report.checks)

    def report(self) -> PersistenceReport:
        return PersistenceReport(tuple(self._checks))
