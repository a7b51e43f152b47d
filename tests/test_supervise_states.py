"""What the supervisor tells about its services, and when it gives up."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from flow_world import processes_naming
from supervise_world import QUICK, Watched, program, toy

from nescord import service_state
from nescord.home import DataFolder, boot_id
from nescord.locks import LockName, Locks
from nescord.service_state import Finding, ServiceState, SupervisorState
from nescord.supervise import FAILED


def test_a_required_service_that_does_not_stay_alive_ends_all_in_order(tmp_path: Path) -> None:
    services = (toy(tmp_path, "a"), toy(tmp_path, "b"), toy(tmp_path, "sick", "dies", required=True))
    watched = Watched(tmp_path, *services)

    assert watched.run() == FAILED == 1
    assert watched.heard("sick: it is required: everything is stopped: it ended 5 times within 60 s")
    assert len(watched.heard("sick: ended with exit code 3")) == 5
    assert [event[:2] for event in watched.events("end")] == [("end", "b"), ("end", "a")]
    states = {state.name: state for state in watched.supervisor.states}
    assert {state.state for state in states.values()} == {"stopped"}
    assert states["sick"].reason == "ended with exit code 3"
    assert states["sick"].is_required
    assert not states["a"].is_required
    assert not processes_naming(str(tmp_path))


def test_a_required_service_that_cannot_even_be_started_ends_all_before_the_rest_is_tried(tmp_path: Path) -> None:
    first = replace(toy(tmp_path, "first", required=True), prepare=_fails)
    watched = Watched(tmp_path, first, toy(tmp_path, "second", "silent"))

    assert watched.run() == FAILED
    assert len(watched.heard("first: cannot be started: no such luck")) == 5
    assert watched.told_of("first")[-1].reason == "cannot be started"  # the rest is for the log only
    assert not processes_naming(str(tmp_path))


def _fails() -> None:
    raise OSError("no such luck")


def test_a_required_service_that_dies_now_and_then_is_started_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "a", required=True), policy=replace(QUICK, within=0.2))

    async def work() -> int:
        for _ in range(QUICK.deaths + 1):
            before = watched.pid("a")
            os.kill(before, signal.SIGKILL)
            await watched.until(lambda before=before: watched.pid("a") != before and watched.supervisor.is_ready("a"))
            await asyncio.sleep(0.1)
        return 0

    assert watched.run(work) == 0
    assert watched.supervisor.states[0].restarts == QUICK.deaths + 1


def test_what_was_sick_is_tried_once_after_each_rest_until_it_was_well(tmp_path: Path) -> None:
    # Dies at once four times, then is well for a while, then dies at once again.
    code = (
        "import pathlib, sys, time\n"
        "lives = pathlib.Path(sys.argv[1]); lives.open('a').write('x')\n"
        "time.sleep(1.5 if len(lives.read_text()) == 5 else 0)"
    )
    policy = replace(QUICK, deaths=2, rest=0.3, well_after=0.8)
    watched = Watched(tmp_path, program("a", code, str(tmp_path / "lives")), policy=policy)

    async def work() -> int:
        await watched.until(lambda: len(watched.heard("tried again")) >= 6)
        return 0

    assert watched.run(work) == 0
    pauses = [line.rpartition("tried again in ")[2] for line in watched.heard("tried again")]
    assert pauses[:6] == ["0.05 s", "0.3 s", "0.3 s", "0.3 s", "0.05 s", "0.3 s"]
    assert len(watched.heard("a: degraded: it ended 2 times within 60 s")) == 2


@pytest.mark.parametrize("code", [77, 78])
def test_what_a_person_must_mend_is_degraded_at_once_and_tried_again_after_a_rest(tmp_path: Path, code: int) -> None:
    words = f"import sys; print('about to'); print('TOKEN is refused: copy the new one'); print(); sys.exit({code})"
    policy = replace(QUICK, deaths=2, rest=0.3)
    watched = Watched(tmp_path, program("bot", words, required=True), toy(tmp_path, "other"), policy=policy)

    async def work() -> int:
        await watched.until(lambda: len(watched.heard("tried again in 0.3 s")) >= 4)
        assert watched.supervisor.is_ready("other")
        return 0

    assert watched.run(work) == 0, "four deaths, and none of them counts"
    degraded = [state for state in watched.told_of("bot") if state.state == "degraded"]
    reason = f"ended with exit code {code}, which a person must mend: TOKEN is refused: copy the new one"
    assert {state.reason for state in degraded} == {reason}
    assert not watched.heard("everything is stopped")
    assert watched.heard(f"bot: degraded: {reason}; tried again in 0.3 s")


def test_an_exit_that_no_person_is_asked_to_mend_still_counts(tmp_path: Path) -> None:
    watched = Watched(tmp_path, program("bot", "import sys; sys.exit(69)", required=True))
    assert watched.run() == FAILED


def test_starts_that_fail_count_however_long_they_take(tmp_path: Path) -> None:
    slow = replace(toy(tmp_path, "slow", "silent", required=True), ready_within=0.8)
    watched = Watched(tmp_path, slow, policy=replace(QUICK, deaths=3, within=0.7))

    assert watched.run() == FAILED
    assert len(watched.heard("slow: not ready within 0.8 s")) == 3


def test_each_change_of_a_service_is_told(tmp_path: Path) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "a"), toy(tmp_path, "b", needs="a"))
    pids = {}

    async def work() -> int:
        pids["a"] = watched.pid("a")
        os.kill(pids["a"], signal.SIGKILL)
        await watched.until(lambda: watched.pid("a") != pids["a"])
        await watched.until(lambda: watched.supervisor.is_ready("b") and watched.supervisor.is_ready("a"))
        return 0

    assert watched.run(work) == 0
    killed = "was killed by SIGKILL, probably because the machine ran out of memory"
    a = watched.told_of("a")
    assert _steps(a) == [
        *(("starting", 0, ""), ("ready", 0, ""), ("pausing", 0, ""), ("pausing", 0, killed)),
        *(("starting", 1, killed), ("ready", 1, ""), ("pausing", 1, ""), ("stopped", 1, "")),
    ]
    assert {state.pid for state in a if state.state == "ready"} == {pids["a"], watched.pid("a")}
    assert a[-1].pid is None
    assert {state.reason for state in watched.told_of("b")} <= {"", "a, which it needs, is not ready"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", state.since) for state in a)


def test_the_reason_of_a_state_holds_nothing_of_a_log_and_no_secret(tmp_path: Path) -> None:
    code = "import sys; print('private words'); sys.exit('the last word')"
    watched = Watched(tmp_path, program("a", code), redact=lambda text: text.replace("exit code", "***"))

    async def work() -> int:
        await watched.until(lambda: watched.heard("degraded"))
        return 0

    assert watched.run(work) == 0
    reasons = {state.reason for state in watched.told_of("a")}
    assert "ended with *** 1" in reasons
    assert "private words\nthe last word" in watched.heard("a: ended with *** 1")[0]
    assert not [reason for reason in reasons if "word" in reason]
    assert "degraded" in {state.state for state in watched.told_of("a")}


def test_what_tells_of_a_killed_process_within_is_a_probable_lack_of_memory(tmp_path: Path) -> None:
    watched = Watched(tmp_path, program("a", "import sys; sys.exit(137)", required=True))
    assert watched.run() == FAILED
    assert "killed by SIGKILL, probably because the machine ran out of memory" in watched.supervisor.states[0].reason


def test_the_phase_is_told_at_once(tmp_path: Path) -> None:
    watched = Watched(tmp_path, toy(tmp_path, "a"))

    async def work() -> int:
        assert watched.phases[-1] == "running"
        return 0

    assert watched.run(work) == 0
    assert list(dict.fromkeys(watched.phases)) == ["starting", "running", "stopping"]


def test_what_is_written_of_the_state_is_read_again_and_counts_while_it_runs(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    state = _state(boot_id())
    service_state.write(folder, state)
    locks = Locks(folder.run, timeout=1)

    assert (folder.run / "state.json").stat().st_mode & 0o777 == 0o600
    assert service_state.read(folder) == state
    assert service_state.running(folder, locks) is None
    with locks.exclusive(LockName.SERVICE):
        assert service_state.running(folder, locks) == state
        service_state.write(folder, _state("another boot"))
        assert service_state.running(folder, locks) is None


@pytest.mark.parametrize(
    "change", [('"ready"', '"fine"'), ('"pid": 7', '"pid": "7"'), ('"services": [', '"services": ['[:5]), ("{", "")]
)
def test_a_state_that_cannot_be_understood_is_none(tmp_path: Path, change: tuple[str, str]) -> None:
    folder = _folder(tmp_path)
    service_state.write(folder, _state("boot"))
    file = folder.run / "state.json"
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))
    assert service_state.read(folder) is None
    assert service_state.read(_folder(tmp_path / "elsewhere")) is None


def _folder(path: Path) -> DataFolder:
    return DataFolder(path, path / "nescordbot.db", path / "chroma")


def _state(boot: str) -> SupervisorState:
    service = ServiceState("http", "ready", 7, "2026-11-27T23:15:05Z", 2, "", is_required=True)
    finding = Finding("index.matches", "FAIL", "3 missing", "nescord index rebuild")
    return SupervisorState(boot, 7, "running", "2026-11-27T23:15:00Z", None, (service,), (finding,))


def _steps(states: list[ServiceState]) -> list[tuple[str, int, str]]:
    """Without pid and time, each once."""
    steps = [(state.state, state.restarts, state.reason) for state in states]
    return [step for place, step in enumerate(steps) if not place or step != steps[place - 1]]
