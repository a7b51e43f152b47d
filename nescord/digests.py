"""Who gets a digest of their notes, what it says, and how it is sent: once a day, whatever dies in between.

A digest is marked as begun, posted, and marked as sent. Where a kill leaves one begun, the channel is asked whether it
is there before it is posted again. One whose hour was missed is sent later on the same day; a day that is over is over,
and the next digest tells of both. Sending needs the bot's token and not the bot: a flow does it.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from nescord import durable
from nescord.catalog import digests as sql
from nescord.catalog.digests import Digest
from nescord.digest_texts import DigestText, digest_text, last_line
from nescord.errors import RateLimitedError, ServiceUnavailableError, UsageError
from nescord.locks import held_at_once
from nescord.notes import Scope
from nescord.times import utc_text

if TYPE_CHECKING:
    from nescord.discord_rest import DiscordRest
    from nescord.knowledge import KnowledgeManager
    from nescord.opened import OpenBase
    from nescord.settings import Settings

__all__ = ["Digest", "DigestText", "Digests", "SentDigests", "send_due"]

_TARGET = re.compile(r"(?:user|channel):[0-9]{1,20}")
_GUILD = re.compile(r"guild:[0-9]{1,20}")
_PERSON = re.compile(r"user:[0-9]{1,20}")
# Boxes that nobody ticks for so long are no task any more.
_TASK_DAYS = 30
# After a long silence what is new is not news.
_LONGEST_TOLD = timedelta(days=7)
# Between composing a digest and its being posted: told twice is better than not at all.
_POSTING = timedelta(minutes=1)
# After so many without an answer Discord is taken to be away.
_AWAY_IN_A_ROW = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SentDigests:
    """What became of the digests that were due: `sent`, `found` (they were there already, after a kill), `empty` (there
    was nothing to tell), and `failed`, each with the reason; those are not tried again that day. `remark` says why some
    are left for the next call."""

    sent: int = 0
    found: int = 0
    empty: int = 0
    failed: tuple[str, ...] = field(default=())
    remark: str = ""


class Digests:
    """The digests of a knowledge base."""

    def __init__(self, base: OpenBase) -> None:
        self._base = base

    def subscribe(
        self,
        target: str,
        *,
        guild: str = "",
        who: str,
        language: Literal["ja", "en"],
        hour: int,
        timezone: str,
        now: datetime | None = None,
    ) -> Digest:
        """Send a digest to a person or a channel at that hour (0..23) each day; a new choice replaces the last one.

        Where the hour has passed today, the first one comes tomorrow.

        Raises:
            UsageError: the target, hour or time zone is none; a person asks for another one; a channel is of no guild.
        """
        if not _TARGET.fullmatch(target) or not _PERSON.fullmatch(who):
            raise UsageError(f'a digest goes to user:<id> or channel:<id>, not to "{target}"')
        if target.startswith("user:") and target != who:
            raise UsageError("nobody can ask for a digest in the name of another person")
        if target.startswith("channel:") and not _GUILD.fullmatch(guild):
            raise UsageError("the digest of a channel is that of its guild: this channel has none")
        if language not in ("ja", "en"):
            raise UsageError(f'language "{language}" is not known: it is ja or en')
        if not 0 <= hour <= 23:
            raise UsageError(f"hour {hour} is out of range: 0 to 23")
        zone = _zone(timezone)
        if zone is None:
            raise UsageError(f'time zone "{timezone[:100]}" is not known: name one such as Asia/Tokyo or Europe/Berlin')
        now = now or datetime.now(UTC)
        here = now.astimezone(zone)
        today = here.strftime("%Y-%m-%d")
        tomorrow = (here + timedelta(days=1)).strftime("%Y-%m-%d")
        with self._base.verb() as catalog, catalog.write() as connection:
            known = sql.find(connection, target)
            if known is not None and known.day > tomorrow:
                known = replace(known, day="", state="")  # of a clock that was wrong
            is_todays = known is not None and known.day >= today
            if known is None:
                known = Digest(target, guild, who, language, hour, timezone, "", "", utc_text(now))
            chosen = replace(
                known,
                guild=guild if target.startswith("channel:") else "",
                who=who,
                language=language,
                hour=hour,
                timezone=timezone,
            )
            if not is_todays and here.hour >= hour:
                # The last day that is dealt with; that one was sent, if it was, stays known by the state.
                chosen = replace(chosen, day=today, state="sent" if chosen.state == "sent" else "")
            sql.put(connection, chosen)
        return chosen

    def unsubscribe(self, target: str) -> bool:
        """Send no more to that target; whether there was a digest."""
        with self._base.verb() as catalog, catalog.write() as connection:
            return sql.drop(connection, target)

    def find(self, target: str) -> Digest | None:
        """The digest that goes to a target."""
        with self._base.verb() as catalog, catalog.read() as connection:
            return sql.find(connection, target)

    def due(self, now: datetime) -> list[Digest]:
        """Those whose hour has come today, where they are, and that were neither sent nor have failed today."""
        with self._base.verb() as catalog, catalog.read() as connection:
            known = sql.all_digests(connection)
        return [each for each in known if self._is_due(each, now)]

    def is_any_due(self) -> bool:
        """Whether there is one to be sent now."""
        return bool(self.due(datetime.now(UTC)))

    def next_at(self, digest: Digest, now: datetime) -> datetime:
        """When it is sent next (at the first run of the flow from then on), in its own time zone; never before now."""
        here = now.astimezone(self._zone_of(digest))
        moment = here.replace(hour=digest.hour, minute=0, second=0, microsecond=0)
        # Where the zone was changed, the day that was dealt with may be one that is still to come here.
        while moment.strftime("%Y-%m-%d") <= digest.day and not self._is_due(digest, now):
            moment += timedelta(days=1)
        return max(moment, here)

    def day(self, digest: Digest, now: datetime) -> str:
        """Which day it is where the digest goes: `2026-11-28`."""
        return now.astimezone(self._zone_of(digest)).strftime("%Y-%m-%d")

    def compose(self, digest: Digest, now: datetime) -> DigestText | None:
        """What it says: notes since the last one, open tasks, and a person's cards; None: there is nothing to tell."""
        from nescord.catalog import knowing as knowing_sql
        from nescord.knowing.period import Period
        from nescord.knowing.review import review
        from nescord.spaced import Spaced

        scope = self._scope(digest)
        until, since = utc_text(now), self._told_until(digest, now)
        tasks_since = utc_text(now - timedelta(days=_TASK_DAYS))
        with self._base.verb() as catalog, catalog.read() as connection:
            # The newest first: not all may have room.
            notes = knowing_sql.written_between(connection, scope, since, until)[::-1]
            month = review(connection, scope, Period("", tasks_since, until), self._zone_of(digest))
        is_person = digest.target.startswith("user:")
        return digest_text(
            digest.language,
            self.day(digest, now),
            [note.title for note in notes if since <= note.created_at],
            [note.title for note in notes if note.created_at < since],
            [(task.text, task.note.title) for task in reversed(month.tasks)],
            Spaced(self._base, scope, digest.target).count_due(now) if is_person else 0,
        )

    def mark(self, digest: Digest, day: str, state: sql.State, told_until: datetime | None = None) -> bool:
        """Keep what became of the digest of a day; False: nobody wants it any more."""
        with self._base.verb() as catalog, catalog.write() as connection:
            return sql.mark(connection, digest.target, day, state, utc_text(told_until) if told_until else "")

    def _scope(self, digest: Digest) -> Scope:
        """A person sees their own space, an owner the personal one as well; a channel sees its guild's, and no more."""
        kind, _, number = digest.target.partition(":")
        if kind == "channel":
            return Scope(frozenset({digest.guild}))
        personal = {"personal"} if int(number) in self._base.settings.owner_ids else set()
        return Scope(frozenset({digest.target} | personal))

    def _told_until(self, digest: Digest, now: datetime) -> str:
        # The first one is to show what it is for, also when it was asked for an hour ago and comes a day late.
        day_before = utc_text(datetime.fromisoformat(digest.changed_at) - timedelta(days=1))
        told = digest.changed_at if digest.state else day_before
        return max(told, utc_text(now - _LONGEST_TOLD))

    def _is_due(self, digest: Digest, now: datetime) -> bool:
        here = now.astimezone(self._zone_of(digest))
        # By the clock on the wall: an hour that a summer time leaves out has come when the next one has.
        today = here.strftime("%Y-%m-%d")
        return here.hour >= digest.hour and (digest.day < today or (digest.day == today and digest.state == "begun"))

    def _zone_of(self, digest: Digest) -> tzinfo:
        # A zone may be taken out of the world's list.
        return _zone(digest.timezone) or ZoneInfo(self._base.settings.timezone)


