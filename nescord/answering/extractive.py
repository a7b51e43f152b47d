"""Answers that no model writes: the best passages, word for word, their matches marked.

Only what would call people is taken out of the text; a citation has its passage as it stands in the note.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from nescord.answering import Answer, Citation
from nescord.answering.cleaning import without_mentions
from nescord.answering.pack import paragraphs, stripped
from nescord.catalog import search as search_sql
from nescord.catalog.search import Passage
from nescord.notes import SearchHit
from nescord.snippets import Marker

# Passages in an answer, and about how many characters of one are shown.
PASSAGES = 4
LONGEST = 700


def extract(
    connection: apsw.Connection, hits: Sequence[SearchHit], marker: Marker, *, missing: Sequence[str] = ()
) -> Answer:
    """The answer that `hits` (best first) give: the best part of each, equal texts once."""
    passages = {passage.chunk: passage for passage in search_sql.passages(connection, [hit.chunk_id for hit in hits])}
    citations: list[Citation] = []
    seen: set[bytes | str] = set()
    for hit in hits:
        passage = passages.get(hit.chunk_id)
        if passage is None or passage.text_hash in seen or len(citations) == PASSAGES:
            continue
        start, end = _best_part(passage, marker)
        text = passage.body[start:end]
        if text in seen:  # chunks that differ may widen to the same paragraphs
            continue
        seen |= {passage.text_hash, text}
        citations.append(
            Citation(
                len(citations) + 1, hit.note_id, hit.path, hit.title, hit.heading, hit.link, start, end, text,
                marker.marks(text), hit.score,
            )
        )  # fmt: skip
    return Answer(
        text="\n\n".join(f"{without_mentions(citation.text)} [{citation.number}]" for citation in citations),
        citations=tuple(citations),
        missing=tuple(missing),
        weak=all(hit.weak for hit in hits),
    )


def _best_part(passage: Passage, marker: Marker) -> tuple[int, int]:
    """Where in the body the passage stands: the chunk, widened into its neighbours to whole paragraphs where the border
    between them cuts one, or narrowed around its matches where it is too long."""
    body, start, end = passage.body, passage.start, passage.end
    if end - start <= LONGEST:
        return paragraphs(body, start, end, 2 * LONGEST)
    first, last = marker.densest(body[start:end], LONGEST)
    return stripped(body, start + first, start + last)
