"""The server under its client: many calls at once, cancelled ones, a client that leaves, signals, kill -9."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from cli_runs import nescord, write_notes
from guard import children
from mcp import MCPError
from mcp.shared.message import SessionMessage
from mcp_world import PATIENCE, Agent, Wire, agent, near, text_of

from nescord import KnowledgeManager, Settings
from nescord.agents.wire import LONGEST_LINE, MOST_UNANSWERED, Incoming, connection

pytestmark = pytest.mark.slow

ROUNDS = 20 if os.environ.get("NESCORD_SOAK") == "1" else 2
SECRET = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
NOTES = {
    "珈琲.md": "# 珈琲の淹れ方\n\n湯は九十度。粉は二十グラム。\n",
    "tea.md": "# Tea\n\nGreen tea likes seventy degrees.\n",
    "secret.md": f"# Aardvark\n\nThe token is {SECRET} and the zymurgy goes on.\n",
}
# Holds the database against other writers, until its stdin is closed.
_HOLDING = """
import sys
from nescord import KnowledgeManager, Settings
with KnowledgeManager.open(Settings(data_dir=sys.argv[1])) as km:
    with km._base.verb() as catalog, catalog.write():
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    vault = write_notes(tmp_path / "vault", NOTES)
    assert nescord("--data-dir", tmp_path / "state", "ingest", vault).code == 0
    return tmp_path / "state"


@contextmanager
def held(state: Path) -> Iterator[None]:
    """Meanwhile whoever writes has to wait."""
    command = [sys.executable, "-c", _HOLDING, state]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        assert holder.stdin is not None
        holder.stdin.close()
        assert holder.wait(PATIENCE) == 0


def kept(state: Path, word: str) -> list[str]:
    """The notes that hold the word, as another process sees them."""
    done = nescord("--data-dir", state, "search", word, "--mode", "keyword", "--limit", "1000", "--json")
    return [hit["note_id"] for hit in done.document]  # type: ignore[attr-defined]


def test_fifty_calls_at_once_are_all_answered_each_with_its_own(state: Path) -> None:
    answers: dict[int, object] = {}

    async def all_at_once(agent: Agent) -> None:
        async def one(number: int) -> None:
            kind = number % 5
            if kind == 0:
                answer = await agent.client.call_tool("capture", {"text": f"parallel number n{number}n"})
            elif kind == 1:
                answer = await agent.client.call_tool("search", {"query": "九十度" if number % 2 else "seventy"})
            elif kind == 2:
                answer = await agent.client.call_tool("show", {"note": "珈琲.md" if number % 2 else "tea.md"})
            elif kind == 3:
                answer = await agent.client.call_tool(
                    "ask", {"question": "九十度" if number % 2 else "seventy degrees"}
                )
            else:
                answer = await agent.client.call_tool("show", {"note": f"nothing-{number}"})
            answers[number] = answer

        async with anyio.create_task_group() as calls:
            for number in range(50):
                calls.start_soon(one, number)

    with agent(state, "--allow-capture") as client:
        client.run(lambda: all_at_once(client))
        found = client.said("search", query="parallel", limit=50)
    assert len(answers) == 50
    for number, answer in answers.items():
        text = text_of(answer)  # type: ignore[arg-type]
        if number % 5 == 0:
            assert "Kept as" in text
        elif number % 5 == 4:
            assert f'no note "nothing-{number}"' in text
        else:
            assert ("珈琲の淹れ方" if number % 2 else "Tea") in text
    assert len(found["notes"]) == 10
    assert len(set(kept(state, "parallel"))) == 10


