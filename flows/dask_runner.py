"""Prefect's runner for a Dask cluster, for flows that are loaded from their files.

With each task Prefect sends the flow that it belongs to, and a deployment loads that from `flows/NAME.py` as a module
of a name that no worker can import. So another flow goes in its place: all that is asked of it there is its runner.
"""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.context import FlowRunContext
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture


def _nothing() -> None:
    """What the flow that is sent would do."""


_SENT = Flow(_nothing, name="elsewhere")


class WorkersRunner(DaskTaskRunner):
    """A DaskTaskRunner whose tasks need nothing of the file that their flow is in."""

    def submit(self, *arguments: Any, **more: Any) -> PrefectDaskFuture[Any]:  # type: ignore[override]  # its own, passed on
        """Hand a task to the cluster."""
        context = FlowRunContext.get()
        if context is None:
            return super().submit(*arguments, **more)
        with context.model_copy(update={"flow": _SENT}):
            return super().submit(*arguments, **more)
