"""Secrets do not belong into a log: what is known to be one, and what looks like one, is replaced by `***`.

Works on whole lines, many at a time as on one: a secret that is cut in two is not recognised.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from nescord.settings import Settings

_HIDDEN = "***"
# Shorter ones would blot out ordinary words, and guard nothing.
_SHORTEST = 4
# A part of base64 that is shorter may be found in innocent text.
_SHORTEST_ENCODED = 10
_PATTERNS = (
    # A header as the repr or JSON of a mapping or a list of pairs shows it, and as it is sent.
    (re.compile(r"""(authorization\\?["'][ \t]*[:=,][ \t]*b?\\?["'])[^"'\n]*""", re.IGNORECASE), rf"\1{_HIDDEN}"),
    (re.compile(r"(authorization[ \t]*[:=][ \t]*)[^\s][^\n]*", re.IGNORECASE), rf"\1{_HIDDEN}"),
    (re.compile(r"""(://)[^\s/"'<>@:]*:[^\s/"'<>]*@"""), rf"\1{_HIDDEN}@"),
    # A token alone in the place of the user; the git@ of ssh:// is no secret.
    (re.compile(r"""(https?://)[^\s/"'<>@:]+@"""), rf"\1{_HIDDEN}@"),
    # A webhook or an interaction of Discord: whoever has its token can post.
    (re.compile(r"(/(?:webhooks|interactions)/\d+/)[\w.~%+=-]+"), rf"\1{_HIDDEN}"),
)


class Redactor:
    """Replaces secrets in a text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for part in _parts(secret) for form in _forms(part)}
        # The longest first, or the rest of a longer one would stay.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))

    def __call__(self, text: str) -> str:
        """The text without them."""
        for form in self._forms:
            text = text.replace(form, _HIDDEN)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


def secrets_of(settings: Settings) -> list[str]:
    """All that the settings hold and that must not be shown."""
    values = (getattr(settings, name) for name in Settings.model_fields)
    return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]


def _parts(secret: str) -> list[str]:
    """What of a secret is one by itself: the password of `user:password`, each line of a key."""
    secret = secret.strip()
    lines = [line.strip() for line in secret.splitlines() if not line.startswith("-----")]
    _, colon, password = secret.partition(":")
    is_pair = colon and not password.startswith("//") and len(lines) == 1
    return [part for part in (secret, *lines, password if is_pair else "") if len(part) >= _SHORTEST]


def _forms(secret: str) -> set[str]:
    """As it is, in a URL, in JSON and in what Python shows, and within base64 such as that of a header."""
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    # Around what has both kinds of quotes, repr escapes one of them.
    forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {repr(secret)[1:-1], repr('"' + secret)[2:-1], repr("'\"" + secret)[4:-1]}
    content = secret.encode("utf-8", "surrogateescape")
    for before in range(3):
        # Base64 turns 3 bytes into 4 letters: where the secret begins within the three decides how it looks. The
        # letters that its neighbours have a part in are left out.
        text = base64.b64encode(b"\0" * before + content).decode("ascii")
        inner = text[-(-before * 8 // 6) : (before + len(content)) * 8 // 6]
        if len(inner) >= _SHORTEST_ENCODED:
            forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return forms | {repr(content)[2:-1]}