def test_cancelled_calls_end_at_once_and_leave_the_server_sound(state: Path) -> None:
    async def cancelled(agent: Agent) -> None:
        with anyio.move_on_after(2) as scope:
            async with anyio.create_task_group() as calls:
                for number in range(3):
                    calls.start_soon(agent.client.call_tool, "capture", {"text": f"cancelled c{number}c"})
        assert scope.cancelled_caught, "they had to wait for the holder"

    with agent(state, "--allow-capture") as client:
        client.said("status")
        with held(state):
            client.run(lambda: cancelled(client))
            # One thread is left that does not wait for the holder.
            assert client.said("search", query="seventy", mode="keyword")["notes"]
        assert client.said("capture", text="after it all")["note_id"]
        assert client.said("search", query="九十度", mode="keyword")["notes"]
    # What had begun came to its end: whole notes, or none.
    assert len(kept(state, "cancelled")) <= 3
    assert len(kept(state, "after it all")) == 1
    assert nescord("--data-dir", state, "verify", "--deep").code == 0


def test_a_cancelled_call_that_had_not_begun_is_never_done(state: Path) -> None:
    with Wire(state, "--allow-capture") as wire:
        with held(state):
            numbers = [wire.begin_tool("capture", text=f"queued q{number}q") for number in range(20)]
            for number in numbers[4:]:
                wire.send({"method": "notifications/cancelled", "params": {"requestId": number}})
            # Answered in the loop itself: all of the above has been read.
            assert "result" in wire.request("ping", {})
        # The first four, which were not cancelled, and no other.
        assert wire.process.stdout is not None
        done = [json.loads(wire.process.stdout.readline()) for _ in range(4)]
        assert sorted(answer["id"] for answer in done) == numbers[:4]
        # Whatever waits would be done before.
        assert len(wire.tool("search", query="queued", limit=50)["structuredContent"]["notes"]) == 4


def test_more_calls_than_can_wait_are_refused_and_not_remembered(state: Path) -> None:
    with Wire(state, "--allow-capture") as wire:
        with held(state):
            for number in range(300):
                wire.begin_tool("capture", text=f"crowd d{number}d")
            refusals = 0
            assert wire.process.stdout is not None
            for _ in range(300 - 256):
                answer = json.loads(wire.process.stdout.readline())["result"]
                assert answer["isError"]
                assert "calls wait already" in answer["content"][0]["text"]
                refusals += 1
            assert refusals == 44
        done = [json.loads(wire.process.stdout.readline())["result"] for _ in range(256)]
        assert not any(answer.get("isError") for answer in done)
    assert len(kept(state, "crowd")) == 256


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP])
def test_the_server_ends_when_it_is_told_to(state: Path, how: signal.Signals) -> None:
    with Wire(state) as wire:
        assert wire.tool("status")["structuredContent"]["notes"] == 3
        # It is told so while it reads.
        for _ in range(100):
            wire.begin("ping", {})
        wire.process.send_signal(how)
        code, rest = wire.end()
        assert code == 0
        assert all(json.loads(line)["jsonrpc"] for line in rest.splitlines())
        assert "Traceback" not in wire.errors()


def test_a_verb_that_hangs_does_not_keep_the_server_from_ending(state: Path) -> None:
    with Wire(state, "--allow-capture") as wire, held(state):
        wire.begin_tool("capture", text="hanging")
        later = wire.begin_tool("status")
        assert wire.process.stdout is not None
        # Threads take calls in their order: the capture has begun when this is answered.
        while json.loads(wire.process.stdout.readline())["id"] != later:
            pass
        wire.process.send_signal(signal.SIGTERM)
        assert wire.end()[0] == 0
        assert "ended while a verb was under way" in wire.errors()
    assert nescord("--data-dir", state, "verify", "--deep").code == 0


