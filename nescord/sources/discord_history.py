"""Discord's history as a source of notes: what is stored and what an export has, merged and in groups."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

from nescord.discord_text import clip
from nescord.sources.discord_messages import DiscordChannel, pieces, place
from nescord.sources.discord_threads import GAP_MINUTES, Limits, groups
from nescord.sources.entries import Entry, SourceNote, digest_of
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.catalog.discord_history import Planned, Spool, SpooledMessage

_MOST_WORDS = 60
_LINK = re.compile(r"\[((?:\\.|[^\]\\])*)\]\([^)]*\)")
_ESCAPED = re.compile(r"\\([^\w\s])")
_PERSON = re.compile(r"user:([0-9]+)")


class DiscordHistory:
    """A `NoteSource` over the messages in a spool.

    `stored` gives path, text and author of the notes that there are of a channel: it is asked when the scan begins,
    which is when nobody else imports. Then `erased` says which messages, and what of which people until when (ids and
    Unix seconds), must not come back; `left_out` counts them. Times are shown in `zone`.
    """

    def __init__(
        self,
        name: str,
        root: str,
        spool: Spool,
        stored: Callable[[DiscordChannel], Iterable[tuple[str, str, str]]],
        *,
        gap_minutes: int = GAP_MINUTES,
        zone: tzinfo = UTC,
        erased: Callable[[], tuple[Iterable[int], Mapping[int, int]]] = lambda: ((), {}),
    ) -> None:
        self.name = name
        self.root = root
        self.total = 0  # how many notes there are to be, known when the first of them is given
        self._spool = spool
        self._stored = stored
        self._gap_minutes = gap_minutes
        self._zone = zone
        self._erased = erased
        self.left_out = 0
        self._channels: dict[int, DiscordChannel] = {}

    def scan(self) -> Iterator[Entry]:
        """Merge, group, and say what there is to be: all notes of each channel that the export has something of."""
        self._channels = {channel.id: channel for channel in self._spool.channels()}
        self.left_out = self._spool.leave_out(*self._erased())
        for channel in self._channels.values():
            for path, text, author in self._stored(channel):
                person = _PERSON.fullmatch(author)
                found = pieces(text)
                known = (replace(one, author_id=person[1]) for one in found) if person else found
                self._spool.add_stored(channel.id, path, known)
        self._spool.order()
        for channel in self._channels.values():
            self._spool.plan(self._planned(channel))
        self.total = self._spool.count_planned()
        for planned in self._spool.planned():
            yield Entry(planned.path, planned.digest)

    def read(self, entry: Entry) -> SourceNote:
        """The note of a group of messages."""
        planned = self._spool.find_planned(entry.path)
        channel = self._channels[planned.channel]
        messages = list(self._spool.messages(channel, planned=planned))
        title = self._title(channel, planned, messages[0])
        people = {message.author_id for message in messages}
        only = people.pop() if len(people) == 1 else ""
        return SourceNote(
            text="\n\n".join([f"# {title}", place(channel), *(message.text for message in messages)]) + "\n",
            title=title,
            tags=("discord",),
            author=f"user:{only}" if only else "",
            origin=f"{channel.link}/{messages[0].id}",
            created_at=_utc(messages[0].at),
            updated_at=_utc(max(max(message.at, message.edited) for message in messages)),
        )

    def _planned(self, channel: DiscordChannel) -> Iterator[Planned]:
        from nescord.catalog.discord_history import Planned

        limits = Limits.of(self._gap_minutes, is_thread="thread" in channel.kind)
        for group in groups(self._spool.messages(channel), limits):
            first, last = group[0], group[-1]
            yield Planned(
                path=first.path or _path(channel, first),
                channel=channel.id,
                first_at=first.at,
                first_id=first.id,
                last_at=last.at,
                last_id=last.id,
                digest=digest_of(*(message.text for message in group)),
                is_stored=first.begins,
            )

    def _title(self, channel: DiscordChannel, planned: Planned, first: SpooledMessage) -> str:
        day = datetime.fromtimestamp(first.at, self._zone).strftime("%Y-%m-%d")
        if "thread" in channel.kind and self._spool.is_first(planned):
            return _plain(channel.label)
        words = " ".join(_ESCAPED.sub(r"\1", _LINK.sub(r"\1", first.tail)).replace("`", " ").split())
        return " · ".join(filter(None, (_plain(channel.label), day, clip(words, _MOST_WORDS))))


def _path(channel: DiscordChannel, first: SpooledMessage) -> str:
    """Of ids and the day alone, so that it is the same whatever channels and people are called later."""
    return f"{channel.id}/{datetime.fromtimestamp(first.at, UTC):%Y-%m-%d}-{first.id}.md"


def _plain(text: str) -> str:
    return " ".join(text.split())


def _utc(seconds: int) -> str:
    return utc_text(datetime.fromtimestamp(seconds, UTC))
