"""What the tests of the supervisor share: services that are toys, and a supervisor that is listened to."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from nescord.logs import Redact, Sink
from nescord.service_state import ServiceState
from nescord.supervise import Child, Policy, Service, Supervisor

TOY = Path(__file__).with_name("toy_service.py")
QUICK = Policy(
    first_pause=0.05, longest_pause=0.2, deaths=5, within=60, rest=30, well_after=60, probe_pause=0.02,
    watch_pause=0.05, hangs_after=0.3, queue=20,
)  # fmt: skip


def toy(folder: Path, name: str, *ways: str, needs: str = "", grace: float = 10, required: bool = False) -> Service:
    """A service whose process is tests/toy_service.py."""

    def prepare() -> Child:
        ready = folder / f"{name}.ready"
        ready.unlink(missing_ok=True)

        async def is_ready() -> bool:
            return ready.exists()

        return Child([sys.executable, str(TOY), name, str(folder), *ways], dict(os.environ), is_ready=is_ready)

    return Service(name, prepare, ready_within=60, grace=grace, needs=needs, required=required)


def program(name: str, code: str, *arguments: str, required: bool = False, grace: float = 10) -> Service:
    """A service that is ready as soon as it runs, and runs that code of Python."""

    async def is_ready() -> bool:
        return True

    def prepare() -> Child:
        return Child([sys.executable, "-uc", code, *arguments], dict(os.environ), is_ready=is_ready)

    return Service(name, prepare, ready_within=60, grace=grace, required=required)


class Watched:
    """A supervisor over toys, and everything that it said."""

    def __init__(
        self, folder: Path, *services: Service, policy: Policy = QUICK, sink: Sink | None = None, redact: Redact = str
    ) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.told: list[list[ServiceState]] = []
        self.phases: list[str] = []
        self.lines: list[tuple[str, str]] = []
        self.supervisor = Supervisor(
            services, folder / "logs", self.said.append, policy,
            sink=sink or (lambda name, line: self.lines.append((name, line))),
            redact=redact, tell=self._hear,
        )  # fmt: skip

    def run(self, work: Callable[[], Awaitable[int]] | None = None) -> int | None:
        """Run it; the test ends, failed, when that takes too long."""
        return asyncio.run(asyncio.wait_for(self.supervisor.run(work), 60))  # type: ignore[arg-type]

    def events(self, what: str = "") -> list[tuple[str, str, int]]:
        """What happened to the toys: what, to whom, and its pid."""
        file = self.folder / "events"
        lines = file.read_text().splitlines() if file.exists() else []
        rows = [line.split() for line in lines]
        return [(row[0], row[1], int(row[2])) for row in rows if what in ("", row[0])]

    def pid(self, name: str) -> int:
        """Of the latest life."""
        return [pid for _, whose, pid in self.events("start") if whose == name][-1]

    async def until(self, look: Callable[[], object]) -> None:
        """Wait for it while the services go on."""
        while not look():
            await asyncio.sleep(0.02)

    def heard(self, text: str) -> list[str]:
        return [line for line in self.said if text in line]

    def told_of(self, name: str) -> list[ServiceState]:
        """What was told of one service, each state once."""
        states = [state for states in self.told for state in states if state.name == name]
        return [state for place, state in enumerate(states) if not place or state != states[place - 1]]

    def _hear(self, states: Sequence[ServiceState]) -> None:
        self.told.append(list(states))
        self.phases.append(self.supervisor.phase)
