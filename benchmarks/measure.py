"""Measuring in CPU seconds: machines are shared and noisy, so figures are ratios of one run."""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """CPU and wall seconds of a block, of this process with all its threads."""

    cpu: float = 0.0
    wall: float = 0.0


@contextmanager
def clock() -> Iterator[Clock]:
    """Time a block."""
    gc.collect()
    measured = Clock()
    cpu, wall = time.process_time(), time.perf_counter()
    yield measured
    measured.cpu, measured.wall = time.process_time() - cpu, time.perf_counter() - wall


def best_of(repeats: int, action: Callable[[], object]) -> Clock:
    """The run of the least CPU time: noise only ever adds."""
    runs = []
    for _ in range(repeats):
        with clock() as measured:
            action()
        runs.append(measured)
    return min(runs, key=lambda run: run.cpu)


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def peak_rss_mb() -> int:
    """The most memory this process has had resident, in MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
