"""The Gateway v10: sessions that outlive their sockets, compression, heartbeats, and the codes that it closes with."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zstandard
from aiohttp import WSMsgType, web

from tests.fakes.discord.faults import Faults
from tests.fakes.discord.recording import ProblemKind
from tests.fakes.discord.world import World

JsonObject = dict[str, Any]

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, RESUME = 0, 1, 2, 3, 6
RECONNECT, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 7, 9, 10, 11
_KNOWN = {HEARTBEAT, IDENTIFY, PRESENCE, 4, RESUME, 8, 31, 43}
PRIVILEGED = 1 << 1 | 1 << 8 | 1 << 15
LARGEST_FRAME = 4096
MOST_FRAMES, FRAMES_WITHIN = 120, 60.0


@dataclass(eq=False)
class Session:
    """What READY opened: it numbers and remembers its events, so that RESUME can send again what was missed."""

    id: str
    intents: int
    events: list[JsonObject] = field(default_factory=list)
    is_valid: bool = True
    socket: Socket | None = None

    def event(self, name: str, body: JsonObject) -> JsonObject:
        event = {"op": DISPATCH, "t": name, "s": len(self.events) + 1, "d": body}
        self.events.append(event)
        return event


class Socket:
    """One connection: one compression stream, and frames in the order in which they were sent."""

    def __init__(self, response: web.WebSocketResponse, request: web.Request) -> None:
        self.response = response
        self.request = request
        self.session: Session | None = None
        self.frames: list[float] = []
        self.closed_with: int | None = None
        self._turn = asyncio.Lock()
        kind = request.query.get("compress")
        self._compress: Callable[[bytes], bytes] | None = None
        if kind == "zlib-stream":
            deflate = zlib.compressobj()
            self._compress = lambda text: deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)
        elif kind == "zstd-stream":
            zstd = zstandard.ZstdCompressor().compressobj()
            self._compress = lambda text: zstd.compress(text) + zstd.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    async def send(self, frame: JsonObject) -> None:
        """Send, unless who listens has gone."""
        text = json.dumps(frame, ensure_ascii=False)
        async with self._turn:
            try:
                if self._compress is None:
                    await self.response.send_str(text)
                else:
                    await self.response.send_bytes(self._compress(text.encode()))
            except (ConnectionError, RuntimeError):
                pass  # a session remembers it for RESUME

    async def close(self, code: int) -> None:
        self.closed_with = code
        await self.response.close(code=code, drain=False)

    def abort(self) -> None:
        """The connection breaks, without a word."""
        if self.request.transport is not None:
            self.request.transport.abort()


@dataclass
class Gateway:
    """The sessions, and what the one client that there is has done."""

    world: World
    faults: Faults
    token: str
    problem: Callable[[ProblemKind, str], None]
    url: str = ""
    heartbeat_ms: int = 41_250
    privileged_intents: int = 0
    sessions: dict[str, Session] = field(default_factory=dict)
    current: Session | None = None
    heartbeats: list[float] = field(default_factory=list)
    closes: list[int] = field(default_factory=list)
    identifies: list[JsonObject] = field(default_factory=list)
    resumes: list[JsonObject] = field(default_factory=list)
    replayed: int = 0
    sockets: set[Socket] = field(default_factory=set)

    @property
    def is_connected(self) -> bool:
        return self.current is not None and self.current.socket is not None

    async def dispatch(self, name: str, body: JsonObject) -> None:
        """Send an event to the session, or keep it until it resumes. AssertionError without a session."""
        session = self.current
        if session is None or not session.is_valid:
            raise AssertionError(f"no session is open that {name} could be sent to")
        event = session.event(name, body)
        if session.socket is not None:
            await session.socket.send(event)

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """One websocket from its handshake to its end."""
        if self.faults.handshakes_refused > 0:
            self.faults.handshakes_refused -= 1
            return web.Response(status=503, text="upstream connect error")
        response = web.WebSocketResponse(compress=False, max_msg_size=0, timeout=1.0)
        await response.prepare(request)
        socket = Socket(response, request)
        self.sockets.add(socket)
        try:
            await socket.send({"op": HELLO, "s": None, "t": None, "d": {"heartbeat_interval": self.heartbeat_ms}})
            code = await self._listen(socket)
            if code is not None:
                await socket.close(code)
        finally:
            self.sockets.discard(socket)
            self._leave(socket)
        return response

    async def _listen(self, socket: Socket) -> int | None:
        """Until the client goes (None), or has to be closed with a code."""
        while True:
            try:
                message = await socket.response.receive(timeout=self.heartbeat_ms / 1000 * 2.5)
            except TimeoutError:
                self.problem("silent", f"no heartbeat within 2.5 × {self.heartbeat_ms} ms")
                return 4000
            if message.type is not WSMsgType.TEXT:
                return None
            size = len(message.data.encode())
            if size > LARGEST_FRAME:
                self.problem("frame", f"a gateway frame of {size} bytes; at most {LARGEST_FRAME} are taken")
                return 4002
            now = time.monotonic()
            socket.frames = [*(at for at in socket.frames if at > now - FRAMES_WITHIN), now]
            if len(socket.frames) > MOST_FRAMES:
                self.problem("frame", f"more than {MOST_FRAMES} frames within {FRAMES_WITHIN:g} s")
                return 4008
            try:
                frame = json.loads(message.data)
            except ValueError:
                self.problem("frame", "a gateway frame that is not JSON")
                return 4002
            code = await self._take(socket, frame)
            self.world.changes.tell()
            if code is not None:
                return code

    async def _take(self, socket: Socket, frame: JsonObject) -> int | None:
        op, body = frame.get("op"), frame.get("d")
        if op == HEARTBEAT:
            self.heartbeats.append(time.monotonic())
            if self.faults.has_acks:
                await socket.send({"op": HEARTBEAT_ACK, "s": None, "t": None, "d": None})
            return None
        if op not in _KNOWN:
            self.problem("frame", f"a gateway frame with the unknown op {op}")
            return 4001
        if op == IDENTIFY:
            return await self._identify(socket, body or {})
        if op == RESUME:
            return await self._resume(socket, body or {})
        if socket.session is None:
            self.problem("frame", f"op {op} before IDENTIFY")
            return 4003
        return None

    async def _identify(self, socket: Socket, body: JsonObject) -> int | None:
        self.identifies.append(body)
        if socket.session is not None:
            self.problem("frame", "a second IDENTIFY on one socket")
            return 4005
        if self.faults.identify_closes:
            return self.faults.identify_closes.popleft()
        if body.get("token") != self.token or self.faults.is_token_refused:
            return 4004
        intents = body.get("intents", 0)
        if intents & PRIVILEGED & ~self.privileged_intents:
            return 4014
        session = Session(secrets.token_hex(16), intents)
        self.sessions[session.id] = self.current = session
        guilds = [guild for guild in self.world.guilds.values() if guild.has_bot] if intents & 1 else []
        ready = {
            "v": 10,
            "user": self.world.bot.payload() | {"verified": True, "mfa_enabled": True, "flags": 0, "email": None},
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "session_id": session.id,
            "resume_gateway_url": f"{self.url}/resume",
            "session_type": "normal",
            "private_channels": [],
            "relationships": [],
            "presences": [],
            "user_settings": {},
            "application": {"id": str(self.world.bot.id), "flags": 0},
            "auth": {},
        }
        if "shard" in body:
            ready["shard"] = body["shard"]
        self._join(socket, session)
        await socket.send(session.event("READY", ready))
        for guild in guilds:
            await socket.send(session.event("GUILD_CREATE", guild.payload()))
        return None

    async def _resume(self, socket: Socket, body: JsonObject) -> int | None:
        self.resumes.append(body)
        if body.get("token") != self.token or self.faults.is_token_refused:
            return 4004
        session = self.sessions.get(body.get("session_id", ""))
        sequence = body.get("seq")
        if session is None or not session.is_valid or not isinstance(sequence, int) or sequence > len(session.events):
            await socket.send({"op": INVALID_SESSION, "s": None, "t": None, "d": False})
            return None
        again, self.faults.replayed_again = self.faults.replayed_again, 0
        heard = [event for event in session.events[:sequence] if event["t"] == "INTERACTION_CREATE"]
        for event in heard[max(len(heard) - again, 0) :]:
            await socket.send(event)
            self.replayed += 1
        while sequence < len(session.events):  # what comes meanwhile, too
            await socket.send(session.events[sequence])
            sequence += 1
        self._join(socket, session)
        await socket.send(session.event("RESUMED", {"_trace": []}))
        return None

    def _join(self, socket: Socket, session: Session) -> None:
        if session.socket is not None:
            session.socket.abort()
        socket.session, session.socket, self.current = session, socket, session

    def _leave(self, socket: Socket) -> None:
        code = socket.closed_with or socket.response.close_code or 1006
        self.closes.append(code)
        session = socket.session
        if session is not None and session.socket is socket:
            session.socket = None
            if socket.closed_with is None and code in (1000, 1001):  # the client says that it will not come back
                session.is_valid = False
        self.world.changes.tell()