def test_captures_that_were_answered_outlive_kill_9(state: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged: list[str] = []
    mine = ""
    for round_ in range(ROUNDS):
        with Wire(state, "--allow-capture") as wire:
            for number in range(chance.randrange(1, 6)):
                mine = str(uuid.uuid4())
                wire.tool("capture", text=f"outliving 蝉 r{round_}n{number}", note_id=mine)
                acknowledged.append(mine)
            for number in range(3):
                wire.begin_tool("capture", text=f"perhaps r{round_}n{number}")
            time.sleep(chance.random() * 0.05)
            wire.process.send_signal(signal.SIGKILL)
            assert wire.process.wait(PATIENCE) == -signal.SIGKILL
    # Served by the next, to which a client that is not sure sends the same again.
    with agent(state, "--allow-capture") as client:
        assert client.said("capture", text="outliving 蝉", note_id=mine)["note_id"] == mine
        for note_id in acknowledged:
            assert "outliving 蝉" in client.said("show", note=note_id)["text"]
    assert sorted(kept(state, "outliving")) == sorted(acknowledged)
    assert nescord("--data-dir", state, "verify", "--deep").code == 0


def test_a_client_hears_of_a_server_that_is_killed(state: Path) -> None:
    with agent(state) as client:
        assert client.said("status")["notes"] == 3
        for pid in children.living():
            if b"mcp" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(MCPError, match="closed"):
            client.call("status")


def test_stdout_has_the_protocol_alone_and_stderr_no_note_and_no_secret(state: Path) -> None:
    with Wire(state, "--allow-capture") as wire:
        for tool, arguments in (
            ("search", {"query": "zymurgy"}),
            ("show", {"note": "Aardvark"}),
            ("ask", {"question": "Where is the zymurgy?"}),
            ("related", {"note": "Aardvark"}),
            ("show", {"note": "zymurgy-unknown"}),
            ("capture", {"text": f"zymurgy again {SECRET}"}),
            ("capture", {"text": ["zymurgy"]}),
        ):
            wire.tool(tool, **arguments)
        wire.write(b"zymurgy is no message\n\n")
        wire.write(b'{"jsonrpc": "2.0", "method": "notifications/zymurgy"}\n')
        assert wire.request("resources/zymurgy", {})["error"]
        assert "result" in wire.request("ping", {})
        # Somebody who pipes requests into the server closes their side when the last is out, with no end of the line.
        last = {"name": "search", "arguments": {"query": "九十度"}}
        wire.write(json.dumps({"jsonrpc": "2.0", "id": "last", "method": "tools/call", "params": last}).encode())
        assert wire.process.stdin is not None
        wire.process.stdin.close()
        code, rest = wire.end()
        assert code == 0
        (answer,) = map(json.loads, rest.splitlines())
        assert (answer["id"], len(answer["result"]["structuredContent"]["notes"])) == ("last", 1)
        errors = wire.errors()
    assert "no message of the protocol" in errors
    for word in ("zymurgy", "Aardvark", SECRET, "Traceback"):
        assert word not in errors


def test_a_bug_ends_one_call_and_is_logged_by_its_place_alone(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    with KnowledgeManager.open(Settings(data_dir=state)) as km:
        note_id = km.note("Tea").id
        with km._base.verb() as catalog, catalog.write() as connection:
            connection.execute(
                "UPDATE note_text SET front_matter = '{zymurgy' "
                "WHERE note = (SELECT key FROM note WHERE id = ?)", (note_id,)
            )  # fmt: skip
    with near(state, frozenset({"personal"})) as client:
        refused = client.refused("show", note=note_id)
        with pytest.raises(MCPError, match="a mistake of ours"):
            client.run(lambda: client.client.read_resource(f"nescord://note/{note_id}"))
        assert client.said("show", note="珈琲.md")["title"]
    logged = caplog.text
    reference = refused.split()[-1]
    assert f"{reference}: show failed: JSONDecodeError at " in logged
    assert "zymurgy" not in logged + refused


def test_what_an_exception_says_is_not_logged() -> None:
    code = (
        "import logging\n"
        "from nescord.agents import log\n"
        "log.begin(lambda text: text.replace('s3cret', '***'))\n"
        "try:\n"
        "    raise ValueError('zymurgy')\n"
        "except ValueError:\n"
        "    logging.getLogger('mcp').exception('the handler of %s with s3cret failed', 'tools/call')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout == ""
    assert done.stderr == ("nescord: ERROR mcp: the handler of tools/call with *** failed\nValueError at <string>:5\n")


def test_a_client_that_reads_no_answer_does_not_keep_the_server_from_ending(state: Path) -> None:
    with Wire(state) as wire:
        # More than a pipe holds.
        for _ in range(60):
            wire.begin("tools/list", {})
        assert wire.process.stdout is not None
        waits = b"\0" * 4
        while int.from_bytes(waits, sys.byteorder) < 60_000:
            time.sleep(0.05)
            waits = fcntl.ioctl(wire.process.stdout, termios.FIONREAD, b"\0" * 4)
        wire.process.send_signal(signal.SIGTERM)
        assert wire.process.wait(PATIENCE) == 0


def test_a_server_that_nobody_hears_ends(state: Path) -> None:
    with Wire(state) as wire:
        assert wire.process.stdout is not None
        wire.process.stdout.close()
        wire.begin("ping", {})
        assert wire.process.wait(PATIENCE) == 0
        assert "nobody reads" in wire.errors()


def test_a_client_that_reads_no_answer_is_not_read_on_and_on() -> None:
    ping = b'{"jsonrpc": "2.0", "id": %d, "method": "ping"}\n'
    cancelled = b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": %d}}\n'

    async def taken(incoming: Incoming) -> object:
        with anyio.fail_after(PATIENCE):
            return (await incoming.receive()).message.id  # type: ignore[union-attr]

    async def live(reading: int, asking: int, writing: int) -> None:
        # Cancelled ones are answered by nobody.
        os.write(asking, b"".join(ping % n + cancelled % n for n in range(10)))
        async with connection(reading, writing) as (incoming, outgoing):
            for number in range(10):
                assert await taken(incoming) == number
                await incoming.receive()
            for number in range(10, MOST_UNANSWERED + 11):
                os.write(asking, ping % number)
                assert await taken(incoming) == number
            os.write(asking, ping % 9_999)
            with pytest.raises(TimeoutError), anyio.fail_after(1):
                await incoming.receive()
            answer = types.JSONRPCResponse(jsonrpc="2.0", id=10, result={})
            await outgoing.send(SessionMessage(answer))
            assert await taken(incoming) == 9_999

    pipes = os.pipe(), os.pipe()
    try:
        anyio.run(live, *pipes[0], pipes[1][1])
    finally:
        for end in (*reversed(pipes[0]), *pipes[1]):
            os.close(end)


def test_requests_that_are_none_are_refused_by_their_number_and_too_long_a_line_is_the_end(state: Path) -> None:
    with Wire(state) as wire:
        wire.write(b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "ping"}\n')
        wire.write(b"\xff\n[]\n")
        wire.write(b'{"jsonrpc": "2.0", "id": 41, "method": "tools/call", "params": {"name": "\\ud800"}}\n')
        assert "no Unicode" in wire.answer(41)["error"]["message"]
        wire.write(b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}\n[' + b"[" * 100_000 + b"\n")
        assert "result" in wire.request("ping", {})
        with pytest.raises(BrokenPipeError):
            wire.write(b"x" * 2 * LONGEST_LINE)
        assert wire.end() == (0, b"")
        assert "longer than" in wire.errors()


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_closed_stream_is_refused_before_anything_is_opened(state: Path, closed: str) -> None:
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "nescord.cli", "mcp", "--data-dir", state]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "must be open" in done.stderr


def test_whatever_is_printed_goes_to_stderr() -> None:
    code = (
        "import os, subprocess, sys\n"
        "from nescord.agents.wire import standard_streams\n"
        "with standard_streams() as (reading, writing):\n"
        "    print('printed', flush=True)\n"
        "    os.write(1, b'written\\n')\n"
        "    subprocess.run(['echo', 'by a child'], check=True)\n"
        "    assert sys.stdin.read() == '', 'nobody else reads what the client sends'\n"
        "    assert os.read(reading, 5) == b'wired'\n"
        "    os.write(writing, b'wire')\n"
        "print('|after')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"wired", capture_output=True, timeout=PATIENCE, check=True
    )
    assert done.stdout == b"wire|after\n"
    assert done.stderr == b"printed\nwritten\nby a child\n"
