"""An erasure reaches all that is of a person, wherever it has got to, and nothing that is somebody else's."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nescord import KnowledgeManager, privacy
from nescord.answering import Answer
from nescord.backup import erasures
from nescord.backup.create import create
from nescord.backup.restore import restore
from nescord.catalog import privacy as privacy_sql
from nescord.errors import NotFoundError, QuotaError
from nescord.maintain import maintain
from nescord.quotas import Quotas
from nescord.times import utc_text
from tests.privacy_world import ADA, BOB, GUILD, opened

ANSWER = Answer("whatever", (), "extract", "")


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with opened(tmp_path / "data", vector="exact") as opened_one:
        yield opened_one


def questions(km: KnowledgeManager) -> list[str]:
    return [str(text) for (text,) in rows(km, "SELECT text FROM question ORDER BY id")]


def exported(km: KnowledgeManager, who: str) -> list[str]:
    archive = zipfile.ZipFile(io.BytesIO(km.privacy(who).export()))
    return [row["text"] for row in json.loads(archive.read("questions.json"))]


def rows(km: KnowledgeManager, query: str, *bound: str) -> list[tuple[object, ...]]:
    with km._base.verb() as catalog, catalog.read() as connection:
        return list(connection.execute(query, bound))


def write(km: KnowledgeManager, query: str, *bound: object) -> None:
    with km._base.verb() as catalog, catalog.write() as connection:
        connection.execute(query, bound)


def shared(km: KnowledgeManager, who: str, question: str, *, tag: str = "", wanted: str = "") -> None:
    """A question asked for all of the guild, as `/ask` does it."""
    km.scoped({GUILD}).answer(f'tag:"{tag}" {question}' if tag else question)
    km.conversations.keep(wanted or f"{who} {question}", who, {GUILD}, question, ANSWER, is_shared=True)


# --- questions ---


def test_a_question_in_the_same_words_is_not_hers_where_she_did_not_ask_it(tmp_path: Path) -> None:
    with opened(tmp_path / "on", vector="exact") as km:
        write(
            km,
            "INSERT INTO search_event (at, who, spaces, query, mode, hits, milliseconds, degraded) "
            "VALUES (?, ?, ?, 'salary?', 'keyword', 0, 1, '')",
            *(utc_text(datetime.now(UTC)), ADA, json.dumps([ADA])),
        )
        shared(km, ADA, "salary?")
        km.scoped({BOB}).answer("salary?")
        km.scoped({BOB, GUILD}).answer("salary?")
        km.answer("salary?")  # the owner, who sees every space
        assert exported(km, ADA) == ["salary?"]
        assert km.privacy(ADA).summary().counts["questions"] == 1
        assert km.privacy(ADA).erase().counts["questions"] == 1
        left = [spaces for (spaces,) in rows(km, "SELECT spaces FROM question ORDER BY id")]
        assert left == [json.dumps([BOB]), json.dumps([GUILD, BOB]), None]


def test_a_question_that_others_asked_there_long_before_or_just_before_is_not_hers(km: KnowledgeManager) -> None:
    shared(km, BOB, "who has the key?")
    long_ago = utc_text(datetime.now(UTC) - timedelta(days=2))
    write(km, "UPDATE question SET at = ?", long_ago)  # and its conversation is forgotten after a month
    write(km, "DELETE FROM conversation")
    shared(km, BOB, "who has the key?", wanted="his")
    a_minute_ago = utc_text(datetime.now(UTC) - timedelta(minutes=1))
    write(km, "UPDATE question SET at = ? WHERE at <> ?", a_minute_ago, long_ago)
    write(km, "UPDATE conversation SET at = ?", a_minute_ago)
    shared(km, ADA, "who has the key?", wanted="hers")
    assert len(exported(km, ADA)) == 1
    km.privacy(ADA).erase()
    left = [at for (at,) in rows(km, "SELECT at FROM question ORDER BY id")]
    assert left == [long_ago, a_minute_ago]


def test_of_the_same_words_only_those_are_hers_that_were_said_about_when_she_said_them(km: KnowledgeManager) -> None:
    shared(km, BOB, "who has the key?")
    long_ago = utc_text(datetime.now(UTC) - timedelta(days=31))
    write(km, "UPDATE question SET at = ?", long_ago)
    write(km, "DELETE FROM conversation")  # whose it was nobody knows any more
    shared(km, ADA, "who has the key?")
    km.privacy(ADA).erase()
    assert rows(km, "SELECT at FROM question") == [(long_ago,)]


def test_a_shared_question_with_a_tag_is_hers_as_well(km: KnowledgeManager) -> None:
    shared(km, ADA, "秘密の計画は？", tag="work")
    shared(km, ADA, 'a "quoted" plan?', tag="long tag")
    shared(km, BOB, "計画は？", tag="秘密の")
    assert exported(km, ADA) == ['tag:"work" 秘密の計画は？', 'tag:"long tag" a "quoted" plan?']
    assert km.privacy(ADA).erase().counts["questions"] == 2
    assert questions(km) == ['tag:"秘密の" 計画は？']


def test_a_question_of_hers_in_a_private_scope_goes_and_one_that_saw_anothers_space_stays(km: KnowledgeManager) -> None:
    km.scoped({ADA, GUILD, "personal"}).answer("mine?")
    km.scoped({ADA, BOB}).answer("ours?")
    assert km.privacy(ADA).erase().counts["questions"] == 1
    assert questions(km) == ["ours?"]


def test_a_restore_of_an_older_snapshot_erases_the_shared_question_with_the_answer_that_quotes_her(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "data", vector="exact") as km:
        note = km.scoped({GUILD}).add_note("kraken in the guild", space=GUILD, author=ADA)
        answer = km.scoped({GUILD}).answer("kraken?")
        assert [each.note_id for each in answer.citations] == [note.id]
        km.conversations.keep("c1", ADA, {GUILD}, "kraken?", answer, is_shared=True)
        before = create(km._base).id
        km.privacy(ADA).erase()
        settings = km._base.settings
    assert restore(settings, before).erased == 1
    with opened(tmp_path / "data", vector="exact") as km:
        assert questions(km) == []
        assert km.conversations.find("c1", {GUILD}, ADA) is None


def test_a_database_from_before_there_were_conversations_can_be_erased_from(km: KnowledgeManager) -> None:
    km.scoped({ADA}).add_note("hers", space=ADA, author=ADA)
    km.scoped({ADA}).answer("hers?")
    km.scoped({BOB}).answer("his?")
    with km._base.verb() as catalog, catalog.write() as connection:
        for table in ("conversation", "search_event", "review_card", "review_event", "preference", "digest"):
            connection.execute(f"DROP TABLE {table}")
        assert privacy_sql.erase_again(connection, ADA, "~") == 1
    assert questions(km) == ["his?"]


# --- answers that quote ---


def quoted(km: KnowledgeManager) -> str:
    """A note of Ada's that an answer to Bob quotes, and that he is to see again; its id."""
    note = km.scoped({GUILD}).add_note("zebraquux and the kraken", space=GUILD, author=ADA)
    answer = km.scoped({GUILD}).answer("kraken")
    assert [each.note_id for each in answer.citations] == [note.id]
    km.conversations.keep("c1", BOB, {GUILD}, "kraken", answer, is_shared=True)
    km.conversations.keep("c2", BOB, {GUILD}, "else", ANSWER, is_shared=True)
    card = km.scoped({GUILD}).spaced(BOB).next(datetime.now(UTC))
    assert card is not None
    km.scoped({GUILD}).spaced(BOB).grade(note.id, 3, card.stamp, datetime.now(UTC))
    return note.id


