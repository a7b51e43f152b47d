"""What is shown in Discord, and all limits that Discord has for it.

Pure: a reply is a value, and only `to_message` knows discord.py. What is too long is cut between graphemes. Text that
is not ours goes through `escape`, `marked` or `link` (nescord.discord_text) before it becomes part of a reply.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import discord

from nescord.discord_text import ELLIPSIS, clean, clip, escape, is_https, link, marked, units

__all__ = [
    "LIMITS",
    "Button",
    "Choice",
    "Field",
    "Input",
    "LinkButton",
    "Modal",
    "Reply",
    "ReplyFile",
    "choices",
    "clip",
    "escape",
    "link",
    "marked",
    "to_message",
    "units",
]

Style = Literal["primary", "secondary", "success", "danger"]


@dataclass(frozen=True, slots=True)
class _Limits:
    content: int = 2000
    title: int = 256
    description: int = 4096
    fields: int = 25
    field_name: int = 256
    field_value: int = 1024
    footer: int = 2048
    embed: int = 6000
    buttons: int = 25
    in_row: int = 5
    button_label: int = 80
    custom_id: int = 100
    choices: int = 25
    choice: int = 100
    modal_title: int = 45
    modal_label: int = 45
    modal_inputs: int = 5
    modal_value: int = 4000
    placeholder: int = 100


LIMITS = _Limits()


@dataclass(frozen=True, slots=True)
class Button:
    """A button of ours: `action` is what it does (kind `button.<action>`), `id` the opaque id of what it does it to."""

    label: str
    action: str
    id: str
    style: Style = "secondary"
    disabled: bool = False
    more: str = ""

    @property
    def custom_id(self) -> str:
        """What Discord sends back. ValueError if it is too long for Discord."""
        made = f"nb:{self.action}:{self.id}" + (f":{self.more}" if self.more else "")
        if units(made) > LIMITS.custom_id:
            raise ValueError(f"the custom_id of a button is longer than {LIMITS.custom_id}: {made}")
        return made


@dataclass(frozen=True, slots=True)
class LinkButton:
    """A button that opens a page. Left out unless the address is https."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Field:
    """A part of an answer with a name of its own."""

    name: str
    value: str
    is_inline: bool = False


@dataclass(frozen=True, slots=True)
class ReplyFile:
    """A file in an answer."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `body`, `title`, field names and values are Discord's Markdown, `footer` is plain text; `notices` are
    what could not be done and why, below the body."""

    title: str = ""
    body: str = ""
    footer: str = ""
    fields: Sequence[Field] = ()
    buttons: Sequence[Button | LinkButton] = ()
    files: Sequence[ReplyFile] = ()
    notices: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the choices of an autocomplete: what is shown, and what comes back (1..100 characters)."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Input:
    """A line, or some, to be filled in; `most` characters (0: as many as Discord takes)."""

    name: str
    label: str
    value: str = ""
    placeholder: str = ""
    is_long: bool = False
    is_required: bool = True
    most: int = 0


@dataclass(frozen=True, slots=True)
class Modal:
    """A form. Its submit is answered by the handler of `kind`, with the inputs as options by name, and `id`."""

    kind: str
    title: str
    inputs: Sequence[Input]
    id: str = ""


def choices(found: Iterable[Choice]) -> list[Choice]:
    """As many as Discord takes, names cut to what it takes; a choice whose value is too long or empty is left out."""
    fitting: list[Choice] = []
    for choice in found:
        if not 1 <= units(choice.value) <= LIMITS.choice:
            continue
        name = clip(" ".join(clean(choice.name).split()), LIMITS.choice)
        fitting.append(Choice(name or ELLIPSIS, choice.value))
        if len(fitting) == LIMITS.choices:
            break
    return fitting


def to_message(reply: Reply) -> dict[str, Any]:
    """`content`, `embeds`, `view` (or None) and `files` for discord.py. Needs a running event loop."""
    content, embeds = "", []
    if reply.title or reply.fields or units(_below(reply.body, reply.notices, reply.footer)) > LIMITS.content:
        embeds = [_embed(reply)]
    else:
        content = _below(reply.body, reply.notices, reply.footer)
        if not content.strip() and not reply.files:
            content = ELLIPSIS
    files = [discord.File(io.BytesIO(file.content), filename=file.name) for file in reply.files]
    return {"content": content, "embeds": embeds, "view": _view(reply.buttons), "files": files}


def _below(body: str, notices: Sequence[str], footer: str = "") -> str:
    """The body, and below it small print."""
    small = [f"-# ⚠ {line}" for notice in notices for line in [" ".join(notice.split())] if line]
    if footer:
        small.append(f"-# {' '.join(escape(footer).split())}")
    return "\n".join(part for part in (body, *small) if part)


def _embed(reply: Reply) -> discord.Embed:
    embed = discord.Embed()
    left = LIMITS.embed
    if reply.title:
        embed.title = clip(reply.title, LIMITS.title)
        left -= units(embed.title)
    if reply.footer:
        footer = clip(reply.footer, LIMITS.footer)
        embed.set_footer(text=footer)
        left -= units(footer)
    small = clip(_below("", reply.notices), LIMITS.content)
    most = min(LIMITS.description, left) - units(small) - 1
    description = "\n".join(part for part in (_shortened(reply.body, most), small) if part)
    if description:
        embed.description = description
        left -= units(description)
    for field in reply.fields[: LIMITS.fields]:
        # Discord refuses a field of which a part is empty.
        name = clip(field.name, LIMITS.field_name) or "\u200b"
        value = _shortened(field.value, LIMITS.field_value) or "\u200b"
        left -= units(name) + units(value)
        if left < 0:
            break
        embed.add_field(name=name, value=value, inline=field.is_inline)
    return embed


def _shortened(text: str, limit: int) -> str:
    """As `clip`, at the end of a line where not much is lost by that: within one, a link may be torn."""
    if len(text) <= limit and units(text) <= limit:
        return text
    shown = clip(text, limit - 1)
    end = shown.rfind("\n")
    return f"{shown[:end]}\n{ELLIPSIS}" if end > len(shown) // 2 else shown


def _view(buttons: Sequence[Button | LinkButton]) -> discord.ui.View | None:
    made: list[discord.ui.Button[Any]] = []
    for button in buttons[: LIMITS.buttons]:
        label = clip(button.label, LIMITS.button_label)
        if isinstance(button, Button):
            style = discord.ButtonStyle[button.style]
            made.append(
                discord.ui.Button(label=label, custom_id=button.custom_id, style=style, disabled=button.disabled)
            )
        elif is_https(button.url):
            made.append(discord.ui.Button(label=label, url=button.url))
    if not made:
        return None
    view = discord.ui.View(timeout=None)
    for shown in made:
        view.add_item(shown)
    # What a button does is in its custom_id: discord.py need not remember the view.
    view.stop()
    return view
