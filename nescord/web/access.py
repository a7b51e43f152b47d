"""Who may see more than whether it runs: whoever knows NESCORD_STATUS_TOKEN.

As `Authorization: Bearer TOKEN` for machines, or as the password of Basic (with any user name), which every
browser asks for.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from enum import Enum

from pydantic import SecretStr


class Access(Enum):
    """What a request is allowed to see."""

    PUBLIC = "no token was given"
    REFUSED = "it is the wrong one"
    GRANTED = "everything"


def access(authorization: str, token: SecretStr | None) -> Access:
    """What the header `Authorization` opens."""
    if not authorization:
        return Access.PUBLIC
    given = _given(authorization)
    if token is None or given is None:
        return Access.REFUSED
    # In a time that does not tell how much of it was right.
    is_right = hmac.compare_digest(given, token.get_secret_value().encode("utf-8"))
    return Access.GRANTED if is_right else Access.REFUSED


def _given(authorization: str) -> bytes | None:
    scheme, _, value = authorization.partition(" ")
    content = value.strip().encode("latin-1", "replace")  # as HTTP headers are read
    if scheme.lower() == "bearer":
        return content
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(content, validate=True).partition(b":")[2]
    except binascii.Error:
        return None
