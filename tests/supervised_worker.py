"""A supervisor over two toys for a test to kill: `python supervised_worker.py FOLDER`. It makes FOLDER/all."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from nescord.supervise import Child, Service, Supervisor


def main(folder: Path) -> None:
    async def work() -> int:
        (folder / "all").touch()
        await asyncio.sleep(600)
        return 0

    ways = {"good": [], "bad": ["stubborn", "child"]}
    services = [Service(name, _prepare(folder, name, given), 60, 10) for name, given in ways.items()]
    asyncio.run(Supervisor(services, folder / "logs", print).run(work))


def _prepare(folder: Path, name: str, ways: list[str]) -> Callable[[], Child]:
    async def is_ready() -> bool:
        return (folder / f"{name}.ready").exists()

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-m", "nescord.parent", "0.5", "toy_service", name, str(folder), *ways]
    return lambda: Child(command, environment, is_ready=is_ready)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
