"""The toy bot at the fake Discord: opened with any desk and settings, asked for its toys, and looked into."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from bot.desk import Desk
from bot.knowledge import Base
from nescord.locks import LockName, Locks
from nescord.settings import Settings
from tests import desk_toys
from tests.desk_toys import ToyBot
from tests.discord_world import running_client
from tests.fakes.discord import Call, DiscordFake, Guild, User

Opening = Callable[..., ToyBot]


def settings(folder: Path, **more: object) -> Settings:
    return Settings(data_dir=folder / "kb", embedder="none", lock_timeout=20, **more)  # type: ignore[arg-type]


@contextmanager
def opening(folder: Path, fake: DiscordFake) -> Iterator[Opening]:
    """Opens the toy bot, with more settings; all is closed at the end."""
    desk_toys.ran.clear()
    desk_toys.thought.clear()
    desk_toys.gate.clear()
    with desk_toys.registered(), ExitStack() as stack:

        def opened(kind: type[Desk] = Desk, **more: object) -> ToyBot:
            base = stack.enter_context(Base.open(settings(folder, discord_api_base=fake.api_base, **more)))
            client = stack.enter_context(running_client(fake, lambda: ToyBot(base, kind)))
            assert isinstance(client, ToyBot)
            fake.wait_synced()
            return client

        yield opened
        desk_toys.gate.set()


def toy(fake: DiscordFake, who: User, kind: str, text: str = "", guild: Guild | None = None, **more: object) -> Call:
    return fake.slash(who, "toy", {"kind": kind, "text": text, **more}, guild=guild)


def eventually(holds: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_settled(client: ToyBot) -> bool:
    return client.desk.base.inbox.pending() == []


def notes_of(client: ToyBot, who: User) -> list[str]:
    return [note.title for note in client.desk.base.view({f"user:{who.id}"}).recent_notes(limit=50)]


def held(of: Settings) -> AbstractContextManager[None]:
    return Locks(Path(str(of.data_dir)) / "run", timeout=5).exclusive(LockName.CATALOG)
