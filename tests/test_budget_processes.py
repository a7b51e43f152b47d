"""Ten processes that call at once, and some that are killed in the middle of a call: the ledger stays right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apsw
import pytest

from nescord import KnowledgeManager
from tests.survival import DATABASE, SOAK, new_rng
from tests.vaults import open_base

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE.parent), os.environ.get("PYTHONPATH", "")))}
PROCESSES = 10
LIMIT = 100_000 if SOAK else 20_000
MOST = 900


@contextmanager
def callers(data: Path, number: int, seconds: float) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes that begin to call at the same moment."""
    with ExitStack() as stack:
        made = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, HERE / "budget_worker.py", data, str(LIMIT), str(MOST), str(seconds)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=ENVIRONMENT,
                )
            )
            for _ in range(number)
        ]
        for one in made:
            stack.callback(one.kill)
            assert one.stdout is not None
            assert "ready" in one.stdout.readline()
        for one in made:
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
        yield made


def said(process: subprocess.Popen[str]) -> list[dict[str, int]]:
    assert process.stdout is not None
    return [json.loads(line) for line in process.stdout]


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with open_base(tmp_path / "data", gemini_monthly_limit=LIMIT, vector="exact") as made:
        yield made


def test_ten_processes_at_once_spend_the_limit_to_the_last_token_and_not_one_more(km: KnowledgeManager) -> None:
    data, seen = km.folder.path, []
    with callers(data, PROCESSES, 0.002) as processes:
        while any(process.poll() is None for process in processes):
            seen.append(km.budget.state())
            time.sleep(0.002)
        lines = [said(process) for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert max(state.total for state in seen) <= LIMIT
    assert any(state.reserved for state in seen)
    assert len({state.total for state in seen}) > 5
    assert sum(len(each) > 1 for each in lines) > 1, "only one process has called"
    settled = sum(line["settled"] for each in lines for line in each if "settled" in line)
    use = km.budget.use()
    assert (use.state.used, use.state.reserved, settled) == (LIMIT, 0, LIMIT)
    assert sum(each.calls for each in use.purposes) == sum("settled" in line for each in lines for line in each)


def test_a_killed_call_counts_with_its_estimate_for_ever(km: KnowledgeManager) -> None:
    rng = new_rng("budget kills")
    known = killed = 0
    for _ in range(30 if SOAK else 2):
        before = km.budget.state()
        with callers(km.folder.path, 3, 0.02) as processes:
            time.sleep(rng.uniform(0.05, 0.25))
            for process in processes:
                process.send_signal(signal.SIGKILL)
            lines = [said(process) for process in processes]
        killed += len(processes)
        after = km.budget.state()
        assert after.total <= LIMIT
        settled = sum(line["settled"] for each in lines for line in each if "settled" in line)
        under_way = sum(each[-1].get("reserved", 0) for each in lines if each)
        # Each process may have got one row further than it could say.
        unknown = after.total - before.total - settled - under_way
        assert -MOST * len(processes) <= unknown <= MOST * len(processes)
        known += sum("settled" in line for each in lines for line in each)
        with apsw.Connection(str(km.folder.path / DATABASE), flags=apsw.SQLITE_OPEN_READONLY) as connection:
            rows = connection.execute(
                "SELECT tokens = estimate, settled_at IS NULL FROM ledger WHERE settled_at IS NULL"
            ).fetchall()
        assert len(rows) <= killed
        assert all(is_estimate for is_estimate, _ in rows)
    assert known, "no call came to its end"
    use = km.budget.use()
    assert 0 < len(use.unsettled) <= killed
    assert sum(each.tokens for each in use.unsettled) == use.state.reserved
