"""The protocol's lines on stdin and stdout, and nothing else on stdout, whoever prints.

The transport of the SDK reads in a thread that nothing can wake, so a server told to stop would wait for its client's
next line, and it takes lines of any length. Here the threads that read and write may be left behind, and a line has an
end.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

# A text of the longest capture, in the longest way that JSON has for it, is little more than half of it.
LONGEST_LINE = 4 * 2**20
_READ = 64 * 1024
# So many lines are read ahead.
_AHEAD = 64
# A client that asks on and on and reads no answer is not read any further until it does.
MOST_UNANSWERED = 1_024
# What was asked before the client closed its side may still be answered for so long; clients kill after two seconds.
_LAST_ANSWERS = 0.8
_LAST_WORDS = 0.4
_log = logging.getLogger(__name__)

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


@contextmanager
def standard_streams() -> Iterator[tuple[int, int]]:
    """Descriptors of what stdin and stdout were. Meanwhile stdin is empty, and what is printed goes to stderr."""
    reading, writing = (fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3) for number in (0, 1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    try:
        yield reading, writing
    finally:
        os.dup2(reading, 0)
        os.dup2(writing, 1)
        # Not closed: a reader may still wait at it, and the number must not become another file's.


class _Unanswered:
    """The requests that wait for an answer."""

    def __init__(self) -> None:
        self._numbers: set[types.RequestId] = set()
        self._fewer = asyncio.Event()

    def note(self, message: types.JSONRPCMessage) -> None:
        """A message that has come. One that is cancelled is not answered."""
        if isinstance(message, types.JSONRPCRequest):
            self._numbers.add(message.id)
        elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            number = (message.params or {}).get("requestId")
            if isinstance(number, int | str):
                self._drop(number)

    def note_sent(self, message: types.JSONRPCMessage) -> None:
        """A message that has been written."""
        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError) and message.id is not None:
            self._drop(message.id)

    async def at_most(self, count: int) -> None:
        """Wait until no more than so many are left."""
        while len(self._numbers) > count:
            self._fewer.clear()
            await self._fewer.wait()

    def _drop(self, number: types.RequestId) -> None:
        self._numbers.discard(number)
        self._fewer.set()


@asynccontextmanager
async def connection(reading: int, writing: int) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """Messages that come, until the other side closes; messages to send. Leaving sends what was handed over."""
    come, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, going = anyio.create_memory_object_stream[SessionMessage](0)
    written, unanswered = anyio.Event(), _Unanswered()
    try:
        async with anyio.create_task_group() as tasks:
            taking = anyio.CancelScope()
            tasks.start_soon(_take_in, reading, come, outgoing.clone(), taking, unanswered)
            tasks.start_soon(_send_out, writing, going, written, taking, unanswered)
            try:
                yield incoming, outgoing
            finally:
                taking.cancel()
                outgoing.close()
                with anyio.move_on_after(_LAST_WORDS, shield=True):
                    await written.wait()
                tasks.cancel_scope.cancel()
    finally:
        for stream in (come, incoming, outgoing, going):
            stream.close()


async def _take_in(
    reading: int,
    come: MemoryObjectSendStream[SessionMessage | Exception],
    refusing: Outgoing,
    taking: anyio.CancelScope,
    unanswered: _Unanswered,
) -> None:
    with taking, come, refusing:
        async for line in _lines(reading):
            if not line.strip():
                continue
            try:
                message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValidationError:
                # What it says may be a text of somebody.
                _log.warning("a line that is no message of the protocol is left out")
                if (number := _number_of(line)) is not None:
                    await _send(refusing, SessionMessage(_refusal(number)))
                continue
            unanswered.note(message)
            await _send(come, SessionMessage(message))
            await unanswered.at_most(MOST_UNANSWERED)
        # The end of `come` is the end of whatever is under way.
        with anyio.move_on_after(_LAST_ANSWERS):
            await unanswered.at_most(0)


async def _send(stream: MemoryObjectSendStream[Any], message: SessionMessage) -> None:
    """Hand it over, if somebody is still there."""
    with contextlib.suppress(anyio.BrokenResourceError):
        await stream.send(message)


def _number_of(line: bytes) -> types.RequestId | None:
    """The id of a request that cannot be read otherwise: whoever has made it waits for an answer."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return None
    number = request.get("id") if isinstance(request, dict) and "method" in request else None
    if isinstance(number, str):
        # Half of a surrogate pair cannot be sent back.
        return number if number.encode("utf-8", "ignore").decode() == number else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _refusal(number: types.RequestId) -> types.JSONRPCError:
    message = "this is no message of the protocol, or it holds text that is no Unicode"
    return types.JSONRPCError(
        jsonrpc="2.0", id=number, error=types.ErrorData(code=types.INVALID_REQUEST, message=message)
    )


async def _lines(reading: int) -> AsyncIterator[bytes]:
    """Lines until the end; a line that is too long is one."""
    loop = asyncio.get_running_loop()
    lines = asyncio.Queue[bytes | None]()
    room = threading.Semaphore(_AHEAD)

    def put(line: bytes | None) -> None:
        room.acquire()
        loop.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        rest = bytearray()
        try:
            while content := os.read(reading, _READ):
                begun = len(rest)
                rest += content
                end = rest.find(b"\n", begun)
                while end >= 0:
                    put(bytes(rest[:end]))
                    del rest[: end + 1]
                    end = rest.find(b"\n")
                if len(rest) > LONGEST_LINE:
                    _log.error("a message is longer than %d bytes: this is the end of the connection", LONGEST_LINE)
                    rest.clear()
                    break
            if rest:
                put(bytes(rest))
            put(None)
        except (OSError, RuntimeError):  # the loop is closed
            return

    # A daemon: it may wait for a line that never comes.
    threading.Thread(target=read, name="wire-in", daemon=True).start()
    while (line := await lines.get()) is not None:
        room.release()
        yield line


async def _send_out(
    writing: int,
    going: MemoryObjectReceiveStream[SessionMessage],
    written: anyio.Event,
    taking: anyio.CancelScope,
    unanswered: _Unanswered,
) -> None:
    try:
        async with going, _writer(writing) as write:
            async for message in going:
                line = message.message.model_dump_json(by_alias=True, exclude_unset=True) + "\n"
                await write(line.encode("utf-8", "replace"))
                unanswered.note_sent(message.message)
    except OSError as error:
        _log.info("nobody reads what is answered: %s", error.strerror)
        # Nor is there any sense in what else it asks.
        taking.cancel()
    finally:
        written.set()


@asynccontextmanager
async def _writer(writing: int) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
    """What writes bytes, all of them, one call after the other; OSError where nobody reads them any more."""
    loop = asyncio.get_running_loop()
    jobs = queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None]()

    def work() -> None:
        while (job := jobs.get()) is not None:
            content, done = job
            error: OSError | None = None
            try:
                _write(writing, content)
            except OSError as failed:
                error = failed
            try:
                loop.call_soon_threadsafe(_settle, done, error)
            except RuntimeError:  # the loop is closed
                return

    async def write(content: bytes) -> None:
        done = loop.create_future()
        jobs.put((content, done))
        await done

    # A daemon, which Python does not wait for: a client that no longer reads may keep it for ever.
    threading.Thread(target=work, name="wire-out", daemon=True).start()
    try:
        yield write
    finally:
        jobs.put(None)


def _settle(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():  # nobody waits any more
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def _write(writing: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(writing, left) :]
