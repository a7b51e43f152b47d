"""What people asked of the notes, as far as the marts tell: searches, questions, and what they seem to be after."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nescord.errors import UsageError
from nescord.knowing.terms import plain, surfaces, terms
from nescord.reports import golden
from nescord.words import normalise

if TYPE_CHECKING:
    import duckdb
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own

    from nescord.reports.golden import Run

# A question that fits more notes than these is about none of them.
_MOST_MEANT = 10


def questions(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Each different question, the most often unanswered first; spelling, case and spaces set none apart.

    Conversations hold nothing that is not among the questions, too.

    Columns: text, as it was asked first; times; unanswered, how often there was no answer or no hit; is_open, whether
    there was none the last time; last (moment).
    """
    rows = connection.sql(
        """
        SELECT text, happened_at, NOT is_answered AS failed FROM questions WHERE text IS NOT NULL
        UNION ALL SELECT query, happened_at, hits = 0 FROM events_search WHERE query IS NOT NULL
        ORDER BY happened_at, text, failed DESC
        """
    ).df()
    rows["key"] = [" ".join(normalise(text).split()).rstrip("?!。.") for text in rows.text]
    rows = rows[rows.key != ""]
    grouped = rows.groupby("key", sort=True).agg(
        text=("text", "first"),
        times=("text", "size"),
        unanswered=("failed", "sum"),
        is_open=("failed", "last"),
        last=("happened_at", "max"),
    )
    grouped = grouped.astype({"unanswered": int, "is_open": bool})
    asked: pd.DataFrame = grouped.sort_values(["unanswered", "times", "text"], ascending=[False, False, True])
    return asked.reset_index(drop=True)


def golden_words(run: Run) -> dict[str, str]:
    """The golden queries of a run, by id: what was asked is not remembered with it. Empty where their file is gone,
    cannot be read, or is not any more what the run has asked."""
    file = Path(run.file)
    with suppress(OSError, UsageError):
        if hashlib.sha256(file.read_bytes()).hexdigest().startswith(run.fingerprint or "none"):
            return {each.id: each.query for each in golden.load(file)}
    return {}


def asked_for(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Notes that somebody seems to be after: columns note_id, times.

    Which notes a search gave is not kept. A question is taken to ask for the notes whose title, tags and headings hold
    all of its words, unless those are many; a review of a card asks for its note.
    """
    import pandas as pd

    holding = _holding(connection)
    times: Counter[str] = Counter(
        dict(connection.sql("SELECT note_id, count(*) FROM reviews GROUP BY 1 ORDER BY 1").fetchall())
    )
    for row in questions(connection).itertuples():
        words = list(terms(row.text))
        meant = set.intersection(*(holding.get(word, set()) for word in words)) if words else set()
        if len(meant) <= _MOST_MEANT:
            times.update(dict.fromkeys(meant, int(row.times)))
    return pd.DataFrame(sorted(times.items()), columns=["note_id", "times"])


def missing_words(connection: duckdb.DuckDBPyConnection, unanswered: pd.DataFrame) -> pd.DataFrame:
    """The words of unanswered questions that fewer notes have in title, tags or headings than questions have them.

    Args:
        unanswered: as `questions` gives them.

    Columns: word, asked (questions that hold it, each as often as it stayed unanswered), notes.
    """
    import pandas as pd

    holding = _holding(connection) if len(unanswered) else {}
    asked: Counter[str] = Counter()
    written: dict[str, str] = {}
    for row in unanswered.itertuples():
        asked.update(dict.fromkeys(terms(row.text), int(row.unanswered)))
        written.update(surfaces(row.text))
    rows = [(written[word], times, len(holding.get(word, ()))) for word, times in asked.items()]
    rows = [row for row in rows if row[2] < row[1]]
    rows.sort(key=lambda row: (-row[1], row[2], row[0]))
    return pd.DataFrame(rows, columns=["word", "asked", "notes"])


def _holding(connection: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    """Each word of titles, tags and headings -> the notes that have it there."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    rows = connection.sql(
        """
        SELECT note_id, concat_ws(chr(10), title, list_aggregate(tags, 'string_agg', ' '), headings) FROM notes
        LEFT JOIN (SELECT note_id, string_agg(DISTINCT headings, chr(10)) AS headings FROM chunks GROUP BY 1)
        USING (note_id) WHERE trashed_at IS NULL
        """
    ).fetchall()
    for note, text in rows:
        for word in terms(plain(text)):
            found[word].add(note)
    return dict(found)
