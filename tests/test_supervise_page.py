"""The status page under a real supervisor: it lives on while the database hangs, and what it says of an old word."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cli_runs import ingested
from supervise_world import QUICK, Watched, toy
from web_world import WELL, Supervised

from nescord import service_state
from nescord.home import DataFolder
from nescord.locks import LockName, Locks, alone_in
from nescord.services import Services
from nescord.settings import Settings
from nescord.supervise import Supervisor
from nescord.tending import Board


def _ask(port: int, path: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8")


@pytest.fixture
def supervised(tmp_path: Path) -> Supervised:
    return Supervised(ingested(tmp_path))


def test_a_database_that_hangs_is_no_reason_to_kill_the_page(supervised: Supervised, tmp_path: Path) -> None:
    data = supervised.folder.path
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        services = Services(Settings(data_dir=data, vector="exact"), supervised.folder, listener=listener)
        http_service = replace(services.all()[0], ready_within=15)
        watched = Watched(tmp_path, http_service, policy=replace(QUICK, hangs_after=2))

        async def work() -> int:
            if not watched.supervisor.is_ready("http"):
                return 1
            await asyncio.sleep(3)
            assert _ask(port, "/alive") == (200, "alive\n")
            begun = time.monotonic()
            first = await asyncio.to_thread(_ask, port, "/healthz")
            assert first == (503, "the database does not answer\n")  # the look does hang
            assert time.monotonic() - begun > 1.5  # and nobody had asked for it before
            until = time.monotonic() + 4
            while time.monotonic() < until:
                begun = time.monotonic()
                assert (await asyncio.to_thread(_ask, port, "/healthz"))[0] == 503
                assert time.monotonic() - begun < 1.5  # it is not waited for again and again
                await asyncio.sleep(0.1)
            lock.close()
            while await asyncio.to_thread(_ask, port, "/healthz") != (200, "ok\n"):
                await asyncio.sleep(0.1)
            return 0

        lock = _Held(data)
        with closing(services), closing(lock), supervised.running():
            supervised.says(*WELL)
            assert watched.run(work) == 0, watched.said
        assert watched.supervisor.states[0].restarts == 0


class _Held:
    """The small files of a folder, which somebody changes and does not come to an end with."""

    def __init__(self, folder: Path) -> None:
        self._held = alone_in(folder)
        self._held.__enter__()
        self._is_held = True

    def close(self) -> None:
        if self._is_held:
            self._is_held = False
            self._held.__exit__(None, None, None)


def test_a_word_that_is_old_is_not_believed(supervised: Supervised) -> None:
    from nescord.web.condition import Database, condition_of

    with supervised.running():
        supervised.says(*WELL)
        young = service_state.running(supervised.folder, supervised.locks)
        assert young is not None
        assert not young.is_old
        assert condition_of(young, Database.READABLE).is_ready
        file = supervised.folder.run / "state.json"
        stored = json.loads(file.read_bytes())
        file.write_text(json.dumps(stored | {"told_at": stored["told_at"] - 121}))
        old = service_state.running(supervised.folder, supervised.locks)
        assert old is not None
        assert old.is_old
        condition = condition_of(old, Database.READABLE)
        assert (condition.level, condition.problem) == ("away", "the supervisor was not heard of")
        assert [part.name for part in condition.parts] == ["supervisor", "database"]


def test_the_word_is_given_again_while_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    folder = DataFolder(tmp_path, tmp_path / "nescordbot.db", tmp_path / "chroma")
    board = Board(folder, ())
    policy = replace(QUICK, beat=0.2)
    supervisor = Supervisor([toy(tmp_path, "a")], tmp_path / "logs", lambda _: None, policy, tell=board.tell)
    locks = Locks(folder.run, timeout=1)

    def told() -> service_state.SupervisorState | None:
        return service_state.running(folder, locks)

    async def work() -> int:
        while (first := told()) is None or first.phase != "running":
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        while (again := told()) is None or again.told_at <= first.told_at + 0.4:
            await asyncio.sleep(0.05)
        assert again == first
        return 0

    with locks.exclusive(LockName.SERVICE), closing(board):
        board.show(supervisor)
        assert asyncio.run(asyncio.wait_for(supervisor.run(work), 60)) == 0
    last = service_state.read(folder)
    assert last is not None
    assert (last.phase, [each.state for each in last.services]) == ("stopping", ["stopped"])