def assert_nobody_quotes(km: KnowledgeManager) -> None:
    assert [key for (key,) in rows(km, "SELECT id FROM conversation")] == ["c2"]
    assert rows(km, "SELECT note_id FROM review_card UNION ALL SELECT note_id FROM review_event") == []


def test_a_note_that_is_erased_is_quoted_no_more(km: KnowledgeManager) -> None:
    km.erase_note(quoted(km))
    assert_nobody_quotes(km)


def test_a_note_whose_days_in_the_trash_are_over_is_quoted_no_more(km: KnowledgeManager) -> None:
    note_id = quoted(km)
    km.scoped({GUILD}).delete_note(note_id)
    write(km, "UPDATE note SET trashed_at = ? WHERE id = ?", utc_text(datetime.now(UTC) - timedelta(days=31)), note_id)
    assert maintain(km._base, now=datetime.now(UTC))
    with pytest.raises(NotFoundError):
        km.note(note_id)
    assert_nobody_quotes(km)


def test_a_restore_brings_back_no_answer_that_quotes_an_erased_note(tmp_path: Path) -> None:
    with opened(tmp_path / "data", vector="exact") as km:
        note_id = quoted(km)
        before = create(km._base).id
        km.erase_note(note_id)
        settings = km._base.settings
    assert restore(settings, before).erased == 1
    with opened(tmp_path / "data", vector="exact") as km:
        assert_nobody_quotes(km)