def send_due(settings: Settings, km: KnowledgeManager, now: datetime | None = None) -> SentDigests:
    """Send every digest that is due, each once. Without a token, or with nothing due, nothing is asked for.

    Raises:
        SettingsError: Discord refuses the token. ServiceUnavailableError: Discord does not answer. The next call does
            the rest.
    """
    if settings.discord_token is None:
        return SentDigests(remark="no bot token is set (DISCORD_TOKEN)")
    now = now or datetime.now(UTC)
    digests = km.digests
    if not digests.due(now):
        return SentDigests()
    durable.make_folder(km.folder.run)
    with held_at_once(km.folder.run / "digest.lock") as is_ours:
        if not is_ours:
            return SentDigests(remark="another process is sending them")
        from nescord.discord_rest import DiscordRest

        # Asked again, under the lock: whoever had it has sent some.
        due = digests.due(now)
        with DiscordRest(settings.discord_token, settings.discord_api_base) as rest:
            return _sent(rest, digests, due, now)


def _sent(rest: DiscordRest, digests: Digests, due: Sequence[Digest], now: datetime) -> SentDigests:
    from nescord.discord_rest import DiscordRefusedError

    done = SentDigests()
    away: ServiceUnavailableError | None = None
    in_a_row = 0
    for digest in due:
        day = digests.day(digest, now)
        try:
            outcome = _deliver(rest, digests, digest, day, now)
        except RateLimitedError as error:
            return replace(done, remark=str(error))  # the next call goes on; asking at once would be held against us
        except ServiceUnavailableError as error:
            # It may be this one only, and the others must not wait for it; an outage is one for all.
            away, in_a_row = error, in_a_row + 1
            if in_a_row == _AWAY_IN_A_ROW:
                break
            continue
        except DiscordRefusedError as error:
            digests.mark(digest, day, "failed")
            # Not whom it was for: logs and records are kept elsewhere, and for other people's eyes.
            where = digest.target if digest.target.startswith("channel:") else "a direct message"
            _log.warning("digest: %s: %s; not tried again today", where, error)
            done = replace(done, failed=(*done.failed, f"{where}: {error}"))
        else:
            done = replace(done, **{outcome: getattr(done, outcome) + 1})
        in_a_row = 0
    if away is not None:
        if done == SentDigests():
            raise away
        return replace(done, remark=str(away))
    return done


