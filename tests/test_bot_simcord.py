"""The bot at simcord, a second and independent idea of what Discord says: commands, menus, buttons, forms.

simcord runs the client within this process and without sockets. Where it and our fake disagree, one of them is wrong.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import simcord
from discord import Permissions
from simcord.http import router
from simcord.http.routes import interactions as replies

from bot.client import NescordBot
from bot.health import Health
from bot.knowledge import Base
from nescord.settings import Settings

# discord.py quotes the @ of @original where it takes a message's id. HTTP makes no difference; simcord, which has none,
# compares letters.
for _method, _answer in (("PATCH", replies.edit_original_response), ("DELETE", replies.delete_original_response)):
    router.route(_method, "/webhooks/{webhook_id}/{token}/messages/%40original")(_answer)


@dataclass(frozen=True, slots=True)
class Scene:
    """A guild with a channel, and two people in it: one of them manages it."""

    env: simcord.Env
    channel: simcord.ChannelHandle
    ada: simcord.MemberActor
    ben: simcord.MemberActor


Play = Callable[[Scene], Awaitable[None]]


def played(folder: Path, play: Play) -> None:
    """Open a bot with its commands registered, and act."""

    async def main() -> None:
        settings = Settings(data_dir=folder / "kb", embedder="none")
        with Base.open(settings) as base:
            bot = NescordBot(base, Health(folder, is_told=False))
            async with simcord.run(bot, settle_timeout=20) as env:
                await bot.tree.sync()
                guild = env.create_guild("Home")
                manages = guild.create_role("managers", permissions=Permissions(manage_guild=True))
                ada = guild.add_member(env.create_user("ada"), roles=[manages])
                ben = guild.add_member(env.create_user("ben"))
                await play(Scene(env, guild.create_text_channel("talk"), ada, ben))
                env.raise_errors()
                await bot.desk.close(2)

    asyncio.run(main())


def test_a_note_is_kept_found_edited_and_deleted(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        channel, ada = scene.channel, scene.ada
        kept = await ada.slash(channel, "note add", text="The key is in the red box", title="Key")
        assert kept.acknowledged
        assert kept.ephemeral
        assert "Key" in said(kept)
        found = await ada.slash(channel, "search", query="red box")
        assert "red box" in said(found).replace("*", "")
        assert "red box" not in said(await scene.ben.slash(channel, "search", query="red box")).partition("\n")[2]
        form = await ada.click(reply(kept), label="Edit")
        assert form.modal is not None
        names = {each["custom_id"]: each for each in fields(form.modal)}
        text = next(name for name, each in names.items() if each.get("style") == 2)
        edited = await ada.submit_modal(form, {text: "The key is under the mat"})
        assert edited.acknowledged
        assert "mat" in said(await ada.slash(channel, "search", query="mat"))
        asked = await ada.click(reply(kept), label="Delete")
        assert asked.ephemeral
        assert any(each.get("label") for each in buttons(asked))

    played(tmp_path, play)


def test_a_form_keeps_a_note(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        form = await scene.ada.slash(scene.channel, "note add")
        assert form.modal is not None
        text = next(each["custom_id"] for each in fields(form.modal) if each.get("style") == 2)
        kept = await scene.ada.submit_modal(form, {text: "Said in a form"})
        assert kept.ephemeral
        assert "Said in a form" in said(kept)

    played(tmp_path, play)


def test_a_message_is_saved_once(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        message = await scene.ben.send(scene.channel, "The meeting is at nine")
        first = await scene.ada.context_menu(scene.channel, "Save to notes", message)
        again = await scene.ada.context_menu(scene.channel, "Save to notes", message)
        assert first.ephemeral
        assert "The meeting is at nine" in said(first)
        assert said(again) != said(first)
        listed = said(await scene.ada.slash(scene.channel, "note list"))
        assert listed.count("The meeting is at nine") == 1

    played(tmp_path, play)


def test_titles_are_offered_to_who_may_see_them(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        await scene.ada.slash(scene.channel, "note add", text="x", title="Recipe for tea")
        await scene.ben.slash(scene.channel, "note add", text="y", title="Recipe for soup", where="server")
        offered = await scene.ada.autocomplete(scene.channel, "note show", "note", "Recipe")
        assert sorted(choice["name"].partition(" · ")[0] for choice in offered) == ["Recipe for soup", "Recipe for tea"]
        offered = await scene.ben.autocomplete(scene.channel, "note show", "note", "Recipe")
        assert [choice["name"].partition(" · ")[0] for choice in offered] == ["Recipe for soup"]

    played(tmp_path, play)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("status", {}),
        ("help", {}),
        ("settings", {}),
        ("privacy show", {}),
        ("note list", {}),
        ("review", {}),
        ("review", {"period": "spaced"}),
        ("ask", {"question": "Where is the key?"}),
        ("related", {"note": "nothing"}),
    ],
)
def test_a_command_is_acknowledged_and_answered_to_one_person(
    tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    async def play(scene: Scene) -> None:
        result = await scene.ada.slash(scene.channel, name, **options)
        assert (result.acknowledged, result.ephemeral) == (True, True)
        assert said(result)

    played(tmp_path, play)


def test_a_command_for_managers_is_refused_to_others(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        refused = said(await scene.ben.slash(scene.channel, "flow status"))
        assert refused != said(await scene.ada.slash(scene.channel, "flow status"))

    played(tmp_path, play)


def test_every_command_that_is_registered_can_be_named(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        there = {name.partition(" ")[0] for name in scene.ada.available_commands(scene.channel)}
        assert {"search", "ask", "note", "related", "review", "digest", "privacy", "settings", "status"} <= there

    played(tmp_path, play)


def reply(result: simcord.InteractionResult) -> simcord.ResponseMessage:
    message = result.response
    assert message is not None, result
    return message


def said(result: simcord.InteractionResult) -> str:
    """All that can be read in the reply."""
    message = reply(result)
    parts = [message.content]
    for embed in message.embeds:
        parts += [embed.title or "", embed.description or ""]
        parts += [f"{row.name}\n{row.value}" for row in embed.fields]
        parts.append(embed.footer.text or "")
    return inspect.cleandoc("\n".join(filter(None, parts)))


def fields(modal: dict[str, object]) -> list[dict[str, object]]:
    found = []
    for row in modal["components"]:  # type: ignore[attr-defined]
        found += [row["component"]] if "component" in row else row.get("components", [])
    return found


def buttons(result: simcord.InteractionResult) -> list[dict[str, object]]:
    return [each for row in reply(result).components for each in row.get("components", [])]