# --- merges ---


def test_a_note_of_his_that_was_merged_into_hers_and_brought_back_keeps_what_it_said_before(
    km: KnowledgeManager,
) -> None:
    hers = km.scoped({GUILD}).add_note("# Hers\nsecret lanternfish", space=GUILD, author=ADA)
    his = km.scoped({GUILD}).add_note("# His\nfirst", space=GUILD, author=BOB)
    km.scoped({GUILD}).edit_note(his.id, text="# His\nsecond")
    km.merge([hers.id, his.id])
    km.restore_note(his.id)
    km.privacy(ADA).erase()
    assert [each.body.split() for each in km.note_history(his.id)] == [["#", "His", "first"]]
    assert rows(km, "SELECT id FROM note_revision WHERE body LIKE '%lanternfish%'") == []


def test_what_went_into_an_erased_note_and_is_nowhere_else_any_more_goes_with_it(km: KnowledgeManager) -> None:
    first, second, third = (km.scoped({GUILD}).add_note(text, space=GUILD, author=BOB) for text in ("one", "two", "3"))
    km.merge([second.id, third.id])
    km.merge([first.id, second.id])
    for gone in (second.id, third.id):  # the trash is emptied
        write(km, "DELETE FROM note WHERE id = ?", gone)
    km.erase_note(first.id)
    assert rows(km, "SELECT id FROM note_revision") == []


def test_notes_of_others_that_hold_text_of_hers_are_told_and_are_no_failure(km: KnowledgeManager) -> None:
    his, other, hers, more = (
        km.scoped({GUILD}).add_note(text, space=GUILD, author=author)
        for text, author in (("his", BOB), ("other", BOB), ("hers lanternfish", ADA), ("hers", ADA))
    )
    km.merge([more.id, hers.id])  # within her own
    assert km.privacy(ADA).summary().merged == 0
    km.merge([his.id, more.id])
    km.merge([other.id, his.id])  # and on into another
    assert km.privacy(ADA).summary().merged == 1
    assert km.privacy(BOB).summary().merged == 0
    report = km.privacy(ADA).erase()
    assert (report.merged, report.is_complete, report.remarks) == (1, True, ())
    assert "lanternfish" in km.note(other.id).body


# --- what belongs to everybody ---


def test_whoever_erases_themselves_may_do_no_more_on_that_day(km: KnowledgeManager) -> None:
    quotas = Quotas(km._base.verb, km._base.settings)
    for _ in range(30):
        quotas.take("answers", ADA)
    km.privacy(ADA).erase()
    with pytest.raises(QuotaError):
        quotas.take("answers", ADA)
    yesterday = utc_text(datetime.now(UTC) - timedelta(days=1))[:10]
    write(km, "UPDATE quota_use SET day = ?", yesterday)  # a day has passed
    assert maintain(km._base, now=datetime.now(UTC))
    assert rows(km, "SELECT who FROM quota_use") == []


def test_of_vectors_of_queries_only_those_go_that_were_of_use_since_she_was_first_seen(km: KnowledgeManager) -> None:
    write(km, "INSERT OR IGNORE INTO model (id, key) VALUES (99, 'm')")

    def use(name: bytes, when: str) -> None:
        write(km, "INSERT INTO query_vector VALUES (99, ?, x'00', ?)", name, when)

    def left() -> list[object]:
        return [name for (name,) in rows(km, "SELECT text_hash FROM query_vector ORDER BY used_at")]

    today = utc_text(datetime.now(UTC))
    use(b"before her", "2026-01-01T00:00:00Z")
    use(b"now", today)
    km.privacy(ADA).erase()  # of her there is nothing
    assert left() == [b"before her", b"now"]
    km.scoped({ADA}).add_note("something", space=ADA, author=ADA)
    km.privacy(ADA).erase()
    assert left() == [b"before her"]


