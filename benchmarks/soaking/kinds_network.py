"""Faults of what the service talks to: Gemini, Discord, the bucket, the git host."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.soaking.faults import Kind, MissedError, until
from benchmarks.soaking.kinds_history import BASE, backed_up

if TYPE_CHECKING:
    from benchmarks.soaking.world import World
    from tests.fakes.discord import DiscordFake
    from tests.fakes.gemini.faults import Fault as GeminiFault
    from tests.faults.proxy import Fault

GEMINI = frozenset({"gemini"})
DISCORD = frozenset({"discord"})
BUCKET = frozenset({"the bucket", BASE})
GIT = frozenset({"the git host"})
_STORM = (5.0, 20.0)
_OUTAGE = (3.0, 10.0)
_BACK = 45.0
_BROKEN: Sequence[int | GeminiFault] = (500, 503, "reset", "lost", "cut", "timeout", "garbage", "short")
_LOST = frozenset({"lost", "cut", "short", "garbage", "reset", "timeout"})


class GeminiStorm(Kind):
    """Every call, or most of them, goes wrong for a while."""

    weight = 3
    uses = GEMINI

    def __init__(self, name: str, kinds: Sequence[int | GeminiFault], rate: tuple[float, float]) -> None:
        self.name, self._kinds, self._rate = name, kinds, rate

    def do(self, world: World, rng: random.Random) -> str:
        seconds, rate = rng.uniform(*_STORM), rng.uniform(*self._rate)
        before = sum(world.gemini.struck.values())
        retry_after = rng.choice((None, 1.0, 3.0)) if 429 in self._kinds else None
        world.gemini.fail(self._kinds, rate=rate, retry_after=retry_after, seed=rng.getrandbits(16))
        world.stop.wait(seconds)
        world.gemini.heal()
        struck = sum(world.gemini.struck.values()) - before
        if not struck:
            raise MissedError(f"nobody called for {seconds:.0f} s")
        return f"{struck} calls struck in {seconds:.0f} s, {rate:.0%} of all"

    def heal(self, world: World) -> None:
        world.gemini.heal()


class DiscordStorm(Kind):
    """REST requests of the bot go wrong for a while."""

    weight = 2
    uses = DISCORD

    def __init__(self, name: str, begin: Callable[[DiscordFake, random.Random], None]) -> None:
        self.name, self._begin = name, begin

    def do(self, world: World, rng: random.Random) -> str:
        seconds = rng.uniform(*_STORM)
        before = sum(world.discord.faults.struck.values())
        self._begin(world.discord, rng)
        world.stop.wait(seconds)
        struck = sum(world.discord.faults.struck.values()) - before
        if not struck:
            raise MissedError(f"the bot asked for nothing for {seconds:.0f} s")
        return f"{struck} requests struck in {seconds:.0f} s"

    def heal(self, world: World) -> None:
        world.discord.heal()


def _limits(discord: DiscordFake, rng: random.Random) -> None:
    route = rng.choice(("/webhooks", "PATCH /webhooks", ""))
    discord.rate_limit(route, rng.randint(3, 25), rng.uniform(0.2, 2), is_global=rng.random() < 0.3)


def _errors(discord: DiscordFake, rng: random.Random) -> None:
    for _ in range(rng.randint(2, 6)):
        route, times = rng.choice(("/webhooks", "/callback")), rng.randint(1, 4)
        rng.choice((discord.fail, discord.reset, discord.lose_answer))(route, times)


class GatewayCut(Kind):
    """The websocket breaks, or Discord ends it in one of its ways."""

    name = "Discord's gateway is cut"
    weight = 3
    uses = DISCORD

    def do(self, world: World, rng: random.Random) -> str:
        discord = world.discord
        ways: Mapping[str, Callable[[], None]] = {
            "broken off": discord.drop_socket,
            "asked to reconnect": discord.op7,
            "the session is invalid": discord.op9,
            "the session is invalid, and can be resumed": lambda: discord.op9(resumable=True),
            "closed with 4000": lambda: discord.close_with(4000),
            "closed with 4009": lambda: discord.close_with(4009),
        }
        way = rng.choice(sorted(ways))
        discord.refuse_handshakes(rng.choice((0, 0, 1, 3)))
        return f"{way}, {_reconnected(world, ways[way])}"

    def heal(self, world: World) -> None:
        world.discord.heal()


class Replayed(Kind):
    """At a reconnection Discord sends interactions once more that it has sent already."""

    name = "interactions are replayed"
    weight = 2
    uses = DISCORD

    def do(self, world: World, rng: random.Random) -> str:
        before = world.discord.gateway_side.replayed
        world.discord.replay(rng.randint(2, 12))
        _reconnected(world, world.discord.drop_socket)
        if not (again := world.discord.gateway_side.replayed - before):
            raise MissedError("there was nothing in this session to send again")
        return f"{again} interactions sent once more"

    def heal(self, world: World) -> None:
        world.discord.faults.replayed_again = 0


def _reconnected(world: World, cut: Callable[[], None]) -> str:
    """Cut the gateway and wait for the bot; what shows that it was cut.

    Raises:
        MissedError: it was not connected.
    """
    discord, closes, connections = world.discord, len(world.discord.client_closes), world.discord.connections
    try:
        cut()
    except AssertionError as error:
        raise MissedError(str(error)) from None
    if not until(lambda: len(discord.client_closes) > closes, 10):
        raise MissedError("the websocket did not end")
    back = until(lambda: discord.connections > connections or world.stop.is_set(), _BACK)
    return f"a websocket ended with {discord.client_closes[closes]}, " + ("then another" if back else "none yet")


class BucketBroken(Kind):
    """A copy of a backup is sent while the bucket does not do what it should."""

    weight = 2
    uses = BUCKET

    def __init__(self, name: str, faults: Sequence[Fault]) -> None:
        self.name, self._faults = name, faults

    def do(self, world: World, rng: random.Random) -> str:
        fault, share = rng.choice(self._faults), rng.randint(0, 3)
        backed_up(world)
        before = sum(world.s3.proxy.struck.values())
        if fault == "slow":
            world.s3.proxy.cause("slow", delay=rng.uniform(0.2, 1.0))
        else:
            world.s3.proxy.cause(fault, after=share)
        done = world.platform.cli("backup", "replicate", "--json", seconds=90)
        world.s3.proxy.heal()
        struck = sum(world.s3.proxy.struck.values()) - before
        if not struck:
            raise MissedError(f"nothing was sent: exit code {done.code}: {done.err.strip()[-200:]}")
        return f"{fault}: {struck} requests struck, replicate ended with {done.code}"

    def heal(self, world: World) -> None:
        world.s3.proxy.heal()


class BucketAway(Kind):
    """Nobody listens where the bucket was."""

    name = "the bucket is away"
    weight = 1
    uses = BUCKET

    def do(self, world: World, rng: random.Random) -> str:
        backed_up(world)
        with world.s3.proxy.outage():  # which looks whether nobody listens
            done = world.platform.cli("backup", "replicate", "--json", seconds=90)
            world.stop.wait(rng.uniform(0, 3))
        if done.code == 0:
            raise AssertionError("a copy was sent to nobody")
        return f"nobody listened, replicate ended with {done.code}"


class GitAway(Kind):
    """The git host answers nothing but an error, or too late."""

    name = "the git host is away"
    weight = 2
    uses = GIT

    def do(self, world: World, rng: random.Random) -> str:
        seconds, status, host = rng.uniform(*_OUTAGE), rng.choice((500, 503, 429, 404)), world.git.host
        before = len(host.asked)
        host.status = status
        done = world.platform.cli("ingest", "--json", seconds=60)
        world.stop.wait(seconds)
        host.status = 0
        asked = len(host.asked) - before
        if not asked:
            raise MissedError(f"nobody asked it: ingest ended with {done.code}: {done.err.strip()[-200:]}")
        return f"{asked} requests answered with {status}, ingest ended with {done.code}"

    def heal(self, world: World) -> None:
        world.git.host.status = 0


class GitForced(Kind):
    """Somebody rewrites the last commit of the vault, and what it says."""

    name = "a forced push"
    weight = 1
    uses = GIT

    def do(self, world: World, rng: random.Random) -> str:
        if not world.git.files:
            raise MissedError("the vault is empty")
        path = rng.choice(sorted(world.git.files))
        text = f"{world.git.files[path].rstrip()}\n\nRewritten {rng.getrandbits(32):08x}.\n"
        before = world.git.head
        after = world.git.push({path: text}, amend=True)
        if world.git.is_ancestor(before, after):
            raise AssertionError("the push was no forced one")
        return f"{before[:8]} is no more in the history of {after[:8]}"


def kinds() -> list[Kind]:
    """The faults of this module, always in the same order."""
    return [
        GeminiStorm("Gemini refuses (429)", (429,), (0.7, 1.0)),
        GeminiStorm("Gemini breaks (5xx, cut, lost)", _BROKEN, (0.4, 0.9)),
        DiscordStorm("Discord refuses (429)", _limits),
        DiscordStorm("Discord breaks (5xx, cut, lost)", _errors),
        GatewayCut(),
        Replayed(),
        BucketBroken("the bucket breaks", ("unavailable", "reset", "error", "lost answer", "truncated", "full")),
        BucketBroken("the bucket is slow", ("slow",)),
        BucketAway(),
        GitAway(),
        GitForced(),
    ]
