"""What the bot's process promises when things go wrong: the store is held, it is killed, its database is damaged."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import apsw
import pytest

from tests.fakes.discord import Call, Message
from tests.scenario_world import Person, staged
from tests.survival import DATABASE

HELD_SECONDS = 5.0
# Another process that has the store: as a restore has it, and as one that writes has it.
HOLDERS = {
    "lock": """
from nescord.locks import LockName, Locks
from pathlib import Path
held = Locks(Path(sys.argv[1]) / "run", timeout=5).exclusive(LockName.CATALOG)
held.__enter__()
""",
    "transaction": """
import apsw
connection = apsw.Connection(sys.argv[1] + "/" + sys.argv[2])
connection.execute("BEGIN IMMEDIATE")
""",
}


@contextmanager
def held(data: Path, how: str) -> Iterator[None]:
    """For the length of the block another process has the store; it is killed, as it may happen."""
    code = f"import sys\n{HOLDERS[how]}\nprint('held', flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", code, str(data), DATABASE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("how", HOLDERS)
def test_while_another_process_holds_the_store_the_event_loop_goes_on(how: str, tmp_path: Path) -> None:
    """Heartbeats come in time, everybody is acknowledged within three seconds, nobody's note is lost."""
    with staged(tmp_path, heartbeat_ms=250) as stage:
        ada, ben = stage.person("en-US"), stage.person("ja")
        ada.tells("note add", text="Kept before")
        with held(stage.bot.data, how):
            begin = time.monotonic()
            note = ada.slash("note add", text="Kept while it was held")
            others = [ben.slash("search", query="鍵"), ben.slash("note list"), ada.slash("status")]
            form = ben.slash("note add")
            assert form.modal
            assert "Not kept yet" in note.wait(until="Not kept yet").text
            # Nothing of this needs the store.
            assert ben.slash("privacy delete").modal
            assert [each["value"] for each in ben.offered("digest", "zone", switch="on", zone="Tokyo")] == [
                "Asia/Tokyo"
            ]
            time.sleep(max(0.0, begin + HELD_SECONDS - time.monotonic()))
            late = ben.slash("search", query="箱")
            assert late.ack.seconds < 3
            beats = [moment for moment in stage.discord.gateway_side.heartbeats if moment > begin]
        assert len(beats) > HELD_SECONDS / 0.25 * 0.7
        assert max(after - before for before, after in pairwise([begin, *beats])) < 1
        assert "Kept: **Kept while it was held**" in note.wait(20, until="Kept:").text
        assert all(call.wait(30).text for call in (*others, late))
        assert max(call.ack.seconds for call in (note, form, *others)) < 3
        assert "Kept while it was held" in ada.tells("note list").text


