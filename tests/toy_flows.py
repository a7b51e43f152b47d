"""Flows for the tests of serving: they say that they run by a file, and last until told otherwise.

Copied beside a small prefect.yaml; nothing of nescord is imported, so that a run starts as fast as Prefect allows.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from prefect import flow


@flow(persist_result=False)
def quick(marks: str) -> None:
    """Leave a mark and be done.

    Args:
        marks: The folder for the marks.
    """
    (Path(marks) / f"quick-{os.getpid()}").touch()


@flow(persist_result=False)
def slow(marks: str, seconds: float = 600) -> None:
    """Leave a mark with the number of the process, then wait.

    Args:
        marks: The folder for the marks.
        seconds: How long.
    """
    _wait("slow", marks, seconds)


@flow(persist_result=False)
def outer(marks: str, seconds: float = 600) -> None:
    """A run with a sub-flow in it.

    Args:
        marks: The folder for the marks.
        seconds: How long the inner one lasts.
    """
    inner(marks, seconds)


@flow(persist_result=False)
def inner(marks: str, seconds: float) -> None:
    """The sub-flow."""
    _wait("inner", marks, seconds)


def _wait(name: str, marks: str, seconds: float) -> None:
    (Path(marks) / f"{name}-{os.getpid()}").touch()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not (Path(marks) / "enough").exists():
        time.sleep(0.1)
