"""Commands of a toy bot that does one of everything a desk can be asked for, on the real knowledge base."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import discord
from discord import app_commands

from bot import buttons, modals
from bot.desk import Desk
from bot.everywhere import everywhere
from bot.knowledge import Base
from bot.registry import _handlers, _openers, handles, opens
from bot.render import Button, Choice, Input, Modal, Reply, ReplyFile, escape
from bot.request import attachment_option
from bot.visit import FetchError, Refused, Visit
from nescord import errors

ran: list[str] = []
thought: list[str] = []
gate = threading.Event()


class ToyBot(discord.Client):
    """A client whose desk has the toys; `kind` is that of the desk."""

    def __init__(self, base: Base, kind: type[Desk] = Desk) -> None:
        super().__init__(intents=discord.Intents(guilds=True), max_messages=None)
        self.tree: app_commands.CommandTree[Any] = app_commands.CommandTree(self)
        self.desk = kind(base, self)
        self.tree.error(self.desk.failed)
        add_to(self.tree, self.desk)
        buttons.add_to(self, self.desk)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def on_ready(self) -> None:
        await self.desk.resume()

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        await modals.submitted(interaction, self.desk)

    async def close(self) -> None:
        # Cancelled meanwhile, it still has to leave the gateway.
        try:
            await self.desk.close()
        finally:
            await super().close()


def add_to(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    @tree.command(description="Do a thing")
    @everywhere
    async def toy(interaction: discord.Interaction, kind: str, text: str = "", share: bool = False) -> None:
        await desk.accept(interaction, f"toy.{kind}", {"text": text}, is_shared=share)

    @toy.autocomplete("text")
    async def texts(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        def found(visit: Visit) -> list[Choice]:
            if typed == "slow":
                gate.wait(4)
            if typed == "wrong":
                raise errors.CatalogError("/secret/path")
            return [Choice(space, space) for space in sorted(visit.spaces)]

        return await desk.autocomplete(interaction, found)

    @tree.command(description="Open a form")
    @everywhere
    async def form(interaction: discord.Interaction, kind: str = "") -> None:
        if kind:
            await desk.open(interaction, f"toy.{kind}", {})
        else:
            await desk.open_modal(interaction, Modal("toy.formed", "Form", [Input("text", "Text")], id="77"))

    @tree.command(description="Take a file")
    @everywhere
    async def file(interaction: discord.Interaction, file: discord.Attachment) -> None:
        await desk.accept(interaction, "toy.file", {"file": attachment_option(file)})

    @tree.command(description="Fails before the desk")
    @everywhere
    async def broken(interaction: discord.Interaction) -> None:
        raise ValueError("/secret/path")


@handles("toy.echo", quota="searches")
async def echo(visit: Visit) -> Reply:
    ran.append(visit.request.id)
    return Reply(body=escape(visit.request.string("text")))


@handles("toy.spaces")
async def spaces(visit: Visit) -> Reply:
    rights = f" manager={visit.is_manager} owner={visit.is_owner} {visit.request.context} {visit.language}"
    return Reply(body=",".join(sorted(visit.spaces)) + rights)


@handles("toy.keep", is_capture=True, quota="notes")
async def keep(visit: Visit) -> Reply:
    text = visit.request.string("text")
    ran.append(visit.request.id)
    note = await visit.call(visit.view.add_note, text, space=visit.who, author=visit.who, note_id=visit.request.note_id)
    return Reply(body=f"kept {note.id}")


@handles("toy.stubborn", is_capture=True, quota="notes")
async def stubborn(visit: Visit) -> Reply:
    """Fails as often as its text says."""
    ran.append(visit.request.id)
    if ran.count(visit.request.id) <= int(visit.request.string("text")):
        raise errors.LockTimeoutError("held")
    return await keep(visit)


@handles("toy.slow")
async def slow(visit: Visit) -> Reply:
    ran.append(visit.request.id)
    await visit.progress(Reply(body="half"))
    await visit.call(time.sleep, float(visit.request.string("text")))
    return Reply(body="slept")


@handles("toy.think", quota="answers")
async def think(visit: Visit) -> Reply:
    """As a model that says nothing until the gate is open."""
    ran.append(visit.request.id)
    thought.append(visit.request.string("text"))
    await visit.call(gate.wait, 20)
    return Reply(body=f"thought by {await visit.call(lambda: threading.current_thread().name)}")


@handles("toy.rich")
async def rich(visit: Visit) -> Reply:
    return Reply(
        title="rich", body="x", buttons=[Button("x", "toy_answer", "1")], files=[ReplyFile("a.md", b"a")], notices=["n"]
    )


@handles("toy.search")
async def search(visit: Visit) -> Reply:
    hits = await visit.call(visit.view.search, visit.request.string("text"), mode="keyword")
    return Reply(body=f"{len(hits)} hits")


@handles("toy.managed", managers_only=True)
async def managed(visit: Visit) -> Reply:
    return Reply(body="managed")


@handles("toy.fails")
async def fails(visit: Visit) -> Reply:
    name = visit.request.string("text")
    if name == "Refused":
        raise Refused("frame.managers_only")
    if name == "wrong words":
        raise Refused("frame.left_notes")
    if name == "no words":
        raise Refused("/secret/path")
    kind = getattr(errors, name, None) or {"FetchError": FetchError, "ZeroDivisionError": ZeroDivisionError}[name]
    raise kind("SELECT * FROM note; /secret/path")


@handles("toy.unshowable")
async def unshowable(visit: Visit) -> Reply:
    return Reply(body="x", buttons=[Button("x", "toy", "0" * 200)])


@handles("toy.buttons")
async def with_buttons(visit: Visit) -> Reply:
    return Reply(
        body="buttons",
        buttons=[
            Button("change", "toy_change", "1", more="a:b"),
            Button("answer", "toy_answer", "2"),
            Button("form", "toy_form", "3"),
            Button("fail", "toy_fail", "4"),
            Button("old", "toy_old", "5"),
        ],
    )


@handles("button.toy_change", updates=True)
async def change(visit: Visit) -> Reply:
    request = visit.request
    return Reply(body=f"changed {request.string('id')} {request.string('more')} {','.join(sorted(visit.spaces))}")


@handles("button.toy_answer")
async def answer(visit: Visit) -> Reply:
    return Reply(body=f"answer {visit.request.string('id')} {','.join(sorted(visit.spaces))}")


@handles("button.toy_fail", updates=True)
async def fail(visit: Visit) -> Reply:
    raise errors.NotFoundError("/secret/path")


@opens("button.toy_form")
async def button_form(visit: Visit) -> Modal:
    return Modal("toy.formed", "Form", [Input("text", "Text", value=visit.who)], id=visit.request.string("id"))


@opens("toy.refusing")
async def refusing(visit: Visit) -> Modal | Reply:
    raise Refused("errors.quota_off")


@opens("toy.slow_form")
async def slow_form(visit: Visit) -> Modal | Reply:
    await visit.call(gate.wait, 4)
    return Reply(body="too late")


@handles("toy.formed", is_form=True)
async def formed(visit: Visit) -> Reply:
    return Reply(body=f"formed {visit.request.string('id')} {escape(visit.request.string('text'))}")


@handles("toy.file")
async def take(visit: Visit) -> Reply:
    file = visit.request.options["file"]
    assert isinstance(file, dict)
    try:
        content = await visit.fetch(str(file["url"]), 100)
    except FetchError as error:
        return Reply(body=f"not got, too large: {error.too_large}")
    return Reply(body=f"{file['name']} {content.decode()}")


_TOYS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (table, {kind: table.pop(kind) for kind in list(table) if kind.removeprefix("button.").startswith("toy")})
    for table in (_handlers, _openers)
]


@contextmanager
def registered() -> Iterator[None]:
    """The toys are answered in this block only: other tests of this process go through all kinds there are."""
    for table, toys in _TOYS:
        table.update(toys)
    try:
        yield
    finally:
        for table, toys in _TOYS:
            for kind in toys:
                del table[kind]
