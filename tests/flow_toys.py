"""Small flows out of the pieces of flows/common.py, to see how each of them shows at a real server."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.common import emit, opened, progress_shown, retried
from flows.nightly import parts_of
from nescord import Settings
from nescord.errors import DiskError, EmbeddingUnavailableError, UsageError
from nescord.home import DataFolder

ERRORS = {kind.__name__: kind for kind in (DiskError, EmbeddingUnavailableError, UsageError, ZeroDivisionError)}
_calls: list[str] = []


@retried
def fails(kind: str, times: int) -> None:
    """Fail so many times with an error of that kind, then succeed."""
    _calls.append(kind)
    if _calls.count(kind) <= times:
        raise ERRORS[kind]("on purpose")


@flow
def trying(kind: str, times: int, data_dir: str) -> None:
    fails(kind, times)


@flow
def progressing(data_dir: str) -> None:
    with progress_shown("toy-progress", every=0) as tell:
        for done in range(3):
            tell("counting", done, 2)
    with progress_shown("toy-short") as tell:
        tell("too short to show", 1, 1)


@flow
def emitting(data_dir: str) -> None:
    with opened(data_dir) as knowledge:
        emit("nescord.toy", knowledge.folder, {"whose": "known"})
    Path(data_dir, "identity.json").write_text("{", encoding="utf-8")
    emit("nescord.toy", DataFolder.at(Settings(data_dir=Path(data_dir))), {"whose": "unknown"})


@flow
def planning(data_dir: str) -> None:
    """What `nightly` would do on each day of a week that begins on a Monday."""
    week = [",".join(parts_of(datetime(2026, 11, day), data_dir)) for day in range(23, 30)]
    create_markdown_artifact(";".join(week), key="toy-week")
