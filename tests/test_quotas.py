"""Quotas: exactly as often as a day allows, for a person and for a guild, however many processes ask at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nescord import KnowledgeManager
from nescord.errors import QuotaError
from nescord.quotas import WHATS, QuotaLeft, Quotas
from tests.vaults import open_base

HERE = Path(__file__).parent
# Noon in Tokyo.
NOON = datetime(2026, 11, 28, 3, tzinfo=UTC)


def quotas_of(km: KnowledgeManager, now: Callable[[], datetime] = lambda: NOON) -> Quotas:
    """As `km.quotas`, by another clock."""
    return Quotas(km._base.verb, km._base.settings, now=now)


@contextmanager
def quotas_at(data: Path, now: Callable[[], datetime] = lambda: NOON, **more: object) -> Iterator[Quotas]:
    with open_base(data, vector="exact", **more) as km:
        yield quotas_of(km, now)


def test_a_person_may_do_it_as_often_as_allowed_and_then_hears_until_when_not(tmp_path: Path) -> None:
    with quotas_at(tmp_path / "data", quota_searches="2/5") as quotas:
        assert quotas.take("searches", "user:42", "guild:7") == QuotaLeft(1, 4)
        assert quotas.take("searches", "user:42") == QuotaLeft(0, None)
        with pytest.raises(
            QuotaError, match=r"2 searches a day are allowed for one person.*2026-11-29 00:00"
        ) as refusal:
            quotas.take("searches", "user:42", "guild:7")
        error = refusal.value
        assert (error.what, error.used_up, error.is_off) == ("searches", "person", False)
        assert error.returns_at.astimezone(UTC) == datetime(2026, 11, 28, 15, tzinfo=UTC)
        assert "NESCORD_QUOTA_SEARCHES" in str(error)
        # Nothing was counted for the guild, and what else there is to do is another matter.
        assert quotas.left("user:42", "guild:7")["searches"] == QuotaLeft(0, 4)
        assert quotas.left("user:42", "guild:7")["answers"] == QuotaLeft(30, 300)
        assert set(quotas.left("user:42")) == set(WHATS)


def test_a_guild_that_has_used_its_share_refuses_people_who_have_theirs_left(tmp_path: Path) -> None:
    with quotas_at(tmp_path / "data", quota_flows="5/2") as quotas:
        quotas.take("flows", "user:1", "guild:7")
        quotas.take("flows", "user:2", "guild:7")
        with pytest.raises(QuotaError, match="all of one guild") as refusal:
            quotas.take("flows", "user:3", "guild:7")
        assert refusal.value.used_up == "guild"
        assert quotas.left("user:3", "guild:7")["flows"] == QuotaLeft(5, 0)
        assert quotas.take("flows", "user:3", "guild:8") == QuotaLeft(4, 1)


def test_an_owner_is_counted_and_never_refused(tmp_path: Path) -> None:
    with quotas_at(tmp_path / "data", quota_notes="1/2", owner_ids="42") as quotas:
        for _ in range(4):
            left = quotas.take("notes", "user:42", "guild:7")
        assert left == QuotaLeft(0, 0)
        with pytest.raises(QuotaError):
            quotas.take("notes", "user:43", "guild:7")


def test_none_allowed_is_said_so_and_not_promised_for_tomorrow(tmp_path: Path) -> None:
    with quotas_at(tmp_path / "data", quota_answers="0/300", quota_flows="20/0") as quotas:
        with pytest.raises(
            QuotaError, match=r"answers are switched off for one person \(NESCORD_QUOTA_ANSWERS\)"
        ) as no:
            quotas.take("answers", "user:42")
        assert no.value.is_off
        with pytest.raises(QuotaError, match="flows are switched off for all of one guild"):
            quotas.take("flows", "user:42", "guild:7")
        assert quotas.take("flows", "user:42") == QuotaLeft(19, None)


def test_the_day_ends_at_midnight_in_the_zone_of_the_settings(tmp_path: Path) -> None:
    clock = [datetime(2026, 11, 28, 14, 59, 59, tzinfo=UTC)]
    with quotas_at(tmp_path / "data", lambda: clock[0], quota_searches="1/9", timezone="Asia/Tokyo") as quotas:
        quotas.take("searches", "user:42")
        with pytest.raises(QuotaError) as refusal:
            quotas.take("searches", "user:42")
        clock[0] += timedelta(seconds=1)
        assert refusal.value.returns_at == clock[0]
        assert quotas.take("searches", "user:42") == QuotaLeft(0, None)


@pytest.mark.parametrize(
    ("zone", "moment", "begins"),
    [
        ("Europe/Berlin", "2026-10-25T10:00:00+00:00", "2026-10-25T23:00:00+00:00"),  # a day of 25 hours
        ("America/Santiago", "2026-09-05T15:00:00+00:00", "2026-09-06T04:00:00+00:00"),  # no 0 o'clock on the 6th
    ],
)
def test_the_next_day_begins_when_it_does_where_clocks_are_changed(
    tmp_path: Path, zone: str, moment: str, begins: str
) -> None:
    clock = [datetime.fromisoformat(moment)]
    with quotas_at(tmp_path / "data", lambda: clock[0], quota_searches="0/0", timezone=zone) as quotas:
        with pytest.raises(QuotaError) as refusal:
            quotas.take("searches", "user:42")
        at = refusal.value.returns_at
        assert at.astimezone(UTC) == datetime.fromisoformat(begins)
        assert (at.astimezone(UTC) - timedelta(seconds=1)).astimezone(at.tzinfo).date() < at.date()


def test_what_is_used_up_stays_so_when_the_base_is_opened_anew(tmp_path: Path) -> None:
    for _ in range(2):
        with quotas_at(tmp_path / "data", quota_searches="2/9") as quotas:
            quotas.take("searches", "user:42")
    with quotas_at(tmp_path / "data", quota_searches="2/9") as quotas, pytest.raises(QuotaError):
        quotas.take("searches", "user:42")


@given(
    st.lists(st.tuples(st.sampled_from(["user:1", "user:2", "user:3"]), st.sampled_from(["", "guild:7", "guild:8"]))),
    st.integers(0, 4),
    st.integers(0, 6),
)
@settings(max_examples=25)
def test_nobody_gets_more_than_allowed_and_nobody_is_refused_before(
    wishes: list[tuple[str, str]], most: int, most_of_guild: int
) -> None:
    allowed: dict[str, int] = {}
    with (
        TemporaryDirectory() as folder,
        quotas_at(Path(folder) / "data", quota_searches=f"{most}/{most_of_guild}") as quotas,
    ):
        for person, guild in wishes:
            used = allowed.get(person, 0), allowed.get(guild, 0)
            is_free = used[0] < most and (not guild or used[1] < most_of_guild)
            try:
                left = quotas.take("searches", person, guild)
            except QuotaError:
                assert not is_free
                continue
            assert is_free
            assert left == QuotaLeft(most - used[0] - 1, most_of_guild - used[1] - 1 if guild else None)
            for who in filter(None, (person, guild)):
                allowed[who] = allowed.get(who, 0) + 1


def test_ten_processes_at_once_take_a_guilds_share_to_the_last_and_not_one_more(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with quotas_at(data):
        pass
    most, most_of_guild = 15, 100
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE.parent), os.environ["PYTHONPATH"]))}
    with ExitStack() as stack:
        processes = []
        for number in range(10):
            # Seven people could take 105: who is refused by the own quota and who by the guild's is chance.
            command = [sys.executable, HERE / "quota_worker.py", data, f"user:{number % 7}", "guild:7"]
            process = subprocess.Popen(
                [*command, f"{most}/{most_of_guild}", NOON.isoformat()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        lines = [process.communicate()[0].split() for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert sum(int(taken) for taken, _ in lines) == most_of_guild
    assert sum(int(taken) > 0 for taken, _ in lines) > 1, "only one process came to it"
    with quotas_at(data, quota_searches=f"{most}/{most_of_guild}") as quotas:
        left = [quotas.left(f"user:{number}", "guild:7")["searches"] for number in range(7)]
    assert {each.guild for each in left} == {0}
    assert sum(most - each.person for each in left) == most_of_guild
