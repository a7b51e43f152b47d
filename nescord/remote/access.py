"""Where a model elsewhere is, the key to it, and how long to wait for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nescord.errors import RemoteRefusedError

if TYPE_CHECKING:
    from nescord.settings import Settings

# Given always: without it both libraries look for one in environment variables of their own.
GOOGLE = "https://generativelanguage.googleapis.com"


@dataclass(frozen=True, slots=True)
class Access:
    """What a client is made from. The key is in no message and no repr."""

    endpoint: str
    timeout: float
    key: str = field(repr=False)


def access_of(settings: Settings) -> Access:
    """How the settings reach Gemini.

    Raises:
        RemoteRefusedError: there is no key, or it can be none.
    """
    if settings.gemini_api_key is None:
        raise RemoteRefusedError("Gemini cannot be asked: GEMINI_API_KEY is not set")
    key = settings.gemini_api_key.get_secret_value()
    if not re.fullmatch(r"[!-~]+", key):  # no header can carry it, and the libraries say that in words of their own
        raise RemoteRefusedError("Gemini cannot be asked: GEMINI_API_KEY is not one word of ASCII characters")
    return Access(settings.gemini_endpoint or GOOGLE, settings.gemini_timeout, key)
