"""What a model wrote, without what would act on who reads it: mentions, images, tags, and links that no note holds.

A link can carry away what it was built from, an image is fetched without anybody clicking, a mention calls people. All
of these can be asked for by a note. So a URL stays only if it stands, whole, in what the sentence cites.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# What is not seen and could part `@` from `everyone` until somebody drops it; the joiner of emoji stays.
_UNSEEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200c\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
# By scheme, by `www.`, or a host with a path, which some programs make a link of too. A host may be in any script:
# browsers take https://ｅｖｉｌ.com for evil.com, and 。 for a dot.
_URL = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|(?:mailto|javascript|vbscript|data|tel|sms|file|obsidian|discord|blob):|www\.)"
    r"(?:[!-.0-;=@-~]*[^\0-\x7f\s、，「」『』（）【】][^\s<>/?#、，「」『』（）【】]*[!-;=?-~]*|[!-;=?-~]+)"
    r"|(?<![a-z0-9.-])(?:[a-z0-9-]+\.)+[a-z]{2,}/[!-;=?-~]*",
    re.IGNORECASE,
)
# The beginning of one that names a host in ASCII.
_PLAIN = re.compile(r"(?:[^:/]+:(?://)?|www\.)(?=[!-/:-@[-`{-~]*[a-z0-9])[!-;=?-~]+", re.IGNORECASE | re.ASCII)
_DOTS = "。．｡"
_TRAILING = ".,;:!?'\"`*_~|)]}"
_IMAGE = re.compile(r"!\[\[([^\[\]\n]*)\]\]|!\[([^\]\n]*)\](?:\([^)\n]*\)|\[[^\]\n]*\])?")
_LINK = re.compile(r"\[((?:[^\[\]\n]|\[[^\[\]\n]*\])*)\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*)>?[^)\n]*\)")
_WIKI_LINK = re.compile(r"\[\[(?!\s*\d+\s*\]\])(?:[^\[\]|\n]*\|)?([^\[\]|\n]*)\]\]")
_MENTION = re.compile(r"<(?:@[!&]?|#|a?:\w*:|/[^<>\n]*:|t:|id:)[^<>\n]*>")
_CALL = re.compile(r"@+(?=everyone|here)", re.IGNORECASE)
_TAG = re.compile(r"<(?=[a-z/!?@#:])", re.IGNORECASE)
# What is left of links that go over several lines.
_BEGUN_LINK = re.compile(r"(?<=\])(?=\()|(?<=!)(?=\[)")
_GONE = "…"


def urls_of(text: str) -> frozenset[str]:
    """The URLs in `text`, as `cleaned` compares them."""
    return frozenset(url for match in _URL.finditer(_UNSEEN.sub("", text)) for url in _readings(match[0]))


def without_mentions(text: str) -> str:
    """`text`, of a note, as it is but for what would call people; doing it again changes nothing."""
    while (calm := _CALL.sub("", _MENTION.sub(_GONE, text))) != text:
        text = calm
    return text


def cleaned(text: str, urls: frozenset[str]) -> str:
    """`text` without mentions, images, tags and links, save the URLs in `urls`; doing it again changes nothing."""
    while (clean := _once(text, urls)) != text:  # what is taken out of the middle may join what stood around it
        text = clean
    return text


def _once(text: str, urls: frozenset[str]) -> str:
    text = _UNSEEN.sub("", text)
    text = _IMAGE.sub(lambda found: found[1] or found[2] or "", text)
    text = _LINK.sub(lambda found: _plain_link(found, urls), text)
    text = _WIKI_LINK.sub(r"\1", text)
    text = _MENTION.sub(_GONE, text)
    text = _CALL.sub("", text)
    text = _URL.sub(lambda found: _kept(found, urls), text)
    return _BEGUN_LINK.sub(" ", _TAG.sub("‹", text))


def _plain_link(found: re.Match[str], urls: frozenset[str]) -> str:
    """The words of a link with its target beside them, for all to see."""
    words, target = found[1], _trimmed(found[2])
    return f"{words} ({target})" if target in urls and target != words else words


def _kept(found: re.Match[str], urls: frozenset[str]) -> str:
    url = next((each for each in _readings(found[0]) if each in urls), "")
    if not url:
        return _GONE + found[0][len(_trimmed(found[0])) :]
    rest = found[0][len(url) :]
    # Letters right behind it would become a part of it in some programs: https://example.org/を見る
    after = rest[:1] or found.string[found.end() : found.end() + 1]
    return f"{url} {rest}" if after.isalnum() or after in tuple(_DOTS) else found[0]


def _readings(matched: str) -> Iterator[str]:
    """What a URL may be meant to be: all of it, or, in a text without spaces, what of it is ASCII and is whole."""
    yield _trimmed(matched)
    if not matched.isascii() and (plain := _PLAIN.match(matched)) and not plain[0].endswith((".", "-")):
        yield _trimmed(plain[0])


def _trimmed(url: str) -> str:
    return url.rstrip(_TRAILING + _DOTS)
