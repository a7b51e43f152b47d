"""The parent's end of a process that is made to be killed (`benchmarks.crash_worker`)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

HANGS = 120.0
"""Seconds after which something that does not end is said to hang."""
_REPOSITORY = Path(__file__).parents[1]


class Victim:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, data: Path, vault: Path, errors: Path) -> Victim:
        ours = ("NESCORD_", "CHROMADB_", "PKM_", "GEMINI_", "RAILWAY_", "DATABASE_URL", "CHROMA_URL")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        paths = (str(_REPOSITORY), os.environ.get("PYTHONPATH", ""))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        command = (sys.executable, "-m", "benchmarks.crash_worker", str(data), str(vault))
        pipe = asyncio.subprocess.PIPE
        with errors.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, stderr=file, cwd=data.parent, env=environment
            )
        victim = cls(process)
        await victim.heard()
        return victim

    def tell(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def heard(self) -> dict[str, Any] | None:
        """The next line that it says, None when it is dead. A half line is none."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    def kill(self) -> None:
        """Kill it. What it has said until now can still be heard."""
        if self._process.returncode is None:
            self._process.kill()

    async def gone(self) -> None:
        """Wait until it is dead."""
        await self._process.wait()

    async def leave(self) -> int:
        """Let it end by itself; its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return await asyncio.wait_for(self._process.wait(), HANGS)
