"""What the flows share: tasks that are tried again, the settings of a run, its events, its progress, and safe text.

Flows hold orchestration only, so everything here is about Prefect; what is done is a verb of `nescord`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar, cast
from uuid import UUID

import httpx
from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.events import emit_event
from prefect.tasks import Task, exponential_backoff
from pydantic import Field

from nescord import KnowledgeManager, Settings
from nescord.errors import NescordError, is_transient
from nescord.home import DataFolder, drop_privileges, locate, read_identity

# How long a run of each flow may take before it counts as hanging. Each is many times what a large base needs.
INGEST_LIMIT = timedelta(hours=6)
VERIFY_LIMIT = timedelta(hours=2)
BACKUP_LIMIT = timedelta(hours=4)
DRILL_LIMIT = timedelta(hours=4)
MAINTAIN_LIMIT = timedelta(hours=2)
RESTORE_LIMIT = timedelta(hours=4)
NIGHTLY_LIMIT = timedelta(hours=14)
REPORT_LIMIT = timedelta(hours=2)
DIGEST_LIMIT = timedelta(minutes=50)

CHANGED = "nescord.ingest.changed"
BACKED_UP = "nescord.backup.created"
FAILED = "nescord.persistence.failed"

# The artifacts are rows in the server's database, for people to read: the first ones tell what is going on.
ROWS_SHOWN = 100
_LONGEST_TEXT = 500
_RETRIES = 3
_FIRST_DELAY_SECONDS = 2
_JITTER = 0.5
# Work that takes no longer is not worth an artifact, and a request to the server costs some milliseconds.
_PROGRESS_EVERY = 3.0

Row = dict[str, str]
SnapshotId = Annotated[str, Field(pattern=r"^[0-9]{6}-[0-9]{8}T[0-9]{6}Z$")]
Tell = Callable[[str, int, int], None]
P = ParamSpec("P")
T = TypeVar("T")


class PartsFailedError(NescordError):
    """Sub-flows failed, each with a state, a message and a hook of its own."""


def can_pass(task: Task[..., object], task_run: TaskRun, state: State[object]) -> bool:
    """Whether trying again may help. The parameters are those of a `retry_condition_fn`."""
    return is_transient(state.data)


def retried(function: Callable[P, T]) -> Task[P, T]:
    """A task of that name that is tried again where that may help."""
    make: Callable[[Callable[P, T]], Task[P, T]] = task(
        name=function.__name__,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=_RETRIES,
        retry_delay_seconds=exponential_backoff(_FIRST_DELAY_SECONDS),
        retry_jitter_factor=_JITTER,
        retry_condition_fn=can_pass,
    )
    return make(function)


def settings_of(data_dir: str | None) -> Settings:
    """The settings of a run; from here on it is the user whom the data folder belongs to."""
    settings = Settings(data_dir=Path(data_dir) if data_dir else None)
    drop_privileges(locate(settings))
    return settings


@contextmanager
def opened(data_dir: str | None) -> Iterator[KnowledgeManager]:
    """The knowledge base of a run, begun if there is none yet, for the length of the block."""
    with KnowledgeManager.open(settings_of(data_dir)) as knowledge:
        yield knowledge


def emit(name: str, folder: DataFolder, payload: dict[str, object]) -> None:
    """Tell Prefect what happened to the knowledge base in `folder`, for automations to act on."""
    try:
        uuid = read_identity(folder).uuid
    except NescordError:  # what is reported may be just that
        uuid = "unknown"
    resource = {"prefect.resource.id": f"nescord.knowledge-base.{uuid}", "prefect.resource.name": str(folder.path)}
    emit_event(event=name, resource=resource, payload=payload)


@contextmanager
def progress_shown(key: str, *, every: float = _PROGRESS_EVERY) -> Iterator[Tell]:
    """Who tells it the stage and how much of how much is done is shown as a progress artifact; short work shows none.

    A server that does not answer is no reason to stop the work.
    """
    artifact: UUID | None = None
    last = time.monotonic()

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal artifact, last
        if time.monotonic() - last < every:
            return
        percent = min(100.0, 100.0 * done / max(total, 1))
        with suppress(httpx.HTTPError):
            if artifact is None:
                artifact = cast(UUID, create_progress_artifact(percent, key=key, description=stage))
            else:
                update_progress_artifact(artifact, percent, description=stage)
        last = time.monotonic()

    yield tell
    if artifact is not None:
        with suppress(httpx.HTTPError):
            update_progress_artifact(artifact, 100.0, description="done")


def first_of(rows: Sequence[object]) -> str:
    """A remark below a table that shows only the first of so many rows."""
    return f"The first {ROWS_SHOWN} of {len(rows)}." if len(rows) > ROWS_SHOWN else ""


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def as_markdown(text: str) -> str:
    """`text` as a code span, in which nothing is markup.

    Prefect's UI renders descriptions and every string in a table as Markdown with its HTML, and paths and reasons come
    from files that anyone may have written. One line, since a blank line would end the span; the fence is longer than
    any run of backticks inside; bytes of a file name that are no text are shown as escapes.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    if len(text) > _LONGEST_TEXT:
        text = text[: _LONGEST_TEXT - 1] + "…"
    if not text:
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{space}{text}{space}{fence}"
