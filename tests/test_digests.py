"""A digest says what is new, to whom it is meant for, once a day; also when what sends it is killed or refused."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord import KnowledgeManager, Settings
from nescord.digest_texts import LONGEST, digest_text, last_line
from nescord.digests import Digest, SentDigests, send_due
from nescord.discord_text import units
from nescord.errors import ServiceUnavailableError, SettingsError, UsageError
from nescord.locks import held_at_once
from nescord.times import utc_text
from tests.fakes.discord import DiscordFake
from tests.fakes.discord.messages import Message
from tests.vaults import open_base

ADA, BOB, GUILD, CHANNEL = "user:42", "user:43", "guild:7", 700
WORKER = Path(__file__).with_name("digest_worker.py")
SEND = "POST /channels/{channel_id}/messages"


@pytest.fixture
def discord() -> Iterator[DiscordFake]:
    with DiscordFake() as running:
        running.user(42, "ada", locale="ja")
        running.user(43, "bob")
        running.channel(running.guild(7), "digests", id=CHANNEL)
        yield running


@pytest.fixture
def km(tmp_path: Path, discord: DiscordFake) -> Iterator[KnowledgeManager]:
    settings = {"discord_api_base": discord.api_base, "discord_token": discord.token, "owner_ids": "43"}
    with open_base(tmp_path / "data", vector="exact", **settings) as opened:
        yield opened


def subscribed(km: KnowledgeManager, target: str = ADA, **more: object) -> Digest:
    """A digest that is due by now: asked for yesterday, for the first hour of the day."""
    given = {"who": target, "language": "en", "hour": 0, "timezone": "UTC", **more}
    return km.digests.subscribe(target, now=datetime.now(UTC) - timedelta(days=1), **given)  # type: ignore[arg-type]


def sent(km: KnowledgeManager, now: datetime | None = None) -> SentDigests:
    """A moment later: what is written within the very second is left for the next one."""
    return send_due(km._base.settings, km, now or datetime.now(UTC) + timedelta(seconds=2))


def messages(discord: DiscordFake, user: int = 42) -> list[Message]:
    return discord.direct_messages(discord.world.users[user])


def test_a_person_is_told_what_is_new_changed_open_and_due(km: KnowledgeManager, discord: DiscordFake) -> None:
    hers = km.scoped({ADA})
    hers.add_note("- [ ] call @everyone about **it**", title="Plan *A*", space=ADA, author=ADA)
    card = hers.spaced(ADA).next(datetime.now(UTC))
    assert card is not None
    hers.spaced(ADA).grade(card.note.id, 1, card.stamp, datetime.now(UTC) - timedelta(days=3))
    subscribed(km)
    assert sent(km, datetime.now(UTC) + timedelta(seconds=2)).sent == 1
    (message,) = messages(discord)
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    assert message.content.splitlines() == [
        f"📓 **Your notes, {day}**",
        "",
        "**New notes (1)**",
        r"- Plan \*A\*",
        "",
        "**Open tasks (1)**",
        "- call @\u200beveryone about it — Plan \\*A\\*",
        "",
        "🔁 **Cards to review: 1** (`/review`)",
        f"-# NescordBot · digest {day}",
    ]
    assert message.allowed_mentions == {"parse": []}
    discord.check()


def test_nobody_is_told_of_notes_that_they_may_not_see(km: KnowledgeManager, discord: DiscordFake) -> None:
    for space, title in (
        (ADA, "Adas"), (BOB, "Bobs"), (GUILD, "Guilds"), ("guild:8", "Strangers"), ("personal", "Owners"),
    ):  # fmt: skip
        km.scoped({space}).add_note("- [ ] do", title=title, space=space, author="user:1")
    subscribed(km)
    subscribed(km, BOB)  # an owner
    subscribed(km, f"channel:{CHANNEL}", guild=GUILD, who=BOB)
    assert sent(km, datetime.now(UTC) + timedelta(seconds=2)).sent == 3
    said = [
        messages(discord)[0].content,
        messages(discord, 43)[0].content,
        discord.channel_messages(CHANNEL)[0].content,
    ]
    titles = ("Adas", "Bobs", "Guilds", "Strangers", "Owners")
    assert [[title for title in titles if title in text] for text in said] == [["Adas"], ["Bobs", "Owners"], ["Guilds"]]


def test_a_digest_is_sent_once_a_day_and_the_next_one_tells_what_came_since(
    km: KnowledgeManager, discord: DiscordFake
) -> None:
    hers, now = km.scoped({ADA}), datetime.now(UTC)
    hers.add_note("one", title="First", space=ADA)
    subscribed(km, language="ja")
    for _ in range(3):
        sent(km, now + timedelta(seconds=2))
    assert len(messages(discord)) == 1
    assert "**新しいノート (1 件)**" in messages(discord)[0].content
    assert sent(km, now + timedelta(days=1)).empty == 1  # nothing to tell
    with km._base.verb() as catalog, catalog.write() as connection:  # written the day after
        moment = utc_text(now + timedelta(days=1, hours=1))
        connection.execute("UPDATE note SET created_at = ?, updated_at = ?", (moment, moment))
    sent(km, now + timedelta(days=2))
    assert len(messages(discord)) == 2


@pytest.mark.parametrize("commit", [1, 2])
def test_killed_before_or_after_it_was_posted_it_is_there_once(
    km: KnowledgeManager, discord: DiscordFake, commit: int
) -> None:
    """Commit 1 says that it was begun, 2 that it was sent."""
    km.scoped({ADA}).add_note("one", title="First", space=ADA)
    digest = subscribed(km)
    _worker(km, discord, commit)
    assert len(messages(discord)) == commit - 1
    _worker(km, discord, 0)
    assert len(messages(discord)) == 1
    assert len(discord.requests_of(SEND)) == 1  # not even asked for twice: nonces are known for minutes only
    found = km.digests.find(digest.target)
    assert found is not None
    assert (found.day, found.state) == (datetime.now(UTC).strftime("%Y-%m-%d"), "sent")
    _worker(km, discord, 0)
    assert len(messages(discord)) == 1


def test_begun_and_not_posted_it_is_posted_after_a_look(km: KnowledgeManager, discord: DiscordFake) -> None:
    km.scoped({ADA}).add_note("one", title="First", space=ADA)
    digest = subscribed(km)
    today = km.digests.day(digest, datetime.now(UTC))
    km.digests.mark(digest, today, "begun")
    discord.message(discord.world.users[42], f"I can write this, too\n{last_line(today)}")
    done = sent(km)
    assert (done.sent, done.found) == (1, 0)
    assert [message.author.is_bot for message in messages(discord)] == [False, True]


def test_an_answer_that_is_lost_makes_no_second_message(km: KnowledgeManager, discord: DiscordFake) -> None:
    km.scoped({ADA}).add_note("one", title="First", space=ADA)
    subscribed(km)
    discord.lose_answer(SEND)
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        sent(km)
    assert sent(km).found == 1
    assert len(discord.requests_of(SEND)) == 1


def test_a_day_that_is_over_is_not_made_up_for(km: KnowledgeManager, discord: DiscordFake) -> None:
    km.scoped({ADA}).add_note("one", title="First", space=ADA)
    digest = subscribed(km)
    km.digests.mark(digest, (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d"), "begun")
    sent(km)
    (message,) = messages(discord)
    assert message.content.endswith(last_line(datetime.now(UTC).strftime("%Y-%m-%d")))
    assert not discord.requests_of("GET /channels")


def test_who_is_refused_is_said_once_and_not_asked_again_that_day(
    km: KnowledgeManager, discord: DiscordFake, caplog: pytest.LogCaptureFixture
) -> None:
    discord.user(44, "eve", accepts_messages=False)
    for target, guild in (("user:44", ""), ("channel:999", GUILD), (ADA, "")):
        space = guild or target
        km.scoped({space}).add_note("one", title="First", space=space)
        subscribed(km, target, guild=guild, who=target if not guild else BOB)
    done = sent(km)
    assert done.sent == 1  # the others are served
    assert sorted(done.failed) == [
        "a direct message: Discord refused it (403, code 50007)",
        "channel:999: Discord refused it (404, code 10003)",
    ]
    asked = len(discord.requests)
    assert sent(km) == type(done)()
    assert len(discord.requests) == asked
    assert len([each for each in caplog.records if "not tried again today" in each.message]) == 2
    assert "user:44" not in caplog.text
    assert len(km.digests.due(datetime.now(UTC) + timedelta(days=1))) == 3  # tomorrow it is tried again


def test_a_refused_token_stops_everything_and_names_the_mend(
    km: KnowledgeManager, discord: DiscordFake, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "httpx")
    for target in (ADA, BOB):
        km.scoped({target}).add_note("one", title="First", space=target)
        subscribed(km, target)
    discord.refuse_token()
    with pytest.raises(SettingsError, match="set DISCORD_TOKEN"):
        sent(km)
    assert len(discord.requests) == 1
    discord.heal()
    assert sent(km).sent == 2  # on the same day, once somebody has mended it
    assert discord.token not in caplog.text
    assert any("HTTP Request" in each.getMessage() for each in caplog.records)  # httpx did write


def test_a_short_pause_is_kept_and_a_long_one_left_for_the_next_time(
    km: KnowledgeManager, discord: DiscordFake
) -> None:
    km.scoped({ADA}).add_note("one", title="First", space=ADA)
    subscribed(km)
    discord.rate_limit(SEND, 1, retry_after=3600)
    begun = time.monotonic()
    done = sent(km)
    assert (done.sent, done.remark) == (0, "Discord wants a pause of 3600 s: later")
    assert time.monotonic() - begun < 5
    discord.rate_limit(SEND, 2, retry_after=0.3)
    begun = time.monotonic()
    assert sent(km).sent == 1
    assert 0.6 < time.monotonic() - begun < 10
    assert not discord.requests_of("GET /channels")  # it was refused, so it cannot be there


def test_discord_that_is_away_or_no_discord_is_left_for_the_next_time(
    km: KnowledgeManager, discord: DiscordFake
) -> None:
    for target in (ADA, BOB):
        km.scoped({target}).add_note("one", title="First", space=target)
        subscribed(km, target)
    discord.fail(SEND, 2, status=502)
    with pytest.raises(ServiceUnavailableError, match="502"):
        sent(km)
    assert len(discord.requests_of(SEND)) == 2
    assert sent(km).sent == 2
    assert len(messages(discord)) == len(messages(discord, 43)) == 1


def test_one_that_discord_stumbles_over_keeps_nobody_else_from_theirs(
    km: KnowledgeManager, discord: DiscordFake
) -> None:
    km.add_note("For Ada", space=ADA)
    km.add_note("For Bob", space=BOB)
    subscribed(km, ADA)
    subscribed(km, BOB)
    discord.fail("POST /users/@me/channels", 1, 500)
    done = sent(km)
    assert (done.sent, done.failed) == (1, ())
    assert done.remark
    assert len(messages(discord, 43)) == 1
    assert sent(km).sent == 1
    assert len(messages(discord, 42)) == 1


@given(
    moment=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
    zones=st.lists(st.sampled_from(["Asia/Tokyo", "America/Los_Angeles", "UTC", "Pacific/Kiritimati"]), min_size=1),
    hour=st.integers(0, 23),
    later=st.integers(0, 72),
)
def test_what_is_said_to_be_next_is_when_it_comes(
    tmp_path_factory: pytest.TempPathFactory, moment: datetime, zones: list[str], hour: int, later: int
) -> None:
    """However often the zone was changed, and whatever was sent before."""
    now = moment.replace(tzinfo=UTC)
    with open_base(tmp_path_factory.mktemp("next")) as km:
        for zone in zones:
            found = km.digests.subscribe(ADA, who=ADA, language="en", hour=hour, timezone=zone, now=now)
            now += timedelta(hours=later)
            if km.digests.due(now):
                km.digests.mark(found, km.digests.day(found, now), "sent", now)
        found = km.digests.find(ADA)
        assert found is not None
        said = km.digests.next_at(found, now)
        assert said >= now
        assert [each.target for each in km.digests.due(said)] == [ADA]
        if said > now:
            assert not km.digests.due(max(now, said - timedelta(minutes=1)))


def test_a_clock_that_was_ahead_keeps_nobody_waiting_for_months(km: KnowledgeManager) -> None:
    found, far = subscribed(km), datetime.now(UTC) + timedelta(days=90)
    km.digests.mark(found, km.digests.day(found, far), "sent", far)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert not km.digests.due(tomorrow)
    subscribed(km)
    assert km.digests.due(tomorrow)


def test_with_nobody_subscribed_or_no_token_nothing_is_asked_for(
    km: KnowledgeManager, discord: DiscordFake, tmp_path: Path
) -> None:
    begun = time.process_time()
    for _ in range(100):
        sent(km)
    assert time.process_time() - begun < 1.0  # 10 ms each, at most
    subscribed(km)
    without = Settings(data_dir=tmp_path / "data", discord_api_base=discord.api_base)
    assert "no bot token" in send_due(without, km).remark
    assert discord.requests == []


def test_two_processes_do_not_send_at_once(km: KnowledgeManager, discord: DiscordFake) -> None:
    km.scoped({ADA}).add_note("one", title="First", space=ADA)
    subscribed(km)
    with held_at_once(km.folder.run / "digest.lock"):
        assert sent(km).remark == "another process is sending them"
    assert discord.requests == []
    assert sent(km).sent == 1


def test_who_unsubscribes_gets_none(km: KnowledgeManager, discord: DiscordFake) -> None:
    km.scoped({ADA}).add_note("one", title="First", space=ADA)
    subscribed(km)
    assert km.digests.unsubscribe(ADA)
    assert not km.digests.unsubscribe(ADA)
    sent(km)
    assert discord.requests == []


@pytest.mark.parametrize(
    ("zone", "hour", "now", "is_due"),
    [
        ("Asia/Tokyo", 8, "2026-11-27T22:59:00Z", False),
        ("Asia/Tokyo", 8, "2026-11-27T23:05:00Z", True),
        ("Asia/Tokyo", 8, "2026-11-28T14:05:00Z", True),  # 23:05 there: late, the same day
        ("Asia/Kolkata", 7, "2026-11-28T01:05:00Z", False),  # half an hour: 06:35 there
        ("Asia/Kolkata", 7, "2026-11-28T02:05:00Z", True),
        ("Asia/Kathmandu", 6, "2026-11-28T00:05:00Z", False),  # 05:50
        ("Asia/Kathmandu", 6, "2026-11-28T01:05:00Z", True),
        ("Europe/Berlin", 2, "2026-03-29T00:05:00Z", False),  # 01:05; there is no 02:05 on that day
        ("Europe/Berlin", 2, "2026-03-29T01:05:00Z", True),  # 03:05
        ("Europe/Berlin", 2, "2026-10-25T00:05:00Z", True),  # 02:05 for the first time
        ("Pacific/Kiritimati", 0, "2026-11-27T10:05:00Z", True),  # the next day already
        ("Not/A_Zone", 8, "2026-11-27T23:05:00Z", True),  # taken out of the list: that of the settings counts
    ],
)
def test_the_hour_is_that_of_the_clock_on_the_wall(
    km: KnowledgeManager, zone: str, hour: int, now: str, is_due: bool
) -> None:
    digest = km.digests.subscribe(
        ADA, who=ADA, language="ja", hour=hour, timezone="UTC", now=datetime(2026, 1, 1, tzinfo=UTC)
    )
    with km._base.verb() as catalog, catalog.write() as connection:
        connection.execute("UPDATE digest SET timezone = ?", (zone,))
    moment = datetime.fromisoformat(now)
    due = km.digests.due(moment)
    assert bool(due) == is_due
    if is_due:
        km.digests.mark(digest, km.digests.day(due[0], moment), "sent", moment)
        assert not km.digests.due(moment + timedelta(hours=1))  # also where that is the same hour again
        assert km.digests.next_at(due[0], moment).astimezone(UTC) - moment < timedelta(days=2)


def test_who_asks_after_the_hour_gets_the_first_one_tomorrow(km: KnowledgeManager) -> None:
    noon = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)
    digest = km.digests.subscribe(ADA, who=ADA, language="ja", hour=8, timezone="UTC", now=noon)
    assert not km.digests.due(noon + timedelta(hours=1))
    assert km.digests.next_at(digest, noon) == datetime(2026, 11, 29, 8, tzinfo=UTC)
    later = km.digests.subscribe(ADA, who=ADA, language="ja", hour=20, timezone="UTC", now=noon)
    assert km.digests.next_at(later, noon) == datetime(2026, 11, 29, 20, tzinfo=UTC)
    fresh = km.digests.subscribe(BOB, who=BOB, language="ja", hour=20, timezone="UTC", now=noon)
    assert km.digests.next_at(fresh, noon) == datetime(2026, 11, 28, 20, tzinfo=UTC)
    assert [each.target for each in km.digests.due(datetime(2026, 11, 28, 20, 5, tzinfo=UTC))] == [BOB]


def test_changing_the_hour_brings_no_second_one_that_day(km: KnowledgeManager) -> None:
    km.scoped({ADA}).add_note("one", title="First", space=ADA)
    subscribed(km)
    now = datetime.now(UTC) + timedelta(seconds=2)
    assert sent(km, now).sent == 1
    for hour in (now.hour, 23):
        km.digests.subscribe(ADA, who=ADA, language="en", hour=hour, timezone="UTC", now=now)
        assert not km.digests.due(now.replace(hour=23, minute=59))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"target": "user:43"}, "another person"),
        ({"target": "personal"}, "not to"),
        ({"target": "channel:1"}, "that of its guild"),
        ({"hour": 24}, "0 to 23"),
        ({"timezone": "Asia"}, "not known"),
        ({"timezone": "../../etc/passwd"}, "not known"),
        ({"language": "fr"}, "ja or en"),
    ],
)
def test_what_cannot_be_sent_is_refused(km: KnowledgeManager, wrong: dict[str, object], said: str) -> None:
    given = {"target": ADA, "who": ADA, "language": "ja", "hour": 8, "timezone": "Asia/Tokyo", **wrong}
    with pytest.raises(UsageError, match=said):
        km.digests.subscribe(given.pop("target"), **given)  # type: ignore[arg-type]
    assert km.digests.find(ADA) is None


words = st.text(st.sampled_from("a字👩‍👩‍👧*_`<@>[](#).e\u0301\n") | st.characters(), max_size=300)


@given(
    st.lists(words, max_size=30), st.lists(words, max_size=30), st.lists(st.tuples(words, words), max_size=30),
    st.sampled_from(["ja", "en"]),
)  # fmt: skip
def test_a_digest_fits_into_a_message_and_ends_with_its_day(
    written: list[str], changed: list[str], tasks: list[tuple[str, str]], language: str
) -> None:
    made = digest_text(language, "2026-11-28", written, changed, tasks, 3)  # type: ignore[arg-type]
    assert made is not None
    assert units(made.text) <= LONGEST
    assert made.text.endswith(last_line("2026-11-28"))
    assert made.text.count("NescordBot") == 1 or any("NescordBot" in each for each in (*written, *changed))
    made.text.encode("utf-8")


def _worker(km: KnowledgeManager, discord: DiscordFake, commit: int) -> None:
    command = [sys.executable, str(WORKER), str(km.folder.path), discord.api_base, discord.token, str(commit)]
    done = subprocess.run(command, cwd=WORKER.parent.parent, check=False)
    assert done.returncode == (-9 if commit else 0)
