"""Exports of Discord as tests need them, and what a knowledge base says was said."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nescord import KnowledgeManager
from nescord.importing_discord import DiscordImports
from nescord.sources.discord_messages import pieces

GUILD, CHANNEL = 7000, 8000
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def message(
    number: int, minutes: float, text: str = "", *, who: int = 1, edited: float = 0, **more: Any
) -> dict[str, Any]:
    """A message said so many minutes after the start, in the form of DiscordChatExporter."""
    return {
        "id": str(number),
        "type": "Default",
        "timestamp": (START + timedelta(minutes=minutes)).isoformat(),
        "timestampEdited": (START + timedelta(minutes=edited)).isoformat() if edited else None,
        "isPinned": False,
        "content": text or f"message {number}",
        "author": {"id": str(100 + who), "name": f"user_{who}", "nickname": f"人{who}", "isBot": False},
        "attachments": [],
        "embeds": [],
        "stickers": [],
        "reactions": [],
        "mentions": [],
        **more,
    }


def export(
    file: Path,
    messages: Iterable[Mapping[str, Any]],
    *,
    guild: int = GUILD,
    channel: int = CHANNEL,
    kind: str = "GuildTextChat",
    name: str = "general",
) -> Path:
    """A file of one channel."""
    listed = list(messages)
    document = {
        "guild": {"id": str(guild), "name": "Guild" if guild else "Direct Messages"},
        "channel": {"id": str(channel), "type": kind, "categoryId": "1", "category": "Work", "name": name},
        "dateRange": {"after": None, "before": None},
        "exportedAt": START.isoformat(),
        "messages": listed,
        "messageCount": len(listed),
    }
    file.write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")
    return file


def package(file: Path, files: Mapping[str, str | bytes]) -> Path:
    """A zip of such files."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return file


def notes(km: KnowledgeManager) -> dict[str, str]:
    """The living notes by path."""
    with km._base.verb() as catalog, catalog.read() as connection:
        rows = connection.execute(
            "SELECT path, body FROM note JOIN note_text ON note_text.note = note.key WHERE trashed_at IS NULL"
        )
        return {str(path): str(body) for path, body in rows}


def said(km: KnowledgeManager) -> dict[int, str]:
    """What every stored message says; it is an error if one is there twice."""
    found = [one for text in notes(km).values() for one in pieces(text)]
    assert not [number for number, count in Counter(one.id for one in found).items() if count > 1]
    return {one.id: one.tail for one in found}


def counts(done: DiscordImports) -> tuple[int, int, int]:
    """Notes added, changed and unchanged by an import of one source."""
    (one,) = done.imports
    assert one.report.failed == one.report.kept == one.report.revived == 0
    return one.report.added, one.report.changed, one.report.unchanged
