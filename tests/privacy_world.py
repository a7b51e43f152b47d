"""A knowledge base with Ada's and Bob's traces in every table and folder, for tests of privacy.

Also the process of those tests that is killed: `python tests/privacy_world.py DATA COMMITS` erases Ada and kills itself
when it is about to commit for the so-manieth time (0: never).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw

from nescord import KnowledgeManager, Settings
from nescord.answering import Answer
from nescord.inbox import Accepted
from nescord.notes import Attachment
from nescord.quotas import Quotas
from tests.hashing_embedder import HashingEmbedder
from tests.vaults import open_base

ADA, BOB, GUILD = "user:4200000000000000001", "user:4300000000000000002", "guild:7700000000000000003"
# In texts of hers alone, one for each place; words of one case, as the full-text index keeps them.
HERS = (
    *("zebraquux", "wobblefrotz", "snarkleplum", "grumbletwist", "quibblefish", "flimmerdax", "trundleborp"),
    *("plonkerweld", "dazzlegrim", "jabberflint", "crinklemoss", "bumblethwack", "鍵屋崎夢路"),
)
COMMON = "everybody has this very sentence in a note of their own"
HIS = "orchardlantern"


def opened(data: Path, **settings: object) -> KnowledgeManager:
    return open_base(data, embedder=HashingEmbedder(), search_events="off", **settings)


def fill(km: KnowledgeManager) -> dict[str, str]:
    """Write both into it; the ids of the notes by name."""
    ids = {}
    hers = km.scoped({ADA, GUILD})
    file = Attachment("記録.txt", "text/plain", b"attached trundleborp", 20)
    ids["own"] = hers.add_note(f"zebraquux {HERS[-1]}", space=ADA, author=ADA, attachments=[file]).id
    ids["guild"] = hers.add_note("wobblefrotz in the guild", space=GUILD, author=ADA, source="https://d.test/1").id
    ids["common"] = hers.add_note(COMMON, space=ADA, author=ADA).id
    ids["edited"] = hers.add_note("before it was snarkleplum", space=GUILD, author=ADA).id
    km.catch_up()
    hers.edit_note(ids["edited"], text="now it is harmless", title="grumbletwist")
    ids["trashed"] = hers.add_note("quibblefish", space=ADA, author=ADA).id
    km.catch_up()
    hers.delete_note(ids["trashed"])
    his = km.scoped({BOB, GUILD})
    ids["his"] = his.add_note(HIS, space=GUILD, author=BOB).id
    ids["his common"] = his.add_note(COMMON, space=BOB, author=BOB).id
    km.catch_up()
    answer = Answer("flimmerdax", (), "extract", "")
    km.conversations.keep("c1", ADA, {ADA}, "what is dazzlegrim?", answer, is_shared=False)
    km.conversations.keep("c2", BOB, {GUILD}, "what did she say?", answer, is_shared=True)
    km.conversations.keep("c3", BOB, {GUILD}, "and he?", Answer(HIS, (), "extract", ""), is_shared=True)
    now = datetime.now(UTC)
    for who in (ADA, BOB):
        km.preferences.set(who, tags=["jabberflint" if who == ADA else HIS])
        yesterday = Quotas(km._base.verb, km._base.settings, now=lambda: now - timedelta(days=1))  # today's stays
        yesterday.take("searches", who)
        km.digests.subscribe(who, who=who, language="ja", hour=8, timezone="Asia/Tokyo")
        card = km.scoped({who}).spaced(who).next(now)
        assert card is not None
        km.scoped({who}).spaced(who).grade(card.note.id, 3, card.stamp, now)
    km.digests.subscribe("channel:9", guild=GUILD, who=ADA, language="en", hour=8, timezone="UTC")
    km.inbox.accept(
        [_accepted("i1", ADA, "crinklemoss"), _accepted("i2", BOB, HIS), _accepted("i3", ADA, "crinklemoss")]
    )
    km.inbox.done("i3")
    for table in ("marts", "reports"):
        (km.folder.path / table / "deep").mkdir(parents=True)
        (km.folder.path / table / "deep" / "made.html").write_text("<p>bumblethwack</p>")
    with km._base.verb() as catalog, catalog.write() as connection:
        # What is written by code that a model elsewhere would be needed for, or by older versions of ours.
        for who, query in ((ADA, "plonkerweld"), (BOB, HIS)):
            connection.execute(
                "INSERT INTO search_event (at, who, spaces, query, mode, hits, milliseconds, degraded) "
                "VALUES (?, ?, ?, ?, 'hybrid', 1, 1.0, '')",
                (_text(now), who, f'["{GUILD}"]', query),
            )
            connection.execute(
                "INSERT INTO question (at, spaces, text, mode, is_answered) VALUES (?, ?, ?, 'extract', 0)",
                (_text(now), f'["{GUILD}"]', query),
            )
            connection.execute(
                "INSERT INTO ledger VALUES (?, ?, ?, 'm', 'answers', ?, 10, 7, ?)",
                (f"call of {BOB if who == BOB else 0}", _text(now), _text(now)[:10], who, _text(now)),
            )
        connection.execute(
            "UPDATE conversation SET citations = ? WHERE id = 'c2'", (f'[{{"note_id": "{ids["guild"]}"}}]',)
        )
    return ids


def traces(data: Path, words: Iterable[bytes]) -> list[str]:
    """`word: file` of each word that is in a file of the data folder, the backups but for.

    Read by another process: one that has the database open would drop its locks by closing the file.
    """
    wanted = json.dumps([word.hex() for word in words])
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("grep_bytes.py")), str(data)],
        input=wanted, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def words_of_hers() -> Iterator[bytes]:
    yield from (word.encode("utf-8") for word in (*HERS, ADA))


def vectors_of(data: Path, note_ids: Iterable[str]) -> list[bytes]:
    """The vectors of notes, as they are on disk."""
    query = "SELECT vector FROM note JOIN chunk ON note = note.key JOIN embedding USING (text_hash) WHERE note.id = ?"
    return [vector for each in note_ids for vector in _vectors(data, query, each)]


def unused_vectors_of(data: Path) -> list[bytes]:
    """Those of what is in the trash, and of what was said before."""
    return _vectors(data, "SELECT vector FROM embedding WHERE text_hash NOT IN (SELECT text_hash FROM chunk)")


def _vectors(data: Path, query: str, *bound: str) -> list[bytes]:
    connection = apsw.Connection(str(data / "nescordbot.db"))
    try:
        return [bytes(vector) for (vector,) in connection.execute(query, bound)]
    finally:
        connection.close()


def _accepted(wanted: str, who: str, text: str) -> Accepted:
    now = datetime.now(UTC)
    return Accepted(wanted, "note.add", who, {"text": text}, f"token-{text}", "", now, now + timedelta(minutes=15))


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def main() -> None:
    left = int(sys.argv[2])

    def about_to_commit() -> bool:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    with KnowledgeManager.open(Settings(data_dir=Path(sys.argv[1]), embedder="none")) as km:
        km._base._catalog._writer.set_commit_hook(about_to_commit)
        report = km.privacy(ADA).erase()
        assert report.is_complete, report.remarks


if __name__ == "__main__":
    main()
