"""Secrets in a text (API keys, tokens, passwords), and the text without them: nobody else's machine gets to see one.

The detectors are those of detect-secrets, by their patterns alone: whether a key works is never asked of anybody. They
were made to point at a line of code, so what they match is masked whole, and named_secrets.py adds what notes have and
code has not, such as a password after 「パスワード：」. Masked too much is better than too little: the notes stay as
they are.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from nescord.named_secrets import named

if TYPE_CHECKING:
    from detect_secrets.plugins.base import BasePlugin
    from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString

MASK = "[masked]"
_PASSWORD = "Password"
_WINDOW = 300
# Most of the detectors' patterns take time by the square of what they look at; no secret but a token is longer.
_LOOKED_AT = 1_000
_KEY_BLOCK = "Private Key"
# An address is none, and in notes most long hexadecimal numbers are checksums and ids.
_NOT_SECRET = frozenset({"Public IP (ipv4)", "Hex High Entropy String"})
_NOT_BY_PATTERN = _NOT_SECRET | {"Secret Keyword", "Base64 High Entropy String", _KEY_BLOCK}

# Newer than the detectors, or none of theirs.
_ALSO = {
    "Google API Key": re.compile(r"AIza[0-9A-Za-z_-]{35}"),
    "Google OAuth Secret": re.compile(r"GOCSPX-[0-9A-Za-z_-]{28}|ya29\.[0-9A-Za-z_-]{20,}"),
    "GitHub Token": re.compile(r"github_pat_[0-9A-Za-z_]{22,}"),
    "AI Service Key": re.compile(r"\bsk-[0-9A-Za-z_-]{20,}"),
    "Discord Webhook": re.compile(r"https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\d+/[\w-]{20,}"),
    "Age Secret Key": re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{40,}"),
    "Authorization": re.compile(r"(?i:\bauthorization[\"']?\s*[:=]\s*[\"']?(?:basic|token)\s+)[!-~]{8,}"),
    "Hugging Face Token": re.compile(r"\bhf_[0-9A-Za-z]{20,}"),
    "Bearer Token": re.compile(r"(?i:\bbearer )[0-9A-Za-z._~+/=-]{16,}"),
}
# A note may hold a part of a key only: a block is cut where a chunk ends.
_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?:(?!-----)[0-9A-Za-z+/=\s:,\\-])*"
    r"(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----)?"
    r"|PuTTY-User-Key-File-\d.*?(?:Private-MAC: *\w+|\Z)",
    re.DOTALL,
)
_END_OF_BLOCK = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----")
_IN_BLOCK, _LAST_IN_BLOCK = re.compile(r"[0-9A-Za-z+/=]{40,}"), re.compile(r"[0-9A-Za-z+/=]+")
_LINE_OF_KEY = re.compile(r"^[0-9A-Za-z+/]{60,}={0,2}$", re.MULTILINE)
_REST_OF_TOKEN = re.compile(r"[!-~]*")
_MIGHT_BE_NAMED = re.compile(r"key|pass|pwd|secret|contrase", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """What kind of secret stands where, from the first character to behind the last; never the secret itself."""

    kind: str
    line: int
    start: int
    end: int


class _Span(NamedTuple):
    start: int
    end: int
    kind: str


def masked(text: str) -> tuple[str, list[Finding]]:
    """The text with `[masked]` for each secret, and what was found in it, in its order."""
    bare, places = _bare(text)
    spans = _united(sorted(_spans(bare)))
    pieces: list[str] = []
    found: list[Finding] = []
    at, line = 0, 1
    for span in spans:
        start, end = places.of(span.start), places.of(span.end - 1) + 1
        line += text.count("\n", at, start)
        found.append(Finding(span.kind, line, start, end))
        line += text.count("\n", start, end)
        pieces += [text[at:start], MASK]
        at = end
    return "".join((*pieces, text[at:])) if spans else text, found


def masked_by_quotes(text: str) -> str:
    """A prompt without its secrets. Each run of lines that are quoted with "> " is looked at by itself, as it was
    before it was quoted: the half of a key that ends a note takes nothing along of what is said behind it."""
    runs: list[tuple[bool, list[str]]] = []
    for line in text.split("\n"):
        is_quoted = line.startswith("> ")
        if not runs or runs[-1][0] != is_quoted:
            runs.append((is_quoted, []))
        runs[-1][1].append(line.removeprefix("> ") if is_quoted else line)
    looked_at = ((is_quoted, masked("\n".join(lines))[0]) for is_quoted, lines in runs)
    return "\n".join("> " + run.replace("\n", "\n> ") if is_quoted else run for is_quoted, run in looked_at)


class _Places(NamedTuple):
    """Where the lines of a bare text begin, in it and in the text that it was taken from."""

    bare: list[int]
    whole: list[int]

    def of(self, place: int) -> int:
        line = bisect_right(self.bare, place) - 1
        return place - self.bare[line] + self.whole[line]


def _bare(text: str) -> tuple[str, _Places]:
    """The text without what stands around its lines: a block quote or an indented key is the same key."""
    lines, places = [], _Places([], [])
    bare = whole = 0
    for line in text.split("\n"):
        begun = line.lstrip(" \t>")
        kept = begun.rstrip(" \t\r")
        places.bare.append(bare)
        places.whole.append(whole + len(line) - len(begun))
        lines.append(kept)
        bare, whole = bare + len(kept) + 1, whole + len(line) + 1
    return "\n".join(lines), places


def _spans(text: str) -> Iterator[_Span]:
    for kind, pattern in (*_ALSO.items(), (_KEY_BLOCK, _BLOCK)):
        for match in pattern.finditer(text):
            yield _Span(*match.span(), kind)
    yield from _detected(text)
    entropy = _entropy()
    for match in entropy.regex.finditer(text):
        if _is_mixed(match[2]) and entropy.calculate_shannon_entropy(match[2]) > entropy.entropy_limit:
            yield _Span(*match.span(2), entropy.secret_type)
    for match in _LINE_OF_KEY.finditer(text):
        if _is_mixed(match[0]):
            yield _Span(*match.span(), entropy.secret_type)
    for start, end in named(text):
        yield _Span(start, end, _PASSWORD)
    for match in _END_OF_BLOCK.finditer(text):
        yield _Span(_begin_of_block(text, match.start()), match.end(), _KEY_BLOCK)
    yield from _assigned(text)


def _detected(text: str) -> Iterator[_Span]:
    """What the detectors find, in windows that overlap by half."""
    for first in range(0, max(1, len(text) - _LOOKED_AT // 2), _LOOKED_AT // 2):
        window = text[first : first + _LOOKED_AT]
        for kind, pattern in _patterns():
            for match in pattern.finditer(window):
                start, end = match.span(1 if kind == "Basic Auth Credentials" else 0)
                if end == _LOOKED_AT and (rest := _REST_OF_TOKEN.match(text, first + end)):
                    end = rest.end() - first  # it goes on where the window does not
                yield _Span(first + start, first + end, kind)


def _begin_of_block(text: str, end: int) -> int:
    """Where the lines of a key begin that end there."""
    begin, allowed = end, _LAST_IN_BLOCK
    while begin and text[begin - 1] == "\n":
        line = text.rfind("\n", 0, begin - 1) + 1
        if not allowed.fullmatch(text, line, begin - 1):
            break
        begin, allowed = line, _IN_BLOCK
    return begin


def _assigned(text: str) -> Iterator[_Span]:
    """What code gives a name that sounds secret."""
    from detect_secrets.plugins.keyword import QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP

    at = 0
    for line in text.splitlines(keepends=True):
        # Their patterns are for lines of code: a long one takes them time by the third power of its length.
        for first in range(0, len(line), _WINDOW // 2):
            window = line[first : first + _WINDOW].rstrip("\r\n")
            if not _MIGHT_BE_NAMED.search(window):
                continue
            for pattern, group in QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP.items():
                for match in pattern.finditer(window):
                    yield _Span(at + first + match.start(group), at + first + match.end(group), _PASSWORD)
        at += len(line)


def _is_mixed(value: str) -> bool:
    """No word of any language has small letters, capitals and digits."""
    return all(any(map(kind, value)) for kind in (str.islower, str.isupper, str.isdigit))


def _united(spans: list[_Span]) -> list[_Span]:
    united: list[_Span] = []
    for span in spans:
        if united and span.start < united[-1].end:
            last = united[-1]
            united[-1] = _Span(last.start, max(last.end, span.end), last.kind)
        elif span.end > span.start:
            united.append(span)
    return united


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import RegexBasedDetector

    plugins: Mapping[str, type[BasePlugin]] = get_mapping_from_secret_type_to_class()
    return tuple(
        (kind, pattern)
        for kind, plugin in plugins.items()
        if kind not in _NOT_BY_PATTERN and issubclass(plugin, RegexBasedDetector)
        for pattern in plugin().denylist
    )


@cache
def _entropy() -> Base64HighEntropyString:
    from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString

    return Base64HighEntropyString()