def made_by_everybody(km: KnowledgeManager) -> list[Path]:
    files = [km.folder.marts / "generation" / "x.parquet", km.folder.reports / "weekly.html"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("of the owner's")
    return files


def test_of_whom_nothing_is_kept_an_erasure_touches_nothing_that_is_everybodys(tmp_path: Path) -> None:
    with opened(tmp_path / "data") as km:  # with Chroma embedded
        km.scoped({BOB}).add_note("his lanternfish", space=BOB, author=BOB)
        km.catch_up()
        km.drain()
        files = made_by_everybody(km)
        km.quotas.take("searches", ADA)
        km.preferences.set(ADA, language="ja")
        before = {path: path.stat().st_mtime_ns for path in km.folder.chroma.rglob("*")}
        assert before
        for _ in range(2):
            report = km.privacy(ADA).erase()
            assert report.is_complete
            assert all(file.exists() for file in files)
            assert {path: path.stat().st_mtime_ns for path in km.folder.chroma.rglob("*")} == before
        # Of a note that was never in the index only the files may have something.
        km.scoped({ADA}).add_note("hers", space=ADA, author=ADA)
        write(km, "DELETE FROM embedding WHERE text_hash IN (SELECT text_hash FROM chunk JOIN note ON note.key = "
              "chunk.note WHERE author = ?)", ADA)  # fmt: skip
        km.privacy(ADA).erase()
        assert not any(file.exists() for file in files)
        assert {path: path.stat().st_mtime_ns for path in km.folder.chroma.rglob("*")} == before


def test_reports_go_after_a_restore_whoever_asks_for_they_may_be_older_than_what_is_there(tmp_path: Path) -> None:
    with opened(tmp_path / "data", vector="exact") as km:
        before = create(km._base).id
        km.scoped({ADA}).add_note("hers", space=ADA, author=ADA)
        settings = km._base.settings
    restore(settings, before)
    with opened(tmp_path / "data", vector="exact") as km:
        files = made_by_everybody(km)
        assert km.privacy(ADA).erase().is_complete
        assert not any(file.exists() for file in files)


# --- maintenance ---


def test_the_next_maintenance_brings_an_erasure_to_its_end(km: KnowledgeManager) -> None:
    note = km.scoped({ADA}).add_note("hers", space=ADA, author=ADA)
    time.sleep(1.1)
    erasures.remember_person(km.folder.backups, ADA, utc_text(datetime.now(UTC)))  # and then the bot was killed
    looked = km.maintain(dry_run=True).steps[0]
    assert (looked.name, looked.before, looked.after) == ("erasures", 1, None)
    assert km.note(note.id)
    done = km.maintain().steps[0]
    assert (done.name, done.unit, done.before, done.after, done.error) == ("erasures", "people", 1, 0, "")
    with pytest.raises(NotFoundError):
        km.note(note.id)
    assert not privacy.unfinished(km._base)


def test_what_keeps_an_erasure_from_its_end_is_told_by_maintenance(km: KnowledgeManager) -> None:
    old = km.folder.path / ".restore" / f"old-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S%f')}"
    old.mkdir(parents=True)
    (old / "nescordbot.db").write_bytes(b"the only copy of something")
    erasures.remember_person(km.folder.backups, ADA, utc_text(datetime.now(UTC)))
    step = km.maintain().steps[0]
    assert (step.before, step.after) == (1, 1)
    assert "make one" in step.remark


# --- what is said ---


def test_only_what_is_not_done_yet_is_counted_of_the_inbox(km: KnowledgeManager) -> None:
    from tests.privacy_world import _accepted

    km.inbox.accept([_accepted("i1", ADA, "one"), _accepted("i2", ADA, "two"), _accepted("i3", ADA, "three")])
    km.inbox.done("i1")
    assert km.privacy(ADA).summary().counts["inbox"] == 2
    assert km.privacy(ADA).erase().counts["inbox"] == 2
    assert rows(km, "SELECT who FROM inbox WHERE who <> ''") == []  # of what was done, too
