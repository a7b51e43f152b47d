"""What is kept of a person is shown whole, handed over whole, and erased whole: from every file, once and for all."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from nescord import KnowledgeManager, privacy
from nescord.backup import erasures
from nescord.backup.create import create
from nescord.backup.forgetting import forgetting, night_without
from nescord.backup.restore import restore
from nescord.backup.retention import NIGHTLY, Candidate, plan
from nescord.backup.store import BackupStore
from nescord.errors import NotFoundError, UsageError
from nescord.notes import Attachment
from tests.chroma_server import ChromaServer
from tests.privacy_world import (
    ADA,
    BOB,
    COMMON,
    GUILD,
    HERS,
    HIS,
    fill,
    opened,
    traces,
    unused_vectors_of,
    vectors_of,
    words_of_hers,
)
from tests.vaults import write_notes

WORLD = Path(__file__).with_name("privacy_world.py")
TOKYO = ZoneInfo("Asia/Tokyo")


def test_what_is_kept_is_counted_by_kind_and_only_that_persons(tmp_path: Path) -> None:
    with opened(tmp_path / "data", vector="exact") as km:
        fill(km)
        summary = km.privacy(ADA).summary()
        assert summary.counts == {
            "notes": 4,
            "trashed": 1,
            "revisions": 1,
            "attachments": 1,
            "questions": 1,
            "search_events": 1,
            "conversations": 1,
            "review_cards": 1,
            "review_events": 1,
            "preferences": 1,
            "digests": 2,
            "quotas": 1,
            "inbox": 1,
            "ledger_calls": 1,
        }
        assert (summary.backups, summary.backups_forget_at) == (0, None)
        assert not any(km.privacy("user:1").summary().counts.values())
        for nobody in ("personal", GUILD, "user:", "user:1 OR 1"):
            with pytest.raises(UsageError, match="is no person"):
                km.privacy(nobody)


@pytest.mark.slow
def test_nothing_of_an_erased_person_is_in_any_file_but_the_backups(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data) as km:  # with Chroma embedded
        ids = fill(km)
        km.drain()
        create(km._base)
        vectors = vectors_of(data, (ids["own"], ids["guild"], ids["edited"]))
        before_that = unused_vectors_of(data)
        assert len(before_that) == 2  # of the one in the trash, and of what the edited one said
        vectors += before_that
        everything = [*words_of_hers(), *vectors]
        before = traces(data, everything)
        assert {line.partition(":")[0] for line in before} >= set(HERS)  # there is something to find
        assert [line for line in before if "chroma/" in line]
        report = km.privacy(ADA).erase()
        assert report.is_complete
        assert (report.counts["notes"], report.counts["trashed"]) == (4, 1)
        assert report.backups_forget_at is not None
        assert left(data, everything) == []  # while others have it open
        assert not any(km.privacy(ADA).summary().counts.values())
        assert not km.search("zebraquux", mode="keyword")
        assert not km.search("鍵屋崎", mode="keyword")
        assert km.meaning().index_kind == "chroma"
        assert not km.meaning().behind
        km.maintain()
    assert left(data, everything) == []
    assert (data / "marts").is_dir()
    assert (data / "reports").is_dir()


def left(data: Path, everything: Sequence[bytes]) -> list[str]:
    """What there still is. The new graph of Chroma has room for more rows than it has, and in that lies whatever its
    process had in memory: numbers of a vector at the worst, and of no row."""
    texts = traces(data, words_of_hers())
    return texts + [line for line in traces(data, everything) if line not in texts and "level0.bin" not in line]


@pytest.mark.slow
def test_a_chroma_server_is_told_at_once_and_an_erasure_without_it_is_not_called_complete(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ChromaServer(tmp_path / "chroma") as server, opened(data, chroma_url=server.url) as km:
        fill(km)
        rows = km.meaning().index_count
        server.kill()
        report = km.privacy(ADA).erase()
        assert not report.is_complete
        assert "the vector index is not told yet" in report.remarks[0]
        assert traces(data, words_of_hers()) == []  # all else is done
        server.start()
        (again,) = privacy.finish(km._base)
        assert again.is_complete
        assert (km.meaning().index_kind, km.meaning().behind) == ("chroma", 0)
        assert km.meaning().index_count == rows - 4
        assert km.search(HIS)[0].note_id


def test_what_is_others_survives_with_equal_texts_and_vectors(tmp_path: Path) -> None:
    data = tmp_path / "data"
    vault = tmp_path / "vault"
    claim = f"---\nauthor: '{ADA}'\n---\n\nthe vault's own lanternfish\n"
    write_notes(vault, {"claim.md": claim})
    with opened(data, vector="exact") as km:
        ids = fill(km)
        km.ingest(vault)
        theirs = (ids["his"], ids["his common"], km.note("claim.md").id)
        kept = vectors_of(data, theirs)
        assert len(kept) == 3
        others = km.privacy(BOB).summary().counts
        spent = km.budget.use()
        km.privacy(ADA).erase()
        assert vectors_of(data, theirs) == kept
        assert [hit.note_id for hit in km.search(COMMON)][:1] == [ids["his common"]]
        assert km.note("claim.md").author == ADA
        assert km.privacy(BOB).summary().counts == {**others, "conversations": others["conversations"] - 1}
        assert km.digests.find(BOB) is not None
        channel = km.digests.find("channel:9")  # the guild's, whoever has asked for it
        assert channel is not None
        assert channel.who == ""
        assert km.conversations.find("c2", {GUILD}, BOB) is None  # it quotes what is gone
        assert km.conversations.find("c3", {GUILD}, BOB) is not None
        after = km.budget.use()
        assert sum(use.tokens for use in after.people) == sum(use.tokens for use in spent.people) == 14
        assert ADA not in [use.name for use in after.people]
        (left,) = list(km.inbox.pending())
        assert left.who == BOB
        assert km.inbox.accept([left])[0] is False
        km.verify()
    assert (vault / "claim.md").read_text(encoding="utf-8") == claim


def test_the_same_event_told_again_after_an_erasure_is_still_known(tmp_path: Path) -> None:
    from tests.privacy_world import _accepted

    with opened(tmp_path / "data", vector="exact") as km:
        fill(km)
        km.privacy(ADA).erase()
        assert km.inbox.accept([_accepted("i1", ADA, "again"), _accepted("i3", ADA, "again")]) == [False, False]


def test_an_erasure_is_remembered_before_anything_goes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data, vector="exact") as km:
        ids = fill(km)
    assert _killed(data, 1)
    with opened(data, vector="exact") as km:
        assert km.note(ids["own"])  # nothing has gone
        assert list(erasures.unfinished_people(data / "backups")) == [ADA]
        late = km.scoped({ADA}).add_note("written after it", space=ADA, author=ADA).id
        (report,) = privacy.finish(km._base)
        assert report.is_complete
        assert not privacy.unfinished(km._base)
        assert km.note(late)
        with pytest.raises(NotFoundError):
            km.note(ids["own"])
    assert traces(data, (word.encode() for word in HERS)) == []


@pytest.mark.slow
def test_killed_at_whatever_commit_and_done_again_nothing_is_left(tmp_path: Path) -> None:
    commit, is_killed = 1, True
    while is_killed:
        data = tmp_path / str(commit)
        with opened(data, vector="exact") as km:
            ids = fill(km)
        is_killed = _killed(data, commit)
        with opened(data, vector="exact") as km:
            if is_killed:
                assert privacy.unfinished(km._base), commit
                # The way of whoever asks again, and of the flow that runs by itself.
                report = km.privacy(ADA).erase() if commit % 2 else privacy.finish(km._base)[0]
                assert report.is_complete
            assert not privacy.unfinished(km._base)
            assert [hit.note_id for hit in km.search(HIS)][:1] == [ids["his"]]
        assert traces(data, words_of_hers()) == [], commit
        commit += 1
    assert commit > 5


@pytest.mark.slow
def test_a_restore_of_an_older_snapshot_erases_again_and_leaves_what_came_after(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data, vector="exact") as km:
        ids = fill(km)
        before = create(km._base).id
        km.privacy(ADA).erase()
        hers = km.scoped({ADA, GUILD})
        late = hers.add_note("---\ncreated: 1999-01-01\n---\n\nafterwards moonbramble", space=ADA, author=ADA).id
        km.preferences.set(ADA, language="ja")
        km.digests.subscribe(ADA, who=ADA, language="en", hour=9, timezone="UTC")
        after = create(km._base).id
        settings = km._base.settings
    restored = restore(settings, before)
    assert restored.erased == 5
    left = [line for line in traces(data, words_of_hers()) if ".restore" not in line]
    assert left == [f"{ADA}: nescordbot.db"]  # a digest that she asked for since
    with opened(data, vector="exact") as km:
        for name in ("own", "guild", "common", "edited", "trashed"):
            with pytest.raises(NotFoundError):
                km.note(ids[name])
        assert km.note(ids["his"])
        assert km.digests.find(ADA) is not None  # it is no part of what is put back
        with pytest.raises(NotFoundError):
            km.restore_note(ids["own"])  # from a backup, nor one by one
    restored = restore(settings, after)
    assert restored.erased == 0
    with opened(data, vector="exact") as km:
        assert km.note(late).body.strip() == "afterwards moonbramble"
        assert km.preferences.get(ADA).language == "ja"
        assert km.search("moonbramble")


def test_what_was_sent_and_accepted_is_not_undone_by_a_restore(tmp_path: Path) -> None:
    from tests.privacy_world import _accepted

    data = tmp_path / "data"
    with opened(data, vector="exact") as km:
        fill(km)
        snapshot = create(km._base).id
        digest = km.digests.find(BOB)
        assert digest is not None
        km.digests.mark(digest, "2026-11-28", "sent", datetime.now(UTC))
        km.digests.unsubscribe("channel:9")
        km.inbox.accept([_accepted("i9", BOB, "later")])
        settings = km._base.settings
    restore(settings, snapshot)
    with opened(data, vector="exact") as km:
        digest = km.digests.find(BOB)
        assert digest is not None
        assert (digest.day, digest.state) == ("2026-11-28", "sent")
        assert km.digests.find("channel:9") is None
        assert km.inbox.accept([_accepted("i9", BOB, "later")]) == [False]


def test_a_database_that_a_restore_has_replaced_goes_as_well(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data, vector="exact") as km:
        fill(km)
        snapshot = create(km._base).id
        settings = km._base.settings
    restore(settings, snapshot)
    assert [line for line in traces(data, words_of_hers()) if ".restore" in line]
    with opened(data, vector="exact") as km:
        assert km.privacy(ADA).erase().is_complete
    assert traces(data, words_of_hers()) == []


def test_a_replaced_database_that_is_in_no_backup_is_kept_and_that_is_said(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data, vector="exact") as km:
        fill(km)
        old = data / ".restore" / f"old-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S%f')}"
        old.mkdir(parents=True)
        (old / "nescordbot.db").write_bytes(b"the only copy of something")
        report = km.privacy(ADA).erase()
        assert not report.is_complete
        assert "make one" in report.remarks[0]
        assert (old / "nescordbot.db").exists()
        assert privacy.unfinished(km._base)
        time.sleep(1.1)  # snapshots are numbered by the second
        create(km._base)
        (again,) = privacy.finish(km._base)
        assert again.is_complete
        assert not old.exists()


def test_the_day_on_which_backups_forget_is_that_of_the_policy(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data, vector="exact") as km:
        fill(km)
        create(km._base)
        store = BackupStore(data / "backups")
        known = forgetting(store, TOKYO, datetime.now(UTC))
        assert known.backups == 1
        assert known.at is not None
        (only,) = store.ids()
        km.backups.pin(only, pinned=True)
        pinned = forgetting(store, TOKYO, datetime.now(UTC))
        assert (pinned.backups, pinned.pinned, pinned.at) == (1, 1, None)


@pytest.mark.parametrize(
    ("day", "gone"),
    [
        (18, "2026-11-25"),  # a Wednesday: daily, 7 of them
        (22, "2026-12-21"),  # a Sunday: the newest of its week, until there are five weeks that have begun since
        (30, "2027-11-01"),  # the newest of its month, 12 of them with November to come
    ],
)
def test_a_snapshot_goes_when_as_many_newer_ones_of_its_kind_are_there(day: int, gone: str) -> None:
    made = datetime(2026, 11, day, 3, 30, tzinfo=TOKYO)
    snapshot = Candidate("s", 1, made, True, False, False, "nightly")
    night = night_without([snapshot], NIGHTLY, TOKYO, made + timedelta(hours=9))
    assert night.astimezone(TOKYO).strftime("%Y-%m-%d %H:%M") == f"{gone} 03:30"
    nights = [
        Candidate(f"n{number}", 1 + number, when, True, when.weekday() == 6, False, "nightly")
        for number in range(1, 400)
        if (when := made + timedelta(days=number)) <= night
    ]

    def is_kept(newer: list[Candidate]) -> bool:
        decisions = plan([snapshot, *newer], NIGHTLY, TOKYO, newer[-1].created_at)
        return next(each.keep for each in decisions if each.id == "s")

    assert is_kept(nights[:-1])
    assert not is_kept(nights)


def test_an_export_holds_all_of_it_in_files_that_anybody_can_open(tmp_path: Path) -> None:
    with opened(tmp_path / "data", vector="exact") as km:
        ids = fill(km)
        hers = km.scoped({ADA, GUILD})
        title = "../../鍵\u202eの/管理: “a?”*<b>|\x00" + "長" * 200
        wild = hers.add_note("と: yes\n---\nno", title=title, tags=["no", "仕事"], space=ADA, author=ADA)
        archive = zipfile.ZipFile(io.BytesIO(km.privacy(ADA).export()))
    assert archive.testzip() is None
    names = archive.namelist()
    notes = {name: archive.read(name).decode("utf-8") for name in names if name.startswith("notes/")}
    assert len(notes) == 6
    by_id = {}
    for text in notes.values():
        head, _, body = text.removeprefix("---\n").partition("---\n")
        values = yaml.safe_load(head)
        by_id[values["id"]] = (values, body)
    assert by_id[wild.id][0]["tags"] == ["no", "仕事"] or set(by_id[wild.id][0]["tags"]) == {"no", "仕事"}
    assert by_id[wild.id][1] == wild.body
    assert by_id[ids["guild"]][0]["origin"] == "https://d.test/1"
    assert by_id[ids["trashed"]][0]["trashed"]
    assert "quibblefish" in by_id[ids["trashed"]][1]
    for name in names:
        parts = name.split("/")
        assert ".." not in parts
        assert not name.startswith("/")
        assert len(parts) <= 3
        assert not set(name) & set('<>:"\\|?*\x00\u202e')
        assert all(len(part.encode()) <= 200 for part in parts)
    (file,) = [name for name in names if name.startswith("attachments/")]
    assert file.endswith("0-記録.txt")
    assert archive.read(file) == b"attached trundleborp"
    (revision,) = [name for name in names if name.startswith("revisions/")]
    assert "snarkleplum" in archive.read(revision).decode()
    assert json.loads(archive.read("search_events.json"))[0]["query"] == "plonkerweld"
    assert json.loads(archive.read("ledger_calls.json"))[0]["tokens"] == 7
    whole = b"".join(archive.read(name) for name in names)
    assert b"crinklemoss" in whole
    assert b"token-" not in whole
    assert HIS.encode() not in whole


def test_attachments_that_do_not_fit_are_left_out_of_an_export_and_named(tmp_path: Path) -> None:
    import random

    content = random.Random(1).randbytes(300_000)
    with opened(tmp_path / "data", vector="exact") as km:
        file = Attachment("large.bin", "application/octet-stream", content, len(content))
        km.scoped({ADA}).add_note("with a file", space=ADA, author=ADA, attachments=[file])
        small, whole = km.privacy(ADA).export(most_bytes=200_000), km.privacy(ADA).export()
    assert len(small) < 200_000 < len(whole)
    about = json.loads(zipfile.ZipFile(io.BytesIO(small)).read("about.json"))
    assert about["attachments_left_out"][0]["name"] == "large.bin"
    assert content in zipfile.ZipFile(io.BytesIO(whole)).read(
        next(name for name in zipfile.ZipFile(io.BytesIO(whole)).namelist() if name.endswith("large.bin"))
    )


def test_a_note_on_its_way_when_its_author_is_erased_is_known_as_erased(tmp_path: Path) -> None:
    from nescord.identifiers import uuid7

    backups, early = tmp_path / "backups", str(uuid7())
    time.sleep(1.1)
    erasures.remember_person(backups, ADA, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    time.sleep(1.1)
    assert erasures.is_erased(backups, early, author=ADA, space=GUILD)
    assert erasures.is_erased(backups, early, author="", space=ADA)
    assert not erasures.is_erased(backups, early, author=BOB, space=GUILD)
    assert not erasures.is_erased(backups, str(uuid7()), author=ADA, space=ADA)


def _killed(data: Path, commit: int) -> bool:
    """Erase in another process that is killed before its so-manieth commit; whether it was."""
    done = subprocess.run([sys.executable, str(WORLD), str(data), str(commit)], cwd=WORLD.parent.parent, check=False)
    assert done.returncode in (0, -9), done
    return done.returncode == -9


def test_the_owners_view_is_not_needed_to_name_the_verbs(tmp_path: Path) -> None:
    with KnowledgeManager.open(opened(tmp_path / "data", vector="exact")._base.settings) as km:
        assert km.privacy(ADA).export()
