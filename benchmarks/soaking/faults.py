"""The faults of a soak: which there are, in which order they come, and the proof that each of them really happened.

The order comes from the seed alone: every kind is in a deck as often as it weighs, and the deck is shuffled anew when
it is used up. A fault that lasts has a thread of its own, so that another one may hit meanwhile; two that use the same
thing wait for each other. What could not happen (no flow was running) counts as missed, never as done.
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.soaking.world import World

AT_ONCE = 3
"""So many faults last at the same time, at most."""
_PAUSE = 0.05


class MissedError(Exception):
    """The fault could not happen now; says why."""


class Kind(ABC):
    """One kind of fault.

    `weight` is how often it is in a deck; `uses` what it takes for itself while it lasts; a `fatal` one may cut off
    calls that are under way, or keep their results from being stored.
    """

    name: str
    weight: int = 2
    uses: frozenset[str] = frozenset()
    is_fatal = False

    def left_out(self, world: World) -> str:
        """Why it cannot be done on this machine; "" where it can."""
        return ""

    @abstractmethod
    def do(self, world: World, rng: random.Random) -> str:
        """Let it happen, for as long as it lasts, and say what shows that it did.

        Raises:
            MissedError: it could not happen.
        """

    def heal(self, world: World) -> None:  # noqa: B027 - most are over when `do` is
        """As if it had never been; called after `do`, however that ended, and once more at the end of everything."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What the seed says: which fault, so many seconds after the one before it, and what it decides by."""

    number: int
    after: float
    kind: Kind
    seed: str

    def __str__(self) -> str:
        return f"#{self.number} {self.kind.name}"


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault that really did, by the monotonic clock."""

    kind: str
    began: float
    ended: float
    proof: str
    is_fatal: bool


def plan(kinds: Sequence[Kind], seed: str, every: float) -> Iterator[Planned]:
    """Without end; the same for the same seed, whatever can be done here."""
    rng = random.Random(f"faults {seed}")
    deck: list[Kind] = []
    for number in range(1, 1 << 31):
        if not deck:
            deck = [kind for kind in kinds for _ in range(kind.weight)]
            rng.shuffle(deck)
        yield Planned(number, rng.uniform(0.4, 1.6) * every, deck.pop(), f"fault {seed} {number}")


@dataclass
class Troubles:
    """Lets the faults of a plan happen to a world, one after the other, until the world stops."""

    world: World
    seed: str
    every: float
    kinds: Sequence[Kind] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    proofs: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    happened: list[Happened] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kinds = self.kinds or all_kinds()
        for kind in self.kinds:
            if why := kind.left_out(self.world):
                self.left_out[kind.name] = why
        self._changed = threading.Condition()
        self._taken: set[str] = set()
        self._under_way = 0

    def run(self) -> None:
        """Go on until the world stops; then wait for what still lasts."""
        threads = []
        for planned in plan(self.kinds, self.seed, self.every):
            if planned.kind.name in self.left_out:
                continue
            if self.world.stop.wait(planned.after) or not self._take(planned.kind):
                break
            thread = threading.Thread(target=self.one, args=(planned,), name=str(planned))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def heal_all(self) -> None:
        """Nothing is broken any more."""
        for kind in self.kinds:
            kind.heal(self.world)
        missed = ", ".join(f"{name} {count}" for name, count in self.missed.most_common())
        self.world.facts.append(f"faults that could not happen when they were due: {missed or 'none'}")

    def _take(self, kind: Kind) -> bool:
        """Wait until nobody else uses what it uses; false when the world stopped before."""
        with self._changed:
            while self._under_way >= AT_ONCE or self._taken & kind.uses:
                self._changed.wait(1)
                if self.world.stop.is_set():
                    return False
            self._taken |= kind.uses
            self._under_way += 1
        return True

    def one(self, planned: Planned) -> None:
        """Let one fault happen, heal it, and write down what became of it."""
        kind, began = planned.kind, time.monotonic()
        try:
            proof = kind.do(self.world, random.Random(planned.seed))
        except MissedError as error:
            self.missed[kind.name] += 1
            self.world.say(f"{planned}: missed: {error}")
        except Exception as error:  # the outermost loop: a bug in one fault must be seen, and not end the others
            problem = f"the fault {planned} broke: {type(error).__name__}: {error}"
            self.world.ledger.violation(problem)
            self.world.say(problem)
        else:
            self.proofs[kind.name] += 1
            self.happened.append(Happened(kind.name, began, time.monotonic(), proof, kind.is_fatal))
            self.world.ledger.fault(kind.name, proof)
            self.world.say(f"{planned}: {proof}")
        finally:
            try:
                kind.heal(self.world)
            finally:
                with self._changed:
                    self._taken -= kind.uses
                    self._under_way -= 1
                    self._changed.notify_all()


def all_kinds() -> list[Kind]:
    """Every kind that there is, always in the same order."""
    from benchmarks.soaking import kinds_disk, kinds_history, kinds_network, kinds_process

    return [*kinds_process.kinds(), *kinds_disk.kinds(), *kinds_network.kinds(), *kinds_history.kinds()]


def until(look: Callable[[], object], seconds: float) -> bool:
    """Whether `look` came true within that time."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def is_alive(pid: int, since: str = "") -> bool:
    """Whether a process runs; with `since` only if it is the one that began then (`began`). The dead that nobody has
    reaped yet do not."""
    found = _stat(pid)
    return found is not None and found[0] not in "ZX" and (not since or found[1] == since)


def began(pid: int) -> str:
    """What tells a process from a later one of the same number; "" when it is gone."""
    found = _stat(pid)
    return found[1] if found else ""


def state_of(pid: int) -> str:
    """R, S, D, T (stopped), Z …; "" when it is gone."""
    found = _stat(pid)
    return found[0] if found else ""


def _stat(pid: int) -> tuple[str, str] | None:
    """The state and the time of birth."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], fields[19]
