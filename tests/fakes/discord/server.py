"""The fake itself: one server for REST, Gateway and CDN in a thread, and what tests tell it and ask of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, TypeVar

from aiohttp import web

from tests.fakes.discord import openapi
from tests.fakes.discord.acting import Acting
from tests.fakes.discord.commands import Commands
from tests.fakes.discord.faults import Faults, Strike
from tests.fakes.discord.gateway import INVALID_SESSION, RECONNECT, Gateway, Session, Socket
from tests.fakes.discord.interactions import Call, Interactions
from tests.fakes.discord.messages import File, Message
from tests.fakes.discord.people import Channel, Guild, User
from tests.fakes.discord.recording import Problem, ProblemKind, Recorded
from tests.fakes.discord.rest import PREFIX, Rest
from tests.fakes.discord.world import World

JsonObject = dict[str, Any]
T = TypeVar("T")

TOKEN = "MTExMTExMTExMTExMTExMTExMQ.fake00.not-a-token-that-discord-ever-issued"


class DiscordFake(Acting):
    """`with DiscordFake() as discord:` serves on a free port of the loopback until the block ends.

    `api_base` goes into DISCORD_API_BASE, `gateway` into DISCORD_GATEWAY, `token` into DISCORD_TOKEN.
    """

    def __init__(self, *, port: int = 0, token: str = TOKEN, heartbeat_ms: int = 41_250) -> None:
        self.token, self.port = token, port
        self.world, self.faults = World(), Faults()
        self.world.add_user(self.world.bot)
        self.commands = Commands(self.world.bot.id)
        self.interactions = Interactions(self.world)
        self.rest = Rest(self.world, self.commands, self.interactions, self.faults, token=token)
        self.gateway_side = Gateway(self.world, self.faults, token, self.rest.problem, heartbeat_ms=heartbeat_ms)
        self._loop: asyncio.AbstractEventLoop
        self._ending: asyncio.Event
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="fake-discord", daemon=True)

    # Who and what there is.

    def user(self, id: int, name: str, **more: Any) -> User:  # noqa: A002 - as Discord calls it
        """A person. `more`: locale, has_installed, accepts_messages."""
        return self.world.add_user(User(id, name, **more))

    def guild(self, id: int, name: str = "Guild", **more: Any) -> Guild:  # noqa: A002
        """A server with a channel "general". `more`: locale, has_bot."""
        guild = self.world.add_guild(Guild(id, name, self.world.bot, **more))
        if guild.has_bot and self.gateway_side.is_connected:
            self._do(self.gateway_side.dispatch("GUILD_CREATE", guild.payload()))
        return guild

    def channel(self, guild: Guild, name: str, *, id: int = 0, can_send: bool = True) -> Channel:  # noqa: A002
        """One more text channel."""
        channel = self.world.add_channel(guild, name, channel_id=id, can_send=can_send)
        if guild.has_bot and self.gateway_side.is_connected:
            self._do(self.gateway_side.dispatch("CHANNEL_CREATE", channel.payload()))
        return channel

    def message(
        self,
        author: User,
        content: str = "",
        *,
        guild: Guild | None = None,
        channel: Channel | None = None,
        files: Sequence[File] = (),
        embeds: Sequence[JsonObject] = (),
    ) -> Message:
        """Something that a person has written: in a guild, in a channel, or to the bot."""
        place = channel or (guild.general if guild else self.world.direct(author))
        return self.world.post(place, author, {"content": content, "embeds": list(embeds)}, files)

    # What has become of it.

    @property
    def requests(self) -> list[Recorded]:
        return self.rest.requests

    @property
    def problems(self) -> list[Problem]:
        return self.rest.problems

    @property
    def calls(self) -> list[Call]:
        return self.interactions.calls

    @property
    def client_closes(self) -> list[int]:
        """The codes with which the client's websockets ended (1006: broke off)."""
        return self.gateway_side.closes

    def close_code(self, timeout: float = 10) -> int:
        """The code with which the last websocket ended, once none is open."""
        side = self.gateway_side
        self.world.changes.wait(lambda: side.closes and not side.sockets, timeout, "the websocket to be closed")
        return side.closes[-1]

    def requests_of(self, route: str) -> list[Recorded]:
        """Requests whose "METHOD /template" has that part."""
        return [record for record in list(self.requests) if route in record.route]

    def channel_messages(self, channel: Channel | int) -> list[Message]:
        """What everyone in it sees, oldest first."""
        number = channel if isinstance(channel, int) else channel.id
        return self.world.visible(self.world.channels[number])

    def direct_messages(self, user: User) -> list[Message]:
        """What lies in the DM between the bot and `user`, oldest first."""
        return self.world.visible(self.world.direct(user))

    def wait_until(self, until: Any, timeout: float = 10, what: str = "it") -> None:
        self.world.changes.wait(until, timeout, what)

    def wait_ready(self, timeout: float = 30, *, after: int = 0) -> None:
        """Until a session is open whose socket is there; `after`: more than so many IDENTIFYs and RESUMEs."""
        side = self.gateway_side

        def is_ready() -> bool:
            return side.is_connected and len(side.identifies) + len(side.resumes) > after

        self.world.changes.wait(is_ready, timeout, lambda: f"READY; the client sent {self.requests[-5:]}")

    def wait_synced(self, timeout: float = 30) -> None:
        """Until the app has commands."""
        self.world.changes.wait(lambda: self.commands.registered, timeout, "commands to be registered")

    @property
    def connections(self) -> int:
        """How often a client has identified or resumed so far: for `wait_ready(after=…)`."""
        return len(self.gateway_side.identifies) + len(self.gateway_side.resumes)

    def check(self, *, allow: Collection[ProblemKind] = ()) -> None:
        """AssertionError if Discord would have found fault with anything so far, but for the kinds to `allow`.

        Waits for the acknowledgement of interactions that are younger than 3 s.
        """
        within = self.interactions.seconds_to_acknowledge
        for call in list(self.calls):
            while call.acknowledged is None and call.age < within and not call.is_excused:
                time.sleep(0.02)
        found = list(self.problems)
        found += [
            Problem("unacknowledged", f"{call}: no answer within {within:g} s")
            for call in self.calls
            if call.acknowledged is None and not call.is_excused
        ]
        found += [
            Problem("invalid", f"{record}: {complaint} (by Discord's OpenAPI document)")
            for record in self.requests
            if record.status < 400 and (complaint := openapi.complaint(record))
        ]
        wrong = [str(problem) for problem in found if problem.kind not in allow]
        assert not wrong, "Discord would have found fault with this:\n" + "\n".join(wrong)

    # What goes wrong.

    def rate_limit(
        self, route: str, n: int = 1, retry_after: float = 0.3, *, is_global: bool = False, by_cloudflare: bool = False
    ) -> None:
        """The next `n` requests whose "METHOD /template" has that part get a 429."""
        self.faults.plan(Strike("limit", route, n, retry_after, is_global=is_global, by_cloudflare=by_cloudflare))

    def fail(self, route: str, n: int = 1, status: int = 500) -> None:
        """The next `n` get that status, and nothing is done."""
        self.faults.plan(Strike("status", route, n, status=status))

    def reset(self, route: str, n: int = 1) -> None:
        """The connections of the next `n` break, and nothing is done."""
        self.faults.plan(Strike("reset", route, n))

    def lose_answer(self, route: str, n: int = 1) -> None:
        """The next `n` are done, and their connections break before the answer."""
        self.faults.plan(Strike("lost", route, n))

    def hold(self, route: str, seconds: float, n: int = 1) -> None:
        """The next `n` arrive only after so many seconds."""
        self.faults.plan(Strike("hold", route, n, seconds))

    def hold_callback(self, seconds: float, n: int = 1) -> None:
        """The next `n` acknowledgements arrive only after so many seconds."""
        self.hold("/callback", seconds, n)

    def refuse_token(self) -> None:
        """From now on the token is wrong: 401, and 4004 at IDENTIFY and RESUME."""
        self.faults.is_token_refused = True

    def refuse_identify(self, code: int = 4014, n: int = 1) -> None:
        """The next `n` IDENTIFYs are answered by closing with that code."""
        self.faults.identify_closes.extend([code] * n)

    def refuse_handshakes(self, n: int = 1) -> None:
        """The next `n` websockets do not come about: HTTP 503."""
        self.faults.handshakes_refused = n

    def stop_acks(self) -> None:
        """Heartbeats are no longer answered."""
        self.faults.has_acks = False

    def set_latency(self, seconds: float) -> None:
        """Every REST request takes so much longer."""
        self.faults.latency = seconds

    def heal(self) -> None:
        """No more faults."""
        self.faults.clear()

    def replay(self, events: int = 1) -> None:
        """At the next RESUME the last `events` interactions that were delivered already are sent once more."""
        self.faults.replayed_again = events

    def drop_socket(self) -> None:
        """The websocket breaks without a close frame (1006); the session can be resumed."""
        self._do(self._drop())

    def close_with(self, code: int) -> None:
        """Close the websocket with that code."""
        self._do(self._socket().close(code))

    def op7(self) -> None:
        """Ask the client to reconnect."""
        self._do(self._socket().send({"op": RECONNECT, "s": None, "t": None, "d": None}))

    def op9(self, *, resumable: bool = False) -> None:
        """The session is invalid; if not `resumable`, its events are lost."""
        self._do(self._invalidate(resumable))

    async def _drop(self) -> None:
        self._socket().abort()

    async def _invalidate(self, resumable: bool) -> None:
        socket = self._socket()
        if not resumable and socket.session is not None:
            socket.session.is_valid = False
        await socket.send({"op": INVALID_SESSION, "s": None, "t": None, "d": resumable})

    def _socket(self) -> Socket:
        session: Session | None = self.gateway_side.current
        assert session is not None, "the bot is not connected"
        assert session.socket is not None, "the bot is not connected"
        return session.socket

    # The server.

    def __enter__(self) -> DiscordFake:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the fake did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(10)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        for path in ("/gateway", "/gateway/", "/resume"):
            app.router.add_get(path, self.gateway_side.connect)
        self.rest.add_to(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.api_base = self.url + PREFIX
        self.gateway = f"ws://127.0.0.1:{self.port}/gateway"
        self.world.cdn_base = self.url
        self.rest.gateway_url, self.gateway_side.url = self.gateway, self.gateway.removesuffix("/gateway")
        self._ready.set()
        await self._ending.wait()
        for socket in list(self.gateway_side.sockets):
            socket.abort()
        await runner.cleanup()
