# ruff: noqa: F811 - fixtures are named as what they give
"""A server that fails, lies, is slow, full or gone: the error says so, nothing here changes, the next run ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nescord.backup.fetch import check_off_site, fetch
from nescord.backup.off_site_copies import Listing, summary
from nescord.backup.store import BackupStore
from nescord.errors import BackupError, DamagedBackupError, NescordError, ServiceUnavailableError
from tests.backup_world import Days, flip
from tests.faults.proxy import Fault, FaultyProxy
from tests.off_site_world import World, days, moto, rclone, world_at  # noqa: F401 - fixtures
from tests.s3_world import S3Server
from tests.survival import SOAK, new_rng, untouched

PUTS = frozenset({"PUT"})
GETS = frozenset({"GET"})


@dataclass(frozen=True, slots=True)
class Bad:
    """A world behind a proxy that can go wrong."""

    world: World
    proxy: FaultyProxy


@pytest.fixture(params=["bucket", "bucket encrypted"])
def bad(request: pytest.FixtureRequest, moto: S3Server, days: Days, tmp_path: Path) -> Iterator[Bad]:
    with FaultyProxy(moto.url) as proxy:
        yield Bad(world_at(request.param, moto, days, tmp_path, proxy.url), proxy)


def refused(world: World, kind: type[NescordError]) -> str:
    """Replicating fails in this way, and no backup here is another for it."""
    with untouched(world.store.packs), pytest.raises(kind) as caught:
        world.replicate()
    assert [each.status.state for each in world.store.snapshots()] == ["good"] * 3
    assert str(world.options["off_site"]) in str(caught.value)
    assert "Debug source" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("after", [0, 4, 9])
@pytest.mark.parametrize("fault", ["reset", "error", "unavailable", "lost answer"])
def test_what_stays_broken_is_said_and_over_when_it_is_healed(bad: Bad, fault: Fault, after: int) -> None:
    bad.proxy.cause(fault, after=after, methods=PUTS)
    message = refused(bad.world, ServiceUnavailableError)
    assert "try again later" in message
    assert bad.proxy.struck[fault] >= 2, "it was not tried again"
    bad.proxy.heal()
    bad.world.replicate()
    bad.world.assert_all_copied()


@pytest.mark.parametrize("fault", ["reset", "error", "unavailable", "lost answer"])
def test_what_passes_is_not_even_noticed(bad: Bad, fault: Fault) -> None:
    bad.proxy.cause(fault, times=1, after=5)
    bad.world.replicate()
    assert bad.proxy.struck[fault] == 1
    bad.proxy.heal()
    bad.world.assert_all_copied()


def test_an_outage_is_said_and_nothing_has_changed(bad: Bad) -> None:
    before = bad.proxy.requests.total()
    with bad.proxy.outage():
        assert "try again later" in refused(bad.world, ServiceUnavailableError)
        with pytest.raises(ServiceUnavailableError):
            fetch(bad.world.off_site(), BackupStore(bad.world.scratch), None, bad.world.identity)
        assert not bad.world.scratch.exists()
    assert bad.proxy.requests.total() == before
    bad.world.replicate()
    bad.world.assert_all_copied()


def test_a_full_bucket_is_said_so(bad: Bad) -> None:
    bad.proxy.cause("full", after=6)
    assert "make room there" in refused(bad.world, BackupError)
    assert bad.proxy.struck["full"] == 1, "what is refused for good was tried again"
    bad.proxy.heal()
    bad.world.replicate()
    bad.world.assert_all_copied()


def test_a_server_that_does_not_answer_in_time_is_given_up(bad: Bad) -> None:
    bad.proxy.cause("slow", delay=20, times=4)
    assert "try again later" in refused(bad.world, ServiceUnavailableError)
    assert bad.proxy.struck["slow"] >= 1
    bad.proxy.heal()
    bad.world.replicate()
    bad.world.assert_all_copied()


def test_a_slow_server_is_waited_for(bad: Bad) -> None:
    bad.proxy.cause("slow", delay=0.02)
    bad.world.replicate()
    assert bad.proxy.struck["slow"] > 10
    bad.proxy.heal()
    bad.world.assert_all_copied()


def test_a_wrong_key_and_a_missing_bucket_are_named(
    rclone: S3Server, moto: S3Server, days: Days, tmp_path: Path
) -> None:
    world = world_at("bucket", rclone, days, tmp_path)
    with pytest.raises(BackupError, match="the key is refused; mend AWS_ACCESS_KEY_ID") as caught:
        world.replicate(aws_secret_access_key="wrong-and-secret")
    assert "wrong-and-secret" not in str(caught.value)
    options = {"off_site_endpoint": moto.url, "off_site": "s3://no-such-bucket/x"}
    for act in (
        lambda: world.replicate(**options),
        lambda: world.off_site(**options).put("x", b""),
        lambda: b"".join(world.off_site(**options).stream("x", 0)),
        lambda: world.off_site(**options).delete("x"),
    ):
        with pytest.raises(BackupError, match="there is no such bucket"):
            act()


@pytest.mark.parametrize("key", [".pack", ".idx", ".json.zst", "objects.json"])
@pytest.mark.parametrize("fault", ["truncated", "wrong bytes"])
def test_what_comes_back_garbled_is_never_taken_for_the_snapshot(bad: Bad, fault: Fault, key: str) -> None:
    bad.world.replicate()
    store = BackupStore(bad.world.scratch)
    bad.proxy.cause(fault, key=key)
    with pytest.raises((DamagedBackupError, ServiceUnavailableError)) as caught:
        fetch(bad.world.off_site(), store, None, bad.world.identity)
    assert key in str(caught.value)
    if fault == "wrong bytes":
        assert f"try the one before: {bad.world.days.ids[1]}" in str(caught.value)
    assert bad.proxy.struck[fault] >= 1
    assert store.ids() == []
    if store.packs.exists():
        assert not [path for path in store.folder.rglob("*") if path.name.startswith(".")]
    bad.proxy.cause("wrong bytes", key=key)
    assert not all(each.ok for each in check_off_site(bad.world.off_site())), "the check has seen nothing"
    bad.proxy.heal()
    assert fetch(bad.world.off_site(), store, None, bad.world.identity) == bad.world.days.ids[-1]
    bad.world.assert_all_copied()


def test_wrong_bytes_while_an_object_is_compared_are_an_alarm_and_change_nothing(bad: Bad) -> None:
    bad.proxy.cause("error", after=6, methods=PUTS)
    refused(bad.world, ServiceUnavailableError)
    there = set(bad.world.off_site().sizes())
    bad.proxy.cause("wrong bytes", key=".pack")
    with pytest.raises(BackupError, match="not what this knowledge base has sent"):
        bad.world.replicate()
    assert bad.proxy.struck["wrong bytes"] >= 1
    bad.proxy.heal()
    assert there <= set(bad.world.off_site().sizes())
    bad.world.replicate()
    bad.world.assert_all_copied()


@pytest.mark.parametrize("where", ["bucket", "bucket encrypted"])
@pytest.mark.parametrize("suffix", [".pack", ".idx", ".json.zst", ".objects.json"])
def test_what_has_rotted_there_is_found_and_never_wrong_data(
    where: str, suffix: str, rclone: S3Server, days: Days, tmp_path: Path
) -> None:
    world = world_at(where, rclone, days, tmp_path)
    world.replicate()
    assert world.files is not None
    rng = new_rng("off-site rot")
    newest = days.ids[-1]
    folder = "packs" if suffix in (".pack", ".idx") else "snapshots"
    name = f"{folder}/{newest}{suffix}{'' if suffix == '.objects.json' else world.age}"
    file = world.files / name
    whole = file.read_bytes()
    for turn in range(40 if SOAK else 4):
        store = BackupStore(world.scratch / f"{turn}")
        if turn % 2:
            file.write_bytes(whole[: rng.randrange(len(whole))])
        else:
            flip(file, rng)
        time.sleep(0.05)  # rclone remembers what was there for 10 ms
        found = {each.id: each.problems for each in check_off_site(world.off_site())}
        assert name in "".join(found.pop(newest))
        assert set(found.values()) == {()}
        with pytest.raises((DamagedBackupError, BackupError)) as caught:
            fetch(world.off_site(), store, None, world.identity)
        assert name in str(caught.value)
        assert days.ids[1] in str(caught.value)
        assert store.ids() == []
        world.brought_back(days.ids[1])
        file.write_bytes(whole)
        time.sleep(0.05)
    file.unlink()
    time.sleep(0.05)
    if suffix == ".objects.json":
        assert Listing(world.off_site()).complete == list(days.ids[:2])
    elif suffix == ".json.zst":
        assert summary(world.off_site()).newest_id == days.ids[1]
    else:
        assert "is missing" in "".join(check_off_site(world.off_site(), newest)[0].problems)


STEP = st.tuples(
    st.sampled_from(["reset", "error", "unavailable", "full", "lost answer", "truncated"]),
    st.integers(0, 20),
    st.sampled_from([None, 1, 2]),
)


@settings(max_examples=200 if SOAK else 5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=1, max_size=4), encrypted=st.booleans())
def test_after_any_history_of_faults_one_good_run_makes_the_copy_whole(
    steps: list[tuple[Fault, int, int | None]],
    encrypted: bool,
    moto: S3Server,
    days: Days,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    where = "bucket encrypted" if encrypted else "bucket"
    with FaultyProxy(moto.url) as proxy:
        world = world_at(where, moto, days, tmp_path_factory.mktemp("history"), proxy.url)
        for fault, after, times in steps:
            proxy.cause(fault, after=after, times=times)
            try:
                world.replicate()
            except (BackupError, ServiceUnavailableError):
                assert proxy.struck[fault]
            proxy.heal()
            # Whatever is listed as a copy is one.
            assert all(each.ok for each in check_off_site(world.off_site()))
        world.replicate()
        world.assert_all_copied()
