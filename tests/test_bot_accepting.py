"""Killed at any point of accepting: whoever saw the acknowledgement of a note finds one note, and an answer."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.intake import Intake
from nescord import KnowledgeManager, Settings
from nescord.errors import CatalogError, LockTimeoutError
from nescord.identifiers import uuid7
from nescord.inbox import Accepted, Inbox
from nescord.locks import LockName, Locks
from tests.bot_requests import request_of
from tests.desk_worker import POINTS
from tests.discord_world import running_bot
from tests.fakes.discord import Call, DiscordFake

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def fake() -> Iterator[DiscordFake]:
    with DiscordFake() as discord_fake:
        yield discord_fake


@contextmanager
def worker(fake: DiscordFake, folder: Path, point: str = "") -> Iterator[subprocess.Popen[bytes]]:
    before = fake.connections
    command = [sys.executable, "-m", "tests.desk_worker", str(folder), fake.api_base, fake.gateway, fake.token, point]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        fake.wait_ready(60, after=before)
        fake.wait_synced()
        yield process
    finally:
        process.kill()
        process.wait(10)


def titles(folder: Path) -> list[str]:
    with KnowledgeManager.open_existing(Settings(data_dir=folder, embedder="none")) as km:
        return sorted(note.title for note in km.scoped({"user:42"}).recent_notes(limit=1000))


def pending(folder: Path) -> list[Accepted]:
    with KnowledgeManager.open_existing(Settings(data_dir=folder, embedder="none")) as km:
        return km.inbox.pending()


def until_nothing_is_pending(folder: Path) -> None:
    end = time.monotonic() + 20
    while pending(folder):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("point", POINTS)
def test_a_note_is_there_once_wherever_the_process_was_killed(point: str, fake: DiscordFake, tmp_path: Path) -> None:
    ada = fake.user(42, "ada")
    with worker(fake, tmp_path / "kb", point) as process:
        call = fake.slash(ada, "toy", {"kind": "keep", "text": "鍵のノート"})
        assert process.wait(20) == -9
    was_deferred = call.acknowledged is not None
    assert was_deferred == (point in ("after-defer", "before-answer", "before-done"))
    call.excuse()
    with worker(fake, tmp_path / "kb"):
        if was_deferred:
            assert call.wait(20).content.startswith("kept ")
        until_nothing_is_pending(tmp_path / "kb")
    assert titles(tmp_path / "kb") == ([] if point == "before-commit" else ["鍵のノート"])
    assert sum(not message.is_deleted for message in call.messages) == was_deferred
    # Nothing can be said to who got no acknowledgement: Discord does not know that webhook.
    fake.check(allow=() if was_deferred else {"refused"})


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost_and_nothing_is_there_twice(fake: DiscordFake, tmp_path: Path) -> None:
    ada = fake.user(42, "ada")
    moments = random.Random(10)
    calls: dict[str, Call] = {}
    for turn in range(5):
        with worker(fake, tmp_path / "kb") as process:
            for number in range(12):
                text = f"note {turn} {number}"
                calls[text] = fake.slash(ada, "toy", {"kind": "keep", "text": text})
            time.sleep(moments.uniform(0.0, 0.35))
            process.kill()
            process.wait(10)
            for call in calls.values():
                call.excuse()
    with worker(fake, tmp_path / "kb"):
        until_nothing_is_pending(tmp_path / "kb")
        acknowledged = {text for text, call in calls.items() if call.acknowledged}
        for text in acknowledged:
            assert calls[text].wait(20).content.startswith("kept ")
    kept = titles(tmp_path / "kb")
    assert len(kept) == len(set(kept))
    assert acknowledged <= set(kept) <= set(calls)
    assert acknowledged, "every process was killed before it did anything"


def test_a_note_is_kept_though_the_next_process_does_not_come_to_discord(fake: DiscordFake, tmp_path: Path) -> None:
    call = accepted_and_killed(fake, tmp_path, "鍵のノート")
    with running_bot(tmp_path, fake, wait=False, check=False) as bot:
        fake.refuse_token()
        assert bot.process.wait(30) == 77
    assert titles(tmp_path / "kb") == ["鍵のノート"]
    # Nobody has been told so far.
    assert [row.id for row in pending(tmp_path / "kb")] == [str(call.id)]


def test_a_note_is_kept_while_discord_is_away_and_answered_once_when_it_is_there(
    fake: DiscordFake, tmp_path: Path
) -> None:
    call = accepted_and_killed(fake, tmp_path, "鍵のノート")
    fake.fail("GET /users/@me", 1000, 503)
    with running_bot(tmp_path, fake, wait=False) as bot:
        end = time.monotonic() + 30
        while titles(tmp_path / "kb") != ["鍵のノート"]:
            assert time.monotonic() < end, bot.output
            time.sleep(0.1)
        assert bot.output.count("logged in as") == 1, "that was the first process"
        assert "Not kept yet" in call.wait().content
        fake.heal()
        assert call.wait(60, until="Kept:")
        until_nothing_is_pending(tmp_path / "kb")
        fake.wait_synced()
    assert titles(tmp_path / "kb") == ["鍵のノート"]
    assert len(fake.requests_of("PATCH /webhooks")) == 1


def test_while_discord_is_away_the_bot_ends_in_order_and_what_it_kept_is_answered_by_the_next(
    fake: DiscordFake, tmp_path: Path
) -> None:
    call = accepted_and_killed(fake, tmp_path, "鍵のノート")
    fake.fail("GET /users/@me", 1000, 503)
    with running_bot(tmp_path, fake, wait=False, check=False) as bot:
        while titles(tmp_path / "kb") != ["鍵のノート"]:
            time.sleep(0.1)
        began = time.monotonic()
        assert bot.stop() == 0
        assert time.monotonic() - began < 5
        assert [row.id for row in pending(tmp_path / "kb")] == [str(call.id)]
        fake.heal()
        bot.start()
        assert call.wait(20, until="Kept:")
        assert len(fake.requests_of("PATCH /webhooks")) == 1


def accepted_and_killed(fake: DiscordFake, folder: Path, text: str) -> Call:
    """A note that is in the inbox and nowhere else, since the process that accepted it was killed then."""
    ada = fake.user(42, "ada")
    with running_bot(folder, fake) as bot:
        with Locks(bot.data / "run", timeout=5).exclusive(LockName.CATALOG):
            call = fake.slash(ada, "note add", {"text": text})
            call.wait(until="Not kept yet")
            bot.kill()
        place = {"application": fake.world.bot.id, "guild": None, "channel": call.channel.id, "context": "dm"}
        row = request_of(
            id=str(call.id),
            kind="note.add",
            options={"text": text},
            token=call.token,
            language="en",
            note_id=str(uuid7()),
            accepted_at=datetime.now(UTC),
            **place,
        )
        with KnowledgeManager.open_existing(Settings(data_dir=bot.data, embedder="none")) as km:
            assert km.inbox.accept([row.to_accepted()]) == [True]
    return call


class Recorded:
    """An inbox before the real one that notes its transactions, and has the trouble it is told to have."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox, self.sizes, self.errors = inbox, list[int](), list[Exception]()
        # What happens while they are committed.
        self.meanwhile: Callable[[], object] = lambda: None
        self.may_go = threading.Event()
        self.may_go.set()

    def accept(self, rows: Sequence[Accepted]) -> list[bool]:
        self.sizes.append(len(rows))
        self.meanwhile()
        assert self.may_go.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        return self.inbox.accept(rows)

    def done(self, *request_ids: str) -> None:
        self.inbox.done(*request_ids)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Recorded]:
    with KnowledgeManager.open(Settings(data_dir=tmp_path / "kb", embedder="none")) as km:
        yield Recorded(km.inbox)


