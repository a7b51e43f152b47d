"""Hits as a person reads them: a line with the title, why it was found, where it lies; a button opens each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bot.reasons import keys_of
from bot.render import Button, Reply, clip, escape, link, marked, units
from bot.visit import Visit
from nescord.notes import SearchHit, SearchHits

# Of an embed's 4,096 characters, the rest is for notices.
_ROOM = 3700
_TITLE, _PATH = 80, 60
_LEAST, _MOST = 60, 330


def hits_reply(visit: Visit, title: str, hits: SearchHits) -> Reply:
    """The hits below that title (Markdown), with what could not be asked."""
    each = _ROOM // max(1, len(hits))
    notices = missing(visit, hits.degraded, hits.mode)
    if hits and all(hit.weak for hit in hits):
        notices = [visit.text("search.all_weak"), *notices]
    return Reply(
        title=title,
        body="\n".join(_entry(visit, number, hit, each) for number, hit in enumerate(hits, 1)),
        buttons=note_buttons([hit.note_id for hit in hits]),
        notices=notices,
    )


def missing(visit: Visit, reasons: Sequence[str], mode: str) -> list[str]:
    """What could not be asked, in the words of the person's language."""
    return [visit.text(key) for key in keys_of(reasons, mode=mode)]


def note_buttons(note_ids: Sequence[str]) -> list[Button]:
    """[1], [2], …: each shows a note, once for each note."""
    return [Button(f"[{number}]", "note", note_id) for number, note_id in enumerate(dict.fromkeys(note_ids), 1)]


def day(iso: str) -> str:
    """A date that Discord shows in the form and zone of who reads it; "" for none."""
    try:
        return f"<t:{int(datetime.fromisoformat(iso).timestamp())}:d>"
    except (ValueError, OverflowError):
        return ""


def shown_path(path: str, note_id: str) -> str:
    """The path of a note; "" where it is made of its id, as that of one kept through us is, and says nothing."""
    return "" if path.endswith(f"/{note_id}.md") else path


def title_link(title: str, url: str) -> str:
    """A title in bold, linked where the link is one for everybody, not one into the owner's machine."""
    return f"**{link(clip(' '.join(title.split()), _TITLE), url)}**"


def _entry(visit: Visit, number: int, hit: SearchHit, room: int) -> str:
    head = f"**{number}.** {title_link(hit.title, hit.link)} · {day(hit.updated_at)}".removesuffix(" · ")
    small = [escape(shown_path(hit.path, hit.note_id), _PATH), visit.text("search.weak") if hit.weak else ""]
    foot = " · ".join(part for part in small if part)
    foot = f"-# {foot}" if foot else ""
    left = room - units(head) - units(foot) - 3
    snippet = " ".join(marked(hit.snippet, hit.marks, max(_LEAST, min(left, _MOST))).split())
    return "\n".join(part for part in (head, snippet, foot) if part)
