"""Agents of the SDK and the server: `nescord mcp` in a process of its own, spoken to over stdin and stdout, or where
neither processes nor streams matter, which take two CPU seconds to start, the same server in this process.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, StdioServerParameters, stdio_client
from mcp_types import CallToolResult

from nescord import Settings
from nescord.agents.desk import Desk
from nescord.agents.pool import Pool
from nescord.agents.quoting import Cleaner
from nescord.agents.server import AgentServer
from nescord.agents.view import View

T = TypeVar("T")
# A busy machine is no failure.
PATIENCE = 120.0
_FENCE = re.compile(r"between a line <<<quoted (\w+)>>> and the next line")


@dataclass(frozen=True)
class Agent:
    """A client from the code of a test, which is not asynchronous."""

    client: Client
    portal: BlockingPortal
    log: Path

    def call(self, tool: str, **arguments: object) -> CallToolResult:
        """The answer, whatever it is."""
        return self.run(lambda: self.client.call_tool(tool, arguments))

    def said(self, tool: str, **arguments: object) -> dict[str, Any]:
        """The answer as JSON; it must be one."""
        answer = self.call(tool, **arguments)
        assert not answer.is_error, text_of(answer)
        assert isinstance(answer.structured_content, dict)
        return answer.structured_content

    def refused(self, tool: str, **arguments: object) -> str:
        """What the tool says that is wrong."""
        answer = self.call(tool, **arguments)
        assert answer.is_error, text_of(answer)
        return text_of(answer)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Carry it out where the client lives."""
        return self.portal.call(work)

    def logged(self) -> str:
        """What the server has said on stderr so far."""
        return self.log.read_text(encoding="utf-8")


def text_of(answer: CallToolResult) -> str:
    """The answer for who reads text only."""
    (content,) = answer.content
    assert content.type == "text"
    return content.text


def quoted(text: str) -> list[str]:
    """What an answer quotes, taken out by the rule that it states itself."""
    return _taken_apart(text)[1]


def unquoted(text: str) -> str:
    """What of an answer is ours."""
    return "\n".join(_taken_apart(text)[0])


def _taken_apart(text: str) -> tuple[list[str], list[str]]:
    lines = text.split("\n")
    found = _FENCE.search(lines[0])
    if found is None:
        return lines, []
    opened, closed = f"<<<quoted {found[1]}>>>", f"<<<end {found[1]}>>>"
    ours: list[str] = []
    parts: list[str] = []
    inside: list[str] | None = None
    for line in lines:
        if inside is None and line == opened:
            inside = []
        elif inside is not None and line == closed:
            parts.append("\n".join(inside))
            inside = None
        else:
            (ours if inside is None else inside).append(line)
    assert inside is None, "a quotation without an end"
    return ours, parts


def parameters(state: Path, *options: str, env: Mapping[str, str] | None = None) -> StdioServerParameters:
    """How a client starts the server."""
    words = ["-m", "nescord.cli", "mcp", "--data-dir", str(state), *options]
    return StdioServerParameters(command=sys.executable, args=words, env={**os.environ, **(env or {})})


@contextmanager
def agent(state: Path, *options: str, mode: str = "auto", env: Mapping[str, str] | None = None) -> Iterator[Agent]:
    """A server, and a client that speaks to it."""
    log = state.parent / f"server-{os.urandom(4).hex()}.log"
    with log.open("w", encoding="utf-8") as errors, start_blocking_portal() as portal:
        transport = stdio_client(parameters(state, *options, env=env), errlog=errors)
        client = Client(transport, mode=mode, read_timeout_seconds=PATIENCE)
        with portal.wrap_async_context_manager(client):
            yield Agent(client, portal, log)


@contextmanager
def near(
    state: Path, spaces: frozenset[str] | None, *, can_capture: bool = False, mode: str = "auto", **settings: object
) -> Iterator[Agent]:
    """A server for these spaces in this process, and a client that speaks to it."""
    view = View.open(Settings(**{"data_dir": state, **settings}), spaces)
    pool = Pool()
    desk = Desk(view, Cleaner(settings.get("mask") != "off"), can_capture, "1")
    client = Client(AgentServer(desk, pool, str).protocol(), mode=mode, read_timeout_seconds=PATIENCE)
    try:
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):
            yield Agent(client, portal, state)
    finally:
        assert pool.close(PATIENCE)
        view.close()


class Wire:
    """A server spoken to by its lines, for what no well-behaved client does."""

    def __init__(self, state: Path, *options: str) -> None:
        words = [sys.executable, "-m", "nescord.cli", "mcp", "--data-dir", str(state), *options]
        self._errors = (state.parent / f"wire-{os.urandom(4).hex()}.log").open("w+b")
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        self._number = 0

    def __enter__(self) -> Wire:
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        self.request("initialize", client)
        self.send({"method": "notifications/initialized"})
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self._errors.close()

    def write(self, line: bytes) -> None:
        """Bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def send(self, message: Mapping[str, object]) -> None:
        """A message; it is not waited for an answer."""
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def begin(self, method: str, params: Mapping[str, object]) -> int:
        """A request; its number."""
        self._number += 1
        self.send({"id": self._number, "method": method, "params": params})
        return self._number

    def begin_tool(self, name: str, **arguments: object) -> int:
        """A call of a tool; its number."""
        return self.begin("tools/call", {"name": name, "arguments": arguments})

    def request(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        """A request and its answer, which is the next line."""
        return self.answer(self.begin(method, params))

    def tool(self, name: str, **arguments: object) -> dict[str, Any]:
        """A call of a tool, and what it answers."""
        found: dict[str, Any] = self.answer(self.begin_tool(name, **arguments))["result"]
        return found

    def answer(self, number: int) -> dict[str, Any]:
        """The next line, which must be that answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the server has ended: {self.errors()}"
        message: dict[str, Any] = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        assert message.get("id") == number, message
        return message

    def end(self) -> tuple[int, bytes]:
        """The exit code of a server that ends, and what more it has written on stdout."""
        assert self.process.stdout is not None
        code = self.process.wait(PATIENCE)
        return code, self.process.stdout.read()

    def errors(self) -> str:
        """What it has written on stderr."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8")