def test_buttons_and_forms_go_on_after_a_kill(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        ada, ben = stage.person("en-US"), stage.person("ja")
        kept = ada.tells("note add", text="The key is in the red box", title="Key")
        found = ada.tells("search", query="red box")
        answer = ada.tells("ask", question="Where is the key?")
        card = ada.tells("review")
        asked = ada.tells("note delete", note="Key")
        deleted = ada.click(ada.click(ada.tells("note add", text="Gone soon"), "note.delete"), "note.delete")
        edit = ada.opens(kept, "note.edit")
        follow_up = ada.opens(answer, "ask.follow_up")
        new = ben.slash("note add")
        assert all(form.modal for form in (edit, follow_up, new))
        stage.bot.kill()
        stage.bot.start()
        assert "red box" in ada.click(found, "[1]").text
        assert "red box" in ada.click(answer, "ask.sources").text
        assert ada.said("ask.thanks_useful") in ada.click(answer, "ask.useful").text
        assert ada.said("note.changed", title="Key") in ada.submit(edit, text="The key is in the blue box").text
        followed = ada.submit(follow_up, question="And what colour has the box?")
        assert "Key" in followed.text
        assert "Sources" in followed.labels
        assert "入力欄から" in ben.submit(new, text="入力欄から").text
        assert ada.said("review.done") in ada.click(card, "review.good").text
        assert ada.said("note.undone", title="Gone soon") in ada.click(deleted, "note.undo").text
        assert ada.said("note.not_deleted") in ada.click(asked, "note.cancel").text
        assert "blue box" in ada.click(kept, "note.show").text


# Tables that a damaged file system has lost, and what of that nobody but the log may hear.
LOST = ("note", "chunk", "note_revision", "conversation", "quota_use", "digest", "review_card")
SECRETS = re.compile(
    r"/tmp|/work|/home|\.db\b|sqlite|no such table|SELECT|INSERT|Traceback|apsw|CatalogError|Error:|\.py\b",
    re.IGNORECASE,
)
REFERENCE = re.compile(r"\((?:reference |参照番号 )`([0-9a-f]{8})`\)|（参照番号 `([0-9a-f]{8})`）")


# The language of every answer is looked up in the last one.
@pytest.mark.parametrize("lost", [LOST, ("preference",)], ids=["most", "preferences"])
@pytest.mark.parametrize("locale", ["en-US", "ja"])
def test_an_error_has_a_reference_that_is_in_the_log_and_says_nothing_of_the_machine(
    locale: str, lost: Sequence[str], tmp_path: Path
) -> None:
    with staged(tmp_path) as stage:
        home = stage.guild()
        person = stage.person(locale, is_manager=True, home=home)
        kept = person.tells("note add", text="needle", title="Needle", at=home)
        answer = person.tells("ask", question="needle?", at=home)
        said = person.writes("needle, said by somebody")
        lose_tables(stage.bot.data, lost)
        told = [
            person.tells("search", query="needle", at=home),
            person.tells("ask", question="needle?", at=home),
            person.tells("note add", text="another", at=home),
            person.tells("note show", note="Needle", at=home),
            person.slash("note edit", note="Needle", at=home).wait(),
            person.tells("note list", at=home),
            person.tells("related", note="Needle", at=home),
            person.tells("review", at=home),
            person.tells("review", period=("today", "今日"), at=home),
            person.tells("digest", switch=("on", "オン"), at=home),
            person.tells("privacy show", at=home),
            person.tells("privacy export", at=home),
            person.tells("status", at=home),
            person.menu("Save to notes", said),
            person.menu("Find related", said),
            person.click(kept, "note.show"),
            person.click(answer, "ask.sources"),
            person.click(answer, "ask.useful"),
        ]
        references = [reference_in(message) for message in told]
        assert all(references), [message.text for message in told]
        assert len(set(references)) == len(references)
        log = stage.bot.output
        assert [reference for reference in references if f"{reference}: " not in log] == []
        assert "no such table" in log
        assert [message.text for message in told if SECRETS.search(message.text) or str(tmp_path) in message.text] == []
        if lost == LOST:
            assert person.offered("note show", "note", note="Nee", at=home) == []
            assert person.reads("What I can do", "できること") in person.tells("help", at=home).text
            assert person.said("settings.changed") in person.tells("settings", tags="x", at=home).text


def lose_tables(data: Path, lost: Sequence[str]) -> None:
    connection = apsw.Connection(str(data / DATABASE))
    connection.set_busy_timeout(10_000)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "DELETE FROM sqlite_schema WHERE tbl_name IN (SELECT value FROM json_each(?))", (json.dumps(lost),)
    )
    # So that others look at it anew.
    connection.execute(f"PRAGMA schema_version = {connection.pragma('schema_version') + 1}")
    connection.close()


def reference_in(message: Message) -> str:
    found = REFERENCE.search(message.text)
    return (found[1] or found[2]) if found else ""


def test_what_is_handed_out_is_whole_while_others_write(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        ada, people = stage.person("en-US"), [stage.person("ja") for _ in range(4)]
        for number in range(5):
            ada.tells("note add", text=f"Mine, number {number}")

        def writes(person: Person) -> list[Call]:
            return [person.slash("note add", text=f"Of {person.who}, number {number}") for number in range(15)]

        with ThreadPoolExecutor(4) as threads:
            written = threads.map(writes, people)
            exports = [ada.slash("privacy export") for _ in range(4)]
            assert all("保存しました" in call.wait(60).text for calls in written for call in calls)
        for call in exports:
            (file,) = call.wait(60).files
            with zipfile.ZipFile(io.BytesIO(file.content)) as exported:
                assert exported.testzip() is None
                texts = [exported.read(name).decode() for name in exported.namelist()]
            assert sum("Mine, number" in text for text in texts) >= 5
            assert not any(person.who in text for text in texts for person in people)


def test_what_is_used_up_is_refused_before_it_costs_anything(tmp_path: Path) -> None:
    with staged(tmp_path, NESCORD_QUOTA_ANSWERS="2/3") as stage:
        home = stage.guild()
        ada, ben = stage.person("en-US", home=home), stage.person("ja", home=home)
        ada.tells("note add", text="The key is in the red box")
        assert ada.said("frame.left_answers", left=1) in ada.tells("ask", question="Where is the key?", at=home).text
        assert ada.said("frame.left_answers", left=0) in ada.tells("ask", question="Where is the key?", at=home).text
        asked = len(stage.gemini.calls)
        assert "You have used this up for today" in ada.tells("ask", question="Where is the key?", at=home).text
        assert len(stage.gemini.calls) == asked > 0
        assert ben.said("frame.left_answers", left=0) in ben.tells("ask", question="鍵はどこ？", at=home).text
        assert "このサーバーの本日の上限に達しました" in ben.tells("ask", question="鍵はどこ？", at=home).text
        status = ada.tells("status", at=home)
        assert "Answers: 0 (0 for this server)" in status.text
