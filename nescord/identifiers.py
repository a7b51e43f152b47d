"""Identifiers of notes: UUIDv7 (RFC 9562, section 5.7), whose order is the order of their making."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from datetime import UTC, datetime


def uuid7() -> uuid.UUID:
    """48 bits of Unix time in milliseconds, then 74 random bits around version and variant."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    return _as_version_7(value)


def uuid7_of(moment: datetime, name: bytes) -> uuid.UUID:
    """The identifier of what was made at that moment elsewhere: always the same for the same name, and in order."""
    milliseconds = max(0, int(moment.timestamp() * 1000))
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(hashlib.blake2b(name, digest_size=10).digest())
    return _as_version_7(value)


def made_at(identifier: str) -> datetime | None:
    """When an identifier was made, to the millisecond; None where it is no UUIDv7."""
    try:
        parsed = uuid.UUID(identifier)
        return datetime.fromtimestamp((parsed.int >> 80) / 1000, UTC) if parsed.version == 7 else None
    except (ValueError, OverflowError, OSError):
        return None


def _as_version_7(value: int) -> uuid.UUID:
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return uuid.UUID(int=value)