@pytest.fixture
def intake(inbox: Recorded) -> Iterator[Intake]:
    intake = Intake(lambda: inbox)  # type: ignore[arg-type,return-value]  # it has what the intake uses
    yield intake
    inbox.may_go.set()
    intake.close()


def row(number: int) -> Accepted:
    return request_of(id=str(number), accepted_at=datetime.now(UTC)).to_accepted()


def test_all_who_wait_are_committed_together(inbox: Recorded, intake: Intake) -> None:
    inbox.may_go.clear()
    futures = [intake.accept(row(number)) for number in range(100)]
    time.sleep(0.2)
    inbox.may_go.set()
    assert all(future.result(10) for future in futures)
    assert sum(inbox.sizes) == 100
    assert len(inbox.sizes) <= 2
    assert not intake.accept(row(5)).result(10)
    for number in range(100):
        intake.done(str(number))
    intake.close()
    assert inbox.inbox.pending() == []


def test_what_is_done_is_marked_though_somebody_new_always_waits(inbox: Recorded, intake: Intake) -> None:
    for number in range(3):
        assert intake.accept(row(number)).result(5)

    def one_more() -> None:
        if len(inbox.sizes) < 200:
            intake.accept(row(len(inbox.sizes)))

    inbox.meanwhile = one_more
    intake.accept(row(3))
    for number in range(3):
        intake.done(str(number))
    while {"0", "1", "2"} & {each.id for each in inbox.inbox.pending()}:
        assert len(inbox.sizes) < 200, "marked only once nobody waited any more"
        time.sleep(0.01)


def test_a_store_that_is_held_is_asked_again(inbox: Recorded, intake: Intake) -> None:
    inbox.errors = [LockTimeoutError("held"), LockTimeoutError("held")]
    assert intake.accept(row(1)).result(10)
    assert len(inbox.sizes) == 3


def test_one_that_cannot_be_kept_does_not_take_the_others_with_it(inbox: Recorded, intake: Intake) -> None:
    inbox.errors = [CatalogError("one of them"), CatalogError("this one")]
    inbox.may_go.clear()
    first = intake.accept(row(0))
    time.sleep(0.1)
    others = [intake.accept(row(number)) for number in (1, 2, 3)]
    inbox.errors.insert(0, LockTimeoutError("all of them are together next time"))
    inbox.may_go.set()
    assert isinstance(first.exception(10), CatalogError)
    assert [future.result(10) for future in others] == [True, True, True]


def test_what_was_given_up_is_not_kept(inbox: Recorded, intake: Intake) -> None:
    inbox.errors = [LockTimeoutError("held")] * 3
    future = intake.accept(row(1))
    assert future.cancel()
    assert intake.accept(row(2)).result(10)
    intake.close()
    assert [one.id for one in inbox.inbox.pending()] == ["2"]
    assert inbox.inbox.accept([row(1)]) == [True]


def test_what_was_given_up_while_it_was_kept_is_marked_done(inbox: Recorded, intake: Intake) -> None:
    inbox.may_go.clear()
    future = intake.accept(row(1))
    time.sleep(0.1)
    assert future.cancel()
    inbox.may_go.set()
    intake.close()
    assert inbox.inbox.pending() == []
    assert inbox.inbox.accept([row(1)]) == [False]


def test_nothing_is_accepted_at_the_end(intake: Intake) -> None:
    intake.close()
    assert intake.accept(row(1)).cancelled()
