"""Sentences in Japanese or English, with numbers and words of notes put in: escaped, whatever a note says.

A notebook says what one sees right beside the plot, computed from what is there. Templates are ours and may hold HTML;
what is put into them never becomes HTML.
"""

from __future__ import annotations

import html
import re
import string
from datetime import date, datetime
from typing import Any, Literal, cast

from nescord.errors import UsageError
from nescord.reports import showing
from nescord.reports.forecasts import DAYS_A_MONTH

Language = Literal["ja", "en"]
_WORDS = re.compile(r"([a-z][a-z -]*)(?:/([a-z][a-z -]*))?")


def known_language(language: str) -> Language:
    """`language` as it is.

    Raises:
        UsageError: it is neither "ja" nor "en".
    """
    if language not in ("ja", "en"):
        raise UsageError(f'language {language!r} is not known: give "ja" or "en"')
    return cast("Language", language)


class Speaker:
    """Says what it is given in both languages in the one that it was made with.

    In templates, `{n}` of a whole number has separators for thousands, `{n:note}` is "1 note" or "2 notes",
    `{n:entry/entries}` says the plural itself, a time is its day, text is escaped, and any other format is Python's.
    """

    def __init__(self, language: str) -> None:
        self.language: Language = known_language(language)

    def text(self, ja: str, en: str, /, **values: object) -> str:
        """For labels of plots and columns: not escaped, so never for HTML."""
        return _Plain().format(ja if self.language == "ja" else en, **values)

    def html(self, ja: str, en: str, /, **values: object) -> str:
        """A sentence with all values escaped."""
        return _Escaped().format(ja if self.language == "ja" else en, **values)

    def span(self, months: float) -> str:
        """A stretch of time, roughly: less than two months in days."""
        days = months * DAYS_A_MONTH
        if days < 1:
            return self.text("1 日足らず", "less than a day")
        if months < 2:
            return self.text("{n} 日", "{n:day}", n=round(days))
        return self.text("{n} か月", "{n:month}", n=round(months))

    def __call__(self, ja: str, en: str, /, **values: object) -> None:
        """Show a paragraph."""
        self._show("p", self.html(ja, en, **values))

    def title(self, ja: str, en: str, /, **values: object) -> None:
        """Show the title of the notebook: once, at its top."""
        self._show("h1", self.html(ja, en, **values))

    def heading(self, ja: str, en: str, /, **values: object) -> None:
        """Show the question that what follows answers."""
        self._show("h2", self.html(ja, en, **values))

    def _show(self, tag: str, inside: str) -> None:
        showing.show(showing.Html(f'<{tag} lang="{self.language}">{inside}</{tag}>'))


class _Plain(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        number = getattr(value, "item", None)  # of numpy
        value = number() if callable(number) else value
        if isinstance(value, int) and not isinstance(value, bool):
            if not format_spec:
                return f"{value:,}"
            if words := _WORDS.fullmatch(format_spec):
                one, many = words[1], words[2] or f"{words[1]}s"
                # Format codes of one letter ("d", "x") are no words.
                if len(one) > 1:
                    return f"{value:,} {one if value == 1 else many}"
        if isinstance(value, date | datetime) and not format_spec:
            return f"{value:%Y-%m-%d}"
        return str(super().format_field(value, format_spec))


class _Escaped(_Plain):
    def format_field(self, value: Any, format_spec: str) -> str:
        return html.escape(super().format_field(value, format_spec))
