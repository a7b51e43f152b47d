"""Serve toy flows for the tests of `nescord flows`: one that takes its time, and one with a paused schedule."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Literal

from prefect import flow, get_run_logger, serve
from prefect.schedules import Interval


@flow
def slow(
    seconds: float,
    mode: Literal["count", "fail"] = "count",
    loudly: bool = False,
    times: int = 1,
    word: str | None = None,
) -> None:
    """Count the seconds."""
    get_run_logger().info("given %r %r %r %r", mode, loudly, times, word)
    for second in range(int(seconds)):
        get_run_logger().info("second %s", second)
        time.sleep(1)
    if mode == "fail":
        raise ValueError("the toy is broken")


@flow
def parent() -> None:
    """Begin another flow."""
    slow(1, word="below")


@flow
def paused() -> None:
    """Never runs by itself."""


# Each run is a spawned process, which imports this module again.
if __name__ == "__main__":
    serve(
        slow.to_deployment("nescord", schedule=Interval(timedelta(days=1), parameters={"seconds": 0.0})),
        parent.to_deployment("nescord"),
        paused.to_deployment("nescord", interval=timedelta(days=1), paused=True),
        paused.to_deployment("other"),
        pause_on_shutdown=False,
    )