def _deliver(
    rest: DiscordRest, digests: Digests, digest: Digest, day: str, now: datetime
) -> Literal["sent", "found", "empty"]:
    kind, _, number = digest.target.partition(":")
    channel = ""
    if digest.day == day and digest.state == "begun":
        channel = rest.direct_channel(number) if kind == "user" else number
        found = _already_there(rest, channel, day)
        if found is not None:
            digests.mark(digest, day, "sent", min(now, found - _POSTING))
            return "found"
    text = digests.compose(digest, now)
    if text is None:
        digests.mark(digest, day, "sent", now)
        return "empty"
    channel = channel or (rest.direct_channel(number) if kind == "user" else number)
    if not digests.mark(digest, day, "begun"):
        return "empty"  # nobody wants it any more
    try:
        rest.send(channel, text.text, _nonce(digest, day))
    except RateLimitedError:
        digests.mark(digest, digest.day, digest.state)  # it was not posted, for certain
        raise
    digests.mark(digest, day, "sent", now)
    return "sent"


def _already_there(rest: DiscordRest, channel: str, day: str) -> datetime | None:
    """When the digest of that day was posted in the channel, if it was."""
    us, line = rest.me(), last_line(day)
    return next(
        (each.sent_at for each in rest.recent(channel) if each.author == us and each.content.endswith(line)), None
    )


def _nonce(digest: Digest, day: str) -> str:
    return hashlib.blake2b(f"{digest.target} {day}".encode(), digest_size=12).hexdigest()


def _zone(key: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(key)
    except (KeyError, ValueError, OSError):  # unknown; not a relative path; a folder such as "Asia"
        return None
