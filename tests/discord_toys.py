"""A small bot on the real discord.py that does one of everything, as correctly as Discord wants it."""

from __future__ import annotations

import io

import discord
from discord import app_commands

INTENTS = discord.Intents(guilds=True)


class Toy(discord.Client):
    """Its commands are registered at the start; `seen` are the interactions in their order."""

    def __init__(self) -> None:
        super().__init__(intents=INTENTS, allowed_mentions=discord.AllowedMentions.none(), max_messages=None)
        self.tree = app_commands.CommandTree(self)
        self.seen: list[int] = []
        for command in (echo, ask, form, noted, Counting()):
            self.tree.add_command(command)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        self.seen.append(interaction.id)


class Idle(discord.Client):
    """Connects and answers nothing; a test answers for it."""

    def __init__(self) -> None:
        super().__init__(intents=INTENTS)


@app_commands.command(description="Say it again")
async def echo(interaction: discord.Interaction, text: str, file: discord.Attachment | None = None) -> None:
    await interaction.response.defer(ephemeral=True)
    files = [] if file is None else [discord.File(io.BytesIO(await file.read()), "copy.txt")]
    await interaction.edit_original_response(content=text, attachments=files)


@app_commands.command(description="Ask with a button")
async def ask(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("Sure?", view=Asking(), ephemeral=True)


@app_commands.command(description="Fill in a form")
async def form(interaction: discord.Interaction) -> None:
    await interaction.response.send_modal(Form())


@app_commands.context_menu(name="Note it")
async def noted(interaction: discord.Interaction, message: discord.Message) -> None:
    sizes = [len(await attachment.read()) for attachment in message.attachments]
    await interaction.response.send_message(f"{message.author.name}: {message.content} {sizes} {message.jump_url}")


class Counting(app_commands.Group):
    """A group with a subcommand that takes options of every type."""

    def __init__(self) -> None:
        super().__init__(name="count", description="Counting")

    @app_commands.command(description="Things")
    @app_commands.choices(
        mode=[app_commands.Choice(name="Fast", value="f"), app_commands.Choice(name="Slow", value="s")]
    )
    async def things(
        self,
        interaction: discord.Interaction,
        who: discord.User,
        amount: app_commands.Range[int, 1, 10],
        mode: app_commands.Choice[str],
        tag: str = "",
        share: bool = False,
    ) -> None:
        text = f"{who.name} {amount} {mode.value} {tag} {share}"
        await interaction.response.send_message(text, ephemeral=not share)

    @things.autocomplete("tag")
    async def tags(self, interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=f"{typed}{number}", value=str(number)) for number in range(25)]


class Asking(discord.ui.View):
    """A button that edits its message, and one that nobody can press."""

    @discord.ui.button(label="Yes", custom_id="yes")
    async def yes(self, interaction: discord.Interaction, _: discord.ui.Button[Asking]) -> None:
        await interaction.response.edit_message(content="Done", view=None)

    @discord.ui.button(label="Never", custom_id="never", disabled=True)
    async def never(self, interaction: discord.Interaction, _: discord.ui.Button[Asking]) -> None:
        raise AssertionError


class Form(discord.ui.Modal, title="A note"):
    """Two fields, one of them within a label."""

    heading: discord.ui.TextInput[Form] = discord.ui.TextInput(label="Title", max_length=10, required=False)
    text: discord.ui.Label[Form] = discord.ui.Label(
        text="Text", component=discord.ui.TextInput(custom_id="text", style=discord.TextStyle.long)
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        assert isinstance(self.text.component, discord.ui.TextInput)
        await interaction.response.send_message(f"{self.heading.value}|{self.text.component.value}", ephemeral=True)
