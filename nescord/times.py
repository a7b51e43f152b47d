"""Moments as text: ISO 8601 in UTC to the second, in which the order of text is the order of time."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC to the second, which sorts as text: `2026-11-24T08:00:00Z`."""
    try:
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)
    except OverflowError:
        # A date in year 1 or 9999 cannot be shifted by its offset; no note is that old.
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)
