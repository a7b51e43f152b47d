"""Starts the processes of tests/keeping_worker.py so that all of them act at the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(_HERE.parent), os.environ.get("PYTHONPATH", "")))}


def at_once(data: Path, *calls: Sequence[str]) -> list[Any]:
    """What each of these calls (role, arguments …) has said; None where it was killed."""
    script = str(_HERE / "keeping_worker.py")
    workers = [
        subprocess.Popen(
            [sys.executable, script, role, str(data), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_ENVIRONMENT,
        )
        for role, *arguments in calls
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    said = [worker.communicate(timeout=60)[0] for worker in workers]
    return [json.loads(line) if line else None for line in said]
