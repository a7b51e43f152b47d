"""Commands of the bot at the fake Discord: the real client in a thread, with a knowledge base that tests look into."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from uuid import uuid4

import discord
from discord import app_commands
from vaults import open_base

from bot import buttons, modals
from bot.commands import (
    about,
    ask,
    digesting,
    flows,
    notes,
    privacy,
    related,
    reviewing,
    saving,
    search,
    settings,
)
from bot.desk import Desk
from bot.knowledge import Base
from bot.registry import handler_of
from bot.render import Reply
from bot.request import JSON, Language, Request
from bot.texts import CommandTexts, text
from bot.visit import Visit
from nescord import KnowledgeManager
from nescord.embedding import Embedder
from nescord.identifiers import uuid7
from nescord.scoped import ScopedKnowledge
from tests.discord_world import running_client
from tests.fakes.discord import MANAGE_GUILD, DiscordFake, Guild, Message, User

OURS = (search, ask, notes, related, saving, reviewing, digesting, flows, privacy, settings, about)
OWNER = 1


class SmallBot(discord.Client):
    """A client that has the commands of some modules and nothing else."""

    def __init__(self, base: Base, modules: tuple[ModuleType, ...]) -> None:
        super().__init__(intents=discord.Intents(guilds=True), max_messages=None)
        self.tree: app_commands.CommandTree[Any] = app_commands.CommandTree(self)
        self.desk = Desk(base, self)
        self.tree.error(self.desk.failed)
        for module in modules:
            module.add_to(self.tree, self.desk)
        buttons.add_to(self, self.desk)

    async def setup_hook(self) -> None:
        await self.tree.set_translator(CommandTexts())
        await self.tree.sync()

    async def on_ready(self) -> None:
        await self.desk.resume()

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        await modals.submitted(interaction, self.desk)

    async def close(self) -> None:
        try:
            await self.desk.close()
        finally:  # who waits for us cancels us once a second
            await super().close()


@dataclass
class BotWorld:
    """A Discord with two guilds: in `home` are Ada (English), Ben (Japanese) and Mia, who manages it; Eve is in the
    other one alone. The owner of the knowledge base is in `home`, too."""

    fake: DiscordFake
    folder: Path
    km: KnowledgeManager = field(init=False)

    def __post_init__(self) -> None:
        fake = self.fake
        self.home = fake.guild(7, "Home")
        self.other = fake.guild(8, "Other")
        self.ada = fake.user(42, "ada", locale="en-US")
        self.ben = fake.user(43, "ben", locale="ja")
        self.mia = fake.user(44, "mia", locale="en-US")
        self.eve = fake.user(45, "eve", locale="en-US")
        self.owner = fake.user(OWNER, "owner", locale="en-US")
        for user in (self.ada, self.ben, self.owner):
            self.home.member(user)
        self.home.member(self.mia, MANAGE_GUILD)
        self.other.member(self.eve, MANAGE_GUILD)

    @contextmanager
    def bot(self, *, embedder: Embedder | str = "none", **settings: object) -> Iterator[KnowledgeManager]:
        """The bot, connected, over the knowledge base in `folder`; again, it is the next process."""
        km = open_base(
            self.folder / "kb",
            embedder=embedder,
            vector="exact",
            owner_ids=frozenset({OWNER}),
            discord_api_base=self.fake.api_base,
            **settings,
        )
        self.km = km
        with km, running_client(self.fake, lambda: SmallBot(Base(km, km._base.settings), OURS)):
            self.fake.wait_synced()
            yield km
        self.fake.check()

    def view(self, *spaces: str) -> ScopedKnowledge:
        """The knowledge base as far as these spaces go."""
        return self.km.scoped(spaces)

    def answer(self, user: User, command: str, guild: Guild | None = None, **options: object) -> Message:
        """What the bot answers to a slash command."""
        return self.fake.slash(user, command, options, guild=guild).wait()

    def click(self, user: User, message: Message, key: str, **values: object) -> Message:
        """What it answers to a button: with a label as it is, or one of the catalogue in the person's language."""
        return self.fake.click(user, message, said(user, key, **values) if "." in key else key).wait()


@contextmanager
def bot_world(folder: Path) -> Iterator[BotWorld]:
    """A Discord, and no bot yet."""
    with DiscordFake() as fake:
        yield BotWorld(fake, folder)


def said(user: User, key: str, **values: object) -> str:
    """A text of the catalogue as that person reads it."""
    return text(key, "ja" if user.locale == "ja" else "en", **values)


@contextmanager
def visiting(
    world: BotWorld,
    user: User,
    kind: str = "test",
    options: Mapping[str, JSON] | None = None,
    *,
    guild: Guild | None = None,
    is_manager: bool = False,
    is_shared: bool = False,
    language: Language = "en",
    note_id: str = "",
) -> Iterator[Visit]:
    """What a handler is given, without an interaction of Discord behind it."""
    request = Request(
        id=str(uuid4().int >> 64),
        kind=kind,
        options=options or {},
        user=user.id,
        user_name=user.name,
        guild=guild.id if guild else None,
        channel=1,
        context="guild" if guild else "dm",
        language=language,
        is_manager=is_manager,
        is_shared=is_shared,
        application=1,
        token="token",
        note_id=note_id or str(uuid7()),
        accepted_at=datetime.now(UTC),
    )
    with ThreadPoolExecutor(2) as threads:
        yield Visit(request, Base(world.km, world.km._base.settings), language, threads=threads, show=_nowhere)


def forged(world: BotWorld, user: User, kind: str, options: Mapping[str, JSON], **more: Any) -> Reply:
    """What the handler of that kind answers to an interaction that no client would send: a button that is not there.
    `more` is as for `visiting`."""
    handler = handler_of(kind)
    assert handler is not None
    with visiting(world, user, kind, options, **more) as visit:
        return asyncio.run(cast(Coroutine[Any, Any, Reply], handler.function(visit)))


async def _nowhere(_: Reply) -> None:
    pass
