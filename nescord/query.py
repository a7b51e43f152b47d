"""What a person types into a search, taken apart.

Known filters (`tag:` `source:` `path:` `after:` `before:`), `"phrases"` and `-exclusions` are parsed here; everything
else is plain text. Terms become FTS5 expressions made of quoted strings only, so no FTS5 syntax leaks out of a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo

from nescord.errors import QueryError
from nescord.frontmatter import fold_tag
from nescord.language import detect, language_group
from nescord.times import utc_text
from nescord.words import STOP_WORDS, bigrams, has_hiragana, is_hiragana, normalise, pieces

_TOKEN = re.compile(
    r"""(?P<minus>-?)(?:(?P<key>tag|source|path|after|before):)?(?:["“”](?P<phrase>[^"“”]*)["“”]|(?P<text>\S+))""",
    re.IGNORECASE,
)
_SEPARATORS = re.compile(r"[\W_]+")
# A CJK run up to this long is found as it is or not at all.
EXACT_RUN = 3
# A longer one than this, or one with hiragana in it, is a sentence: nobody expects to find it as it stands.
LONGEST_COMPOUND = 8


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that a note must hold. `match` is an FTS5 expression; `recheck` is normalised text that a chunk must
    contain besides, where the expression alone would find too much; `parts` are expressions for its pieces (none: it
    is found only as a whole); `marks` are what to mark in a snippet: (is CJK, text), CJK as substrings and words by
    their stems. A quoted term `is_required` even in the loosest search."""

    match: str
    marks: tuple[tuple[bool, str], ...]
    parts: tuple[str, ...] = ()
    recheck: str = ""
    is_sentence: bool = False
    is_required: bool = False

    @property
    def words(self) -> list[str]:
        return [text for _, text in self.marks]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which notes may answer. Dates bound the note's creation, as UTC text: from `after` on, until before `before`.
    `language_group` is ja, other, or "" for any."""

    tags: tuple[str, ...] = ()
    without_tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    after: str = ""
    before: str = ""
    language_group: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: terms to find, terms that must not be there, filters; `text` is what was asked without them."""

    terms: tuple[Term, ...]
    excluded: tuple[Term, ...]
    filters: Filters
    text: str = ""


def parse_query(
    text: str,
    timezone: tzinfo,
    *,
    tags: Iterable[str] = (),
    source: str | None = None,
    kind: str | None = None,
    after: str | date | None = None,
    before: str | date | None = None,
    same_language: bool = False,
) -> Query:
    """Parse `text`; the keyword filters are added to those in the text.

    `same_language` leaves notes in Japanese to a question in Japanese, and all others to any other: a few words do not
    tell one language in Latin letters from another.

    Raises:
        QueryError: a date cannot be understood, or an exclusion stands where a filter has none.
    """
    terms: list[Term] = []
    plain: list[str] = []
    excluded: list[Term] = []
    wanted_tags = [fold_tag(tag) for tag in tags]
    without_tags: list[str] = []
    sources = [source] if source else []
    paths: list[str] = []
    afters = [_moment(after, "after", timezone)] if after else []
    befores = [_moment(before, "before", timezone)] if before else []
    for minus, key, value, is_phrase in _tokens(text):
        if key == "tag":
            (without_tags if minus else wanted_tags).append(fold_tag(value))
        elif key and minus:
            raise QueryError(f"-{key}:{value} is not possible: only words, phrases and tag: can be excluded with -")
        elif key == "source":
            sources.append(value)
        elif key == "path":
            paths.append(normalise(value))
        elif key == "after":
            afters.append(_moment(value, key, timezone))
        elif key == "before":
            befores.append(_moment(value, key, timezone))
        else:
            found = [_phrase(value)] if is_phrase else list(_plain(value))
            plain += [] if minus else [value]
            (excluded if minus else terms).extend(term for term in found if term is not None)
    asked = " ".join(plain)
    group = language_group(detect(asked)) if same_language and asked else ""
    filters = Filters(
        tuple(dict.fromkeys(wanted_tags)),
        tuple(dict.fromkeys(without_tags)),
        tuple(sources),
        tuple(paths),
        (kind,) if kind else (),
        max(afters, default=""),
        min(befores, default=""),
        group,
    )
    return Query(tuple(dict.fromkeys(terms)), tuple(dict.fromkeys(excluded)), filters, asked)


def telling(terms: Sequence[Term]) -> Sequence[Term]:
    """The terms that say what is looked for: without stop words and lone particles, while others remain."""
    return [term for term in terms if not all(map(_is_empty_word, term.words))] or terms


def loosely(terms: Iterable[Term]) -> str:
    """The FTS5 expression for any of the terms, sentences by their parts."""
    return _any(part for term in terms for part in (term.parts if term.is_sentence else (term.match,)))


def by_parts(terms: Iterable[Term]) -> str:
    """The FTS5 expression for any part of any of the terms."""
    return _any(part for term in terms for part in term.parts or (term.match,))


def _any(expressions: Iterable[str]) -> str:
    """Stop words and bigrams of hiragana only are left out while others remain."""
    unique = list(dict.fromkeys(expressions))
    return " OR ".join([one for one in unique if not _is_empty_word(one.rstrip(" *").strip('"'))] or unique)


def _is_empty_word(word: str) -> bool:
    return word in STOP_WORDS or is_hiragana(word)


def _tokens(text: str) -> Iterator[tuple[bool, str, str, bool]]:
    """(is excluded, filter key, value, is a phrase). What the grammar does not take is plain text."""
    # A lone surrogate can come in through a shell's arguments; SQLite takes only real text.
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    for match in _TOKEN.finditer(text):
        phrase, plain = match["phrase"], match["text"]
        key = (match["key"] or "").lower()
        value = plain if phrase is None else phrase
        if key and not value.strip():
            continue
        yield bool(match["minus"]), key, value, phrase is not None


def _plain(text: str) -> Iterator[Term]:
    """The terms of one word as typed: a CJK run and what touches it is one; `node.js` is a phrase of its pieces."""
    words: list[str] = []
    for part in _SEPARATORS.split(normalise(text)):
        found = list(pieces(part))
        if any(is_cjk for is_cjk, _ in found):
            if words:
                yield _words(words)
                words = []
            yield _run(part, found)
        else:
            words += [word for _, word in found]
    if words:
        yield _words(words)


def _words(words: list[str]) -> Term:
    marks = tuple((False, word) for word in words)
    return Term(_quoted(words), marks, tuple(_quoted([word]) for word in words) if len(words) > 1 else ())


def _run(part: str, found: list[tuple[bool, str]]) -> Term:
    """A CJK run, or one with words grown into it (第3回).

    Words at either end may be parts of longer ones (3回 in 第13回), so the index is asked for what lies between the
    first and the last run, and what it finds is checked for the whole by substring.
    """
    runs = [index for index, (is_cjk, _) in enumerate(found) if is_cjk]
    first, last = runs[0], runs[-1]
    tokens: list[str] = []
    for index in range(first, last):
        is_cjk, text = found[index]
        tokens += [*bigrams(text), text[-1]] if is_cjk else [text]
    final = found[last][1]
    tokens += bigrams(final) or [final]
    term = Term(_quoted(tokens, prefix=len(final) == 1), ((True, part),), recheck=part if len(found) > 1 else "")
    if len(part) <= EXACT_RUN:
        return term
    parts: list[str] = []
    for is_cjk, text in found:
        pairs = bigrams(text) if is_cjk else []
        parts += [_quoted([pair]) for pair in pairs] or [_quoted([text], prefix=is_cjk)]
    return replace(
        term,
        marks=((True, part), *_inner_marks(found)),
        parts=tuple(parts),
        is_sentence=len(part) > LONGEST_COMPOUND or has_hiragana(part),
    )


def _inner_marks(found: list[tuple[bool, str]]) -> Iterator[tuple[bool, str]]:
    for is_cjk, text in found:
        if is_cjk:
            for pair in bigrams(text):
                if not is_hiragana(pair):
                    yield True, pair
        else:
            yield False, text


def _phrase(text: str) -> Term | None:
    """A quoted phrase: its words and runs one after the other, whatever punctuation is between them."""
    found = list(pieces(normalise(text).replace("_", " ")))
    if not found:
        return None
    tokens: list[str] = []
    for is_cjk, piece in found[:-1]:
        tokens += [*bigrams(piece), piece[-1]] if is_cjk else [piece]
    is_cjk, piece = found[-1]
    tokens += (bigrams(piece) or [piece]) if is_cjk else [piece]
    return Term(_quoted(tokens, prefix=is_cjk and len(piece) == 1), tuple(found), is_required=True)


def _quoted(tokens: list[str], *, prefix: bool = False) -> str:
    # Tokens hold letters and digits only; the quotes make FTS5 read words such as OR and NEAR as words.
    return f'"{" ".join(tokens)}"' + (" *" if prefix else "")


def moment_after(value: str, key: str, timezone: tzinfo) -> str:
    """The end of a year, month, day or instant in the user's time zone, as UTC text: the first moment after it.

    Raises:
        QueryError: it is none of these.
    """
    begin = datetime.fromisoformat(_moment(value, key, timezone)).astimezone(timezone)
    parts = len(re.findall(r"\d+", value)) if re.fullmatch(r"\s*\d{4}([-/.]\d{1,2}){0,2}\s*", normalise(value)) else 0
    if parts == 1:
        end = begin.replace(year=begin.year + 1)
    elif parts == 2:
        end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    elif parts == 3 or value.strip() in ("today", "yesterday"):
        end = begin + timedelta(days=1)
    else:
        end = begin + timedelta(seconds=1)
    return utc_text(end)


def _moment(value: str | date, key: str, timezone: tzinfo) -> str:
    """The begin of a year, month, day or instant in the user's time zone, as UTC text."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=timezone)
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day, tzinfo=timezone)
    else:
        text = normalise(value.strip())
        if text in ("today", "yesterday"):
            midnight = datetime.now(timezone).replace(hour=0, minute=0, second=0, microsecond=0)
            moment = midnight - timedelta(days=text == "yesterday")
        else:
            padded = re.sub(r"[/.]", "-", text)
            if re.fullmatch(r"\d{4}(-\d{1,2}){0,2}", padded):
                year, month, day = (*map(int, padded.split("-")), 1, 1)[:3]
                padded = f"{year:04d}-{month:02d}-{day:02d}"
            try:
                moment = datetime.fromisoformat(padded.upper())
            except ValueError:
                raise QueryError(
                    f"{key}:{value} is not a date: write 2026, 2026-11, 2026-11-24, today or yesterday"
                ) from None
            moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone)
    return utc_text(moment)
