"""`/review`: a stretch of time, and one note after the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nescord.times import utc_text
from tests.command_world import BotWorld, bot_world, forged, said


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BotWorld]:
    with bot_world(tmp_path) as made:
        yield made


@pytest.mark.parametrize("period", ["daily", "weekly", "monthly"])
def test_a_period_shows_what_is_new_and_what_is_to_do_in_ones_own_scope(world: BotWorld, period: str) -> None:
    with world.bot() as km:
        km.add_note("# Garden\n\n- [ ] prune the *plum*\n\nThe plum is pruned in winter.", space="user:42")
        km.add_note("# Secret of Ben", space="user:43")
        message = world.answer(world.ada, "review", world.home, period=period)
        assert message.is_ephemeral
        assert "Garden" in message.text
        assert "☐ prune the plum" in message.text
        assert "Ben" not in message.text
        assert "Garden" in world.click(world.ada, message, "[1]").text


def test_a_day_is_that_of_the_person_and_not_of_the_machine(world: BotWorld) -> None:
    now = datetime.now(UTC)
    begins = {
        zone: now.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
        for zone in ("Asia/Tokyo", "Pacific/Kiritimati")
    }
    # Written today where the day began first, and yesterday in the other one.
    written = max(begins.values()) - timedelta(minutes=1)
    with world.bot() as km:
        note = km.add_note("# Late", space="user:42")
        with km._base.verb() as catalog, catalog.write() as connection:
            moments = (utc_text(written), utc_text(written), note.id)
            connection.execute("UPDATE note SET created_at = ?, updated_at = ? WHERE id = ?", moments)
        for zone, begin in begins.items():
            world.answer(world.ada, "settings", zone=zone)
            told = world.answer(world.ada, "review", period="daily").text
            assert ("Late" in told) == (begin <= written), zone
            assert (said(world.ada, "review.nothing") in told) == (begin > written), zone


def test_where_nothing_was_written_it_says_so_in_both_languages(world: BotWorld) -> None:
    with world.bot():
        for person in (world.ada, world.ben):
            assert said(person, "review.nothing") in world.answer(person, "review", period="weekly").text


def test_cards_come_one_after_the_other_and_come_back_as_they_were_graded(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("# 鍵\n\n鍵は赤い箱の中にあります。", space="user:43")
        km.add_note("# 梅\n\n梅は冬に剪定します。", space="user:43")
        km.add_note("# Of Ada", space="user:42")
        first = world.answer(world.ben, "review")
        assert "梅は冬に" in first.text
        assert first.labels == ["もう一度", "難しい", "覚えていた", "簡単"]
        second = world.click(world.ben, first, "review.good")
        assert second.id == first.id  # in its place
        assert "鍵は赤い箱" in second.text
        assert "前のノートは" in second.text
        last = world.click(world.ben, second, "review.easy")
        assert said(world.ben, "review.done") in last.text
        assert not last.buttons
        assert km.scoped({"user:43"}).spaced("user:43").count_due(datetime.now(UTC) + timedelta(days=400)) == 2


def test_a_second_click_on_the_same_card_grades_nothing(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("# One\n\nonly", space="user:42")
        world.answer(world.ada, "review")
        for _ in range(2):
            forged(world, world.ada, "button.grade", {"id": note.id, "more": "3-new"})
        with km._base.verb() as catalog, catalog.read() as connection:
            assert connection.execute("SELECT count(*) FROM review_event").get == 1


def test_nobody_grades_a_note_that_they_cannot_see(world: BotWorld) -> None:
    with world.bot() as km:
        note = km.add_note("# Secret of Ben", space="user:43")
        reply = forged(world, world.ada, "button.grade", {"id": note.id, "more": "3-new"})
        assert "Ben" not in f"{reply.title}{reply.body}"
        assert said(world.ada, "review.gone") in reply.body


def test_cards_go_on_after_the_process_was_replaced(world: BotWorld) -> None:
    with world.bot() as km:
        km.add_note("# One\n\nfirst", space="user:42")
        card = world.answer(world.ada, "review")
    with world.bot():
        assert said(world.ada, "review.done") in world.click(world.ada, card, "review.good").text
