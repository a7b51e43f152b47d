"""Modals without a memory: what a submit is for is in its custom_id, so it can be taken by another process than the one
that showed it. `nm:<kind>:<id>` goes to the handler of that kind, if it is one for forms (`is_form`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord

from bot.registry import handler_of
from bot.render import LIMITS, Modal, clip, units
from bot.request import JSON

if TYPE_CHECKING:
    from bot.desk import Desk

_PREFIX = "nm:"


def to_discord(modal: Modal) -> discord.ui.Modal:
    """What `send_modal` takes. It is stopped at once: discord.py need not remember it.

    ValueError: a value is longer than Discord takes. To cut it would be to lose what somebody edits.
    """
    shown = discord.ui.Modal(
        title=clip(modal.title, LIMITS.modal_title), custom_id=f"{_PREFIX}{modal.kind}:{modal.id}", timeout=None
    )
    for field in modal.inputs[: LIMITS.modal_inputs]:
        most = min(field.most or LIMITS.modal_value, LIMITS.modal_value)
        if units(field.value) > most:
            raise ValueError(f"the input {field.name} of {modal.kind} takes {most} characters: {units(field.value)}")
        shown.add_item(
            discord.ui.TextInput(
                label=clip(field.label, LIMITS.modal_label),
                custom_id=field.name,
                default=field.value or None,
                placeholder=clip(field.placeholder, LIMITS.placeholder) or None,
                style=discord.TextStyle.paragraph if field.is_long else discord.TextStyle.short,
                required=field.is_required,
                max_length=most,
            )
        )
    shown.stop()
    return shown


async def submitted(interaction: discord.Interaction[Any], desk: Desk) -> None:
    """Take a submit of a modal of ours; to be called with every interaction (`on_interaction`)."""
    if interaction.type is not discord.InteractionType.modal_submit:
        return
    payload: Any = interaction.data
    custom_id = str(payload.get("custom_id", ""))
    if not custom_id.startswith(_PREFIX):
        return
    kind, _, opaque = custom_id.removeprefix(_PREFIX).partition(":")
    handler = handler_of(kind)
    if handler is None or not handler.is_form:
        # Somebody may send what no form of ours would: nobody answers the kind "".
        kind = ""
    options: dict[str, JSON] = dict(_values(payload.get("components", [])))
    await desk.accept(interaction, kind, {**options, "id": opaque})


def _values(components: Any) -> list[tuple[str, str]]:
    """The inputs by name. Discord wraps each in a row or a label."""
    found: list[tuple[str, str]] = []
    for component in components:
        if "components" in component:
            found += _values(component["components"])
        elif "component" in component:
            found += _values([component["component"]])
        elif isinstance(component.get("value"), str):
            found.append((str(component.get("custom_id", "")), component["value"]))
    return found
