"""The notes of the bot that came before come over with all that it kept of them, and its database is not touched."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nescord import KnowledgeManager
from nescord.errors import UsageError
from nescord.identifiers import made_at
from nescord.importing import ImportReport
from nescord.notes import Note
from nescord.sources.nescordbot_db import Reading, opened
from tests.vaults import SAMPLE, contents, open_base, paths_found

NOTE = "INSERT INTO knowledge_notes (id, title, content, tags, user_id, created_at) VALUES (?, ?, ?, ?, ?, ?)"
ADA = "user:420000000000000042"


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with open_base(tmp_path / "state") as knowledge:
        yield knowledge


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old bot" / "nescordbot.db"
    path.parent.mkdir()
    change(path, lambda db: db.executescript((SAMPLE / "nescordbot-old.sql").read_text(encoding="utf-8")))
    return path


def change(path: Path, what: Callable[[sqlite3.Connection], object]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        what(connection)


def take_in(km: KnowledgeManager, path: Path, reading: Reading | None = None) -> ImportReport:
    with opened(path, reading, live=km.folder.database) as source:
        return km.take_in(source, space="personal", owner="us")


def titled(km: KnowledgeManager, title: str) -> Note:
    found = [one.note_id for one in km.recent_notes(limit=1000) if one.title == title]
    assert len(found) == 1, (title, found)
    return km.note(found[0])


def test_notes_come_over_with_tags_dates_authors_and_spaces(km: KnowledgeManager, old: Path) -> None:
    before = contents(old.parent)
    report = take_in(km, old)
    assert (report.added, report.failed, report.source) == (5, 0, "nescordbot")
    assert contents(old.parent) == before
    tea = titled(km, "紅茶の淹れ方")
    assert (tea.tags, tea.author, tea.space, tea.owner) == (("お茶", "キッチン"), ADA, ADA, "us")
    assert (tea.created_at, tea.updated_at) == ("2025-06-01T09:30:00Z", "2025-06-20T21:00:00Z")
    router = titled(km, "Router password policy")
    assert (router.space, router.author) == (ADA, ADA)
    [hit] = km.search("sticker")
    assert hit.link == "https://discord.com/channels/777777777777777777/222222222222222222/1111111111111111111"
    assert titled(km, "Guest network").tags == ("network", "printer")
    assert titled(km, "Merged: 週末の計画").kind == "permanent"
    ids = [km.note(each).id for each in sorted(one.note_id for one in km.recent_notes(limit=10))]
    assert [km.note(each).created_at for each in ids] == sorted(km.note(each).created_at for each in ids)
    made = made_at(tea.id)
    assert made is not None
    assert made.isoformat() == "2025-06-01T09:30:00+00:00"


def test_links_in_texts_and_beside_them_lead_to_the_notes_that_they_meant(km: KnowledgeManager, old: Path) -> None:
    with opened(old) as source:
        km.take_in(source, space="personal", owner="us")
        assert [remark for remark in source.remarks if "1 links" in remark]
    tea, leaves, plan = titled(km, "紅茶の淹れ方"), titled(km, "茶葉の保存"), titled(km, "Merged: 週末の計画")
    assert ([link.note_id for link in tea.links], tea.body.count("[[")) == ([leaves.id], 1)
    assert [link.note_id for link in plan.links] == [tea.id]
    router, guest = titled(km, "Router password policy"), titled(km, "Guest network")
    assert [link.note_id for link in router.links] == [guest.id]
    assert router.body.endswith("wrong.\n\nLinked notes:\n\n- [[Guest network]] (related)\n")
    edited = km.edit_note(router.id, title="Passwords")
    assert [link.note_id for link in edited.links] == [guest.id]


def test_notes_of_one_title_are_linked_by_their_path(km: KnowledgeManager, old: Path) -> None:
    def add(db: sqlite3.Connection) -> None:
        db.execute(NOTE, ("a", "買い物", "牛乳", "[]", "42", "2025-07-01T00:00:00"))
        db.execute(NOTE, ("b", "買い物", "卵", "[]", "42", "2025-07-02T00:00:00"))
        db.execute(NOTE, ("c", "c|]] d", "odd", "[]", "42", "2025-07-02T00:00:00"))
        db.executemany("INSERT INTO note_links (from_note_id, to_note_id) VALUES (?, ?)", [("a", "b"), ("a", "c")])

    change(old, add)
    take_in(km, old)
    shopping = {
        km.note(one.note_id).body[:2].strip(): km.note(one.note_id)
        for one in km.recent_notes()
        if one.title == "買い物"
    }
    milk, egg = shopping["牛乳"], shopping["卵"]
    assert [link.note_id for link in milk.links] == [egg.id, titled(km, "c|]] d").id]
    assert "関連ノート:" in milk.body


def test_former_texts_are_versions(km: KnowledgeManager, old: Path) -> None:
    take_in(km, old)
    versions = km.note_history(titled(km, "紅茶の淹れ方").id)
    assert [(one.title, one.body, one.replaced_at) for one in versions] == [
        ("紅茶の淹れ方", "沸騰した湯を注ぎ、二分蒸らす。", "2025-06-20T12:00:00Z"),
        ("紅茶", "沸騰した湯を注ぐ。", "2025-06-10T10:00:00Z"),
    ]
    edited = km.edit_note("紅茶の淹れ方", text="水から。")
    assert len(km.note_history(edited.id)) == 3


def test_the_second_import_changes_nothing_and_a_later_one_what_has_changed(km: KnowledgeManager, old: Path) -> None:
    take_in(km, old)
    tea = titled(km, "紅茶の淹れ方")
    again = take_in(km, old)
    assert (again.unchanged, again.changes) == (5, [])
    km.edit_note("Guest network", text="Mine now.")

    def later(db: sqlite3.Connection) -> None:
        db.execute("UPDATE knowledge_notes SET content = '五分蒸らす。' WHERE title = '紅茶の淹れ方'")
        db.execute("UPDATE knowledge_notes SET content = 'Theirs.' WHERE title = 'Guest network'")
        db.execute("DELETE FROM knowledge_notes WHERE title = '茶葉の保存'")
        db.execute(NOTE, (17, "new", "a new one", None, 42, "2025-08-01T00:00:00"))

    change(old, later)
    report = take_in(km, old)
    # Besides the two texts: the note whose link leads nowhere any more.
    assert (report.added, report.changed, report.kept, report.deleted) == (1, 1, 1, 0)
    now = km.note(tea.id)
    assert now.body == "五分蒸らす。"
    assert km.note("Guest network").body == "Mine now."
    assert titled(km, "茶葉の保存")


def test_old_ids_may_be_numbers_and_values_may_be_broken(km: KnowledgeManager, tmp_path: Path) -> None:
    path = tmp_path / "loose.db"

    def make(db: sqlite3.Connection) -> None:
        db.execute(
            "CREATE TABLE knowledge_notes (id INTEGER, title, content, tags, source_type, source_id, user_id, "
            "channel_id, guild_id, created_at, updated_at)"
        )
        db.executemany(
            "INSERT INTO knowledge_notes VALUES (?, ?, ?, ?, 'manual', ?, ?, ?, ?, ?, ?)",
            [
                (1, "one", "first", "tea, 紅茶、cake", 5, 42, None, 7, 1_750_000_000, 1_750_000_000_500),
                (2, None, "no title\nat all", '{"a": 1}', None, "ada", None, "x", "yesterday", None),
                (3, "blob", b"\xff\xfe\x00\x01\x02", None, None, 42, None, None, "2025-01-01", None),
                (
                    4,
                    "sjis",
                    "日本語のメモです。明日は晴れ。".encode("shift_jis"),
                    '["a',
                    None,
                    42.0,
                    None,
                    None,
                    None,
                    None,
                ),
                (5, "empty", "", None, None, 42, None, None, None, None),
                (None, "no id", "text", None, None, 42, None, None, None, None),
                (7, "x" * 400, "nul \0 inside", "[1, 2.5, null, true]", None, -5, None, None, "2025-13-45", None),
                (1, "one again", "twice", None, None, 42, None, None, 1_750_000_000, None),
            ],
        )

    change(path, make)
    with opened(path) as source:
        report = km.take_in(source, space="personal", owner="us")
        assert len(source.remarks) == 2
    assert (report.added, report.failed) == (5, 3)
    one = titled(km, "one")
    assert (one.tags, one.author, one.space) == (("cake", "tea", "紅茶"), "user:42", "user:42")
    assert (one.created_at, one.updated_at) == ("2025-06-15T15:06:40Z", "2025-06-15T15:06:40Z")
    assert (titled(km, "no title").space, titled(km, "no title").author) == ("personal", "")
    assert titled(km, "sjis").body == "日本語のメモです。明日は晴れ。"
    assert titled(km, "empty").body == ""
    assert paths_found(km, "inside")
    reasons = [failure.reason for failure in km.failures()]
    assert sorted(reason.partition(":")[0] for reason in reasons) == [
        "it has no id",
        "it holds what is no text",
        "it is there twice",
    ]


def test_a_table_that_is_missing_is_less_and_one_that_matters_is_an_error(km: KnowledgeManager, old: Path) -> None:
    def strip(db: sqlite3.Connection) -> None:
        db.executescript("DROP TABLE note_links; DROP TABLE note_history; ALTER TABLE knowledge_notes DROP COLUMN tags")

    change(old, strip)
    with opened(old) as source:
        assert km.take_in(source, space="personal", owner="us").added == 5
        assert [remark.partition(" (")[0] for remark in source.remarks] == [
            "the notes have no tags",
            "there are no links between notes in it",
            "there are no former texts of notes in it",
        ]
    change(old, lambda db: db.execute("ALTER TABLE knowledge_notes DROP COLUMN content"))
    with pytest.raises(UsageError, match="no column content"):
        take_in(km, old)
    change(old, lambda db: db.execute("DROP TABLE knowledge_notes"))
    with pytest.raises(UsageError, match="no table knowledge_notes"):
        take_in(km, old)


def test_notes_of_a_guild_go_where_they_are_told_to(km: KnowledgeManager, old: Path) -> None:
    take_in(km, old, Reading(guild_space="guild"))
    assert titled(km, "Router password policy").space == "guild:777777777777777777"
    take_in(km, old, Reading(guild_space="guild:9"))
    assert titled(km, "Router password policy").space == "guild:9"
    assert titled(km, "紅茶の淹れ方").space == ADA


def test_the_clock_of_the_old_machine_counts_where_no_offset_is_kept(km: KnowledgeManager, old: Path) -> None:
    take_in(km, old, Reading(zone=ZoneInfo("Asia/Tokyo")))
    assert titled(km, "紅茶の淹れ方").created_at == "2025-06-01T00:30:00Z"
    assert titled(km, "Router password policy").created_at == "2025-06-03T01:02:03Z"


def test_what_is_still_in_the_log_of_a_running_bot_comes_too(km: KnowledgeManager, old: Path) -> None:
    with closing(sqlite3.connect(old)) as bot:
        bot.execute("PRAGMA journal_mode = WAL")
        bot.execute(NOTE, ("wal", "in the log", "only in the write-ahead log", "[]", "42", "2025-07-01T00:00:00"))
        bot.commit()
        assert old.with_name(old.name + "-wal").stat().st_size
        before = contents(old.parent)
        assert take_in(km, old).added == 6
        assert contents(old.parent) == before


def test_a_damaged_page_costs_the_notes_on_it(km: KnowledgeManager, old: Path) -> None:
    def fill(db: sqlite3.Connection) -> None:
        long = "word " * 4000
        db.executemany(
            NOTE, [(str(n), f"n{n}", f"{long}{n}", "[]", "42", f"2025-07-01T00:00:{n:02}") for n in range(40)]
        )

    change(old, fill)
    with closing(sqlite3.connect(old)) as db:
        [[size]] = db.execute("PRAGMA page_size").fetchall()
    data = bytearray(old.read_bytes())
    middle = len(data) // size // 2 * size
    # A page of a long text: what it says of the next page is nonsense now.
    data[middle : middle + 4] = (2**31).to_bytes(4, "big")
    old.write_bytes(data)
    report = take_in(km, old)
    assert report.added >= 40
    assert report.failed >= 1
    assert report.added + report.failed == 45


@pytest.mark.parametrize("content", [b"", b"not a database at all", b"SQLite format 3\0" + b"\0" * 500])
def test_what_is_no_database_is_refused(km: KnowledgeManager, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.db"):
        take_in(km, path)
    with pytest.raises(UsageError, match=r"nothing\.db"):
        take_in(km, tmp_path / "nothing.db")


def test_our_own_database_is_refused_the_live_one_without_opening_it(km: KnowledgeManager, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="import-from jsonl"):
        take_in(km, km.folder.database)
    # Told by its place, before a byte of it is read.
    (tmp_path / "any.db").write_bytes(b"anything")
    with pytest.raises(UsageError, match="import-from jsonl"), opened(tmp_path / "any.db", live=tmp_path / "any.db"):
        pass
    with open_base(tmp_path / "other") as other:
        other.capture("theirs")
    with pytest.raises(UsageError, match="import-from jsonl"):
        take_in(km, tmp_path / "other" / "nescordbot.db")


def test_notes_that_were_erased_here_stay_away(km: KnowledgeManager, old: Path) -> None:
    take_in(km, old)
    km.privacy(ADA).erase()
    report = take_in(km, old)
    assert (report.added, report.kept) == (0, 4)
    assert json.dumps([one.title for one in km.recent_notes()]) == '["Guest network"]'


def test_a_note_that_does_not_say_when_it_was_made_stays_one_when_it_is_edited(km: KnowledgeManager, old: Path) -> None:
    change(old, lambda db: db.execute(NOTE, ("odd", "Odd", "first", "[]", "420", "some day")))
    change(old, lambda db: db.execute("UPDATE knowledge_notes SET updated_at = '2025-07-01 00:00:00' WHERE id = 'odd'"))
    assert take_in(km, old).added == 6
    change(
        old,
        lambda db: db.execute(
            "UPDATE knowledge_notes SET content = 'then', updated_at = '2025-07-02 00:00:00' WHERE id = 'odd'"
        ),
    )
    report = take_in(km, old)
    assert (report.added, report.changed) == (0, 1)
    assert titled(km, "Odd").body == "then"
