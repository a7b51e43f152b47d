"""Requests as the desk makes them of interactions."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.request import Request

ME, HERE = 42, 7


def request_of(**more: object) -> Request:
    """Ada (42) searches in the guild 7; `more` are other fields."""
    values: dict[str, object] = {
        "id": "1001",
        "kind": "search",
        "options": {"query": "鍵", "limit": 5, "share": True, "file": {"size": 3, "url": "https://x"}},
        "user": ME,
        "user_name": "ada",
        "guild": HERE,
        "channel": 70,
        "context": "guild",
        "language": "ja",
        "is_manager": False,
        "is_shared": False,
        "application": 9,
        "token": "tok",
        "note_id": "0190a8c0-0000-7000-8000-000000000000",
        "accepted_at": datetime.now(UTC),
    }
    return Request(**{**values, **more})  # type: ignore[arg-type]
