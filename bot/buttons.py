"""Buttons that work after a restart: what they do is in their custom_id, who may is asked when they are clicked.

`nb:<action>:<id>[:<more>]` is answered by the handler, or opens the modal, of the kind `button.<action>`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import discord

if TYPE_CHECKING:
    from bot.desk import Desk

CUSTOM_ID = r"nb:(?P<action>[a-z_]{1,20}):(?P<id>[^:]*)(?::(?P<more>.*))?"


def add_to(client: discord.Client, desk: Desk) -> None:
    """Let the desk answer all buttons of ours."""

    class Clicked(discord.ui.DynamicItem[discord.ui.Button[Any]], template=CUSTOM_ID):
        def __init__(self, button: discord.ui.Button[Any], match: re.Match[str]) -> None:
            super().__init__(button)
            self._match = match

        @classmethod
        async def from_custom_id(
            cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
        ) -> Clicked:
            assert isinstance(item, discord.ui.Button)
            return cls(item, match)

        async def callback(self, interaction: discord.Interaction[Any]) -> None:
            await desk.click(interaction, self._match["action"], self._match["id"], self._match["more"] or "")

    client.add_dynamic_items(Clicked)
