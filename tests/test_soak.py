"""The soak's judgement sees what is wrong, its plan is the seed's, and a short soak meets every kind of fault."""

from __future__ import annotations

import fcntl
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import apsw
import pytest

from benchmarks.soaking import faults, judging_backups, judging_base, judging_money
from benchmarks.soaking.faults import Kind, MissedError, Troubles, all_kinds, plan
from benchmarks.soaking.judging_base import Content
from benchmarks.soaking.judging_money import Row, Window
from benchmarks.soaking.ledger import Life, Snapshot
from nescord import KnowledgeManager, Settings
from nescord.backup.store import BackupStore
from tests.fakes.gemini.reading import Call
from tests.survival import SOAK

ROOT = Path(__file__).parents[1]
SPACES = {"zqa00001x": "user:1", "zqa00002x": "guild:7", "zqb00001x": "guild:8"}
TEXTS = {marker: f"{marker} v1 The kettle sings. 薬缶" for marker in SPACES}
PERMITTED: dict[str, judging_base.States] = {marker: frozenset({text}) for marker, text in TEXTS.items()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder in which three notes were kept, and a backup that has them."""
    folder = tmp_path / "kb"
    with opened(folder) as knowledge:
        for marker, space in SPACES.items():
            knowledge.capture(TEXTS[marker], space=space)
        knowledge.backups.create()
    return folder


def opened(folder: Path) -> KnowledgeManager:
    return KnowledgeManager.open(settings(folder))


def settings(folder: Path) -> Settings:
    return Settings(data_dir=folder, embedder="none", vector="exact", search_events="off")


def content(data: Path) -> Content:
    return judging_base.read(data / "nescordbot.db")


def change(data: Path, statement: str, *values: str) -> None:
    with closing(apsw.Connection(str(data / "nescordbot.db"))) as connection:
        connection.execute(statement, values)


def wrong(data: Path, permitted: dict[str, judging_base.States] = PERMITTED) -> list[str]:
    return list(judging_base.wrong_notes(content(data), permitted, "db"))


def test_what_is_as_it_was_promised_is_not_found_fault_with(data: Path) -> None:
    found = content(data)
    assert wrong(data) == []
    assert list(judging_base.wrong_spaces(found, SPACES, "db")) == []
    assert list(judging_base.wrong_vault(found, {}, "db")) == []
    assert list(judging_base.left_over(data)) == list(judging_base.held_locks(data)) == []
    assert list(judging_base.left_processes(data)) == list(judging_backups.damaged(data)) == []


def test_a_lost_note_is_seen(data: Path) -> None:
    with opened(data) as knowledge:
        knowledge.delete_note(knowledge.search("zqa00002x")[0].note_id)
    (line,) = wrong(data)
    assert line.startswith("db: zqa00002x is lost (found in: ")
    assert "in the trash" in line


def test_of_an_act_without_an_answer_either_end_is_right(data: Path) -> None:
    either = PERMITTED | {"zqa00001x": frozenset({None, TEXTS["zqa00001x"]}), "zqa00009x": frozenset({None, "x"})}
    assert wrong(data, either) == []


def test_a_note_that_was_deleted_and_is_there_is_seen(data: Path) -> None:
    (line,) = wrong(data, PERMITTED | {"zqb00001x": frozenset({None})})
    assert re.fullmatch(r"db: zqb00001x is there \(.*\), and was deleted or erased", line)


def test_a_note_with_an_older_text_is_seen(data: Path) -> None:
    (line,) = wrong(data, PERMITTED | {"zqb00001x": frozenset({"zqb00001x v2 Something newer."})})
    assert line.startswith("db: zqb00001x says 'zqb00001x v1 The kettle")


def test_a_twin_is_seen(data: Path) -> None:
    with opened(data) as knowledge:
        knowledge.capture(TEXTS["zqa00001x"], space="user:1")
    assert "zqa00001x is there 2 times" in wrong(data)[0]


def test_a_note_that_nobody_asked_for_is_seen(data: Path) -> None:
    with opened(data) as knowledge:
        knowledge.capture("zqa00077x v1 from nowhere", space="user:1")
    assert "zqa00077x is there" in wrong(data)[0]


def test_a_note_in_another_space_is_seen_and_the_search_that_shows_it(data: Path) -> None:
    change(data, "UPDATE note SET space = 'guild:8' WHERE space = 'guild:7'")
    (line,) = judging_base.wrong_spaces(content(data), SPACES, "db")
    assert line.endswith("is in guild:8, and was kept in guild:7")
    homes = {note.id: SPACES[marker] for marker, (note,) in content(data).living.items()}
    with opened(data) as knowledge:
        shown = list(judging_base.leaks(knowledge, sorted(SPACES), SPACES, homes, "keyword"))
        assert [line.partition(" shows")[0] for line in shown] == ["search by keyword in guild:8 for zqa00002x"]
        ids = {marker: note.id for marker, (note,) in content(data).living.items()}
        (line,) = judging_base.unfound(knowledge, ids, SPACES)
    assert line.startswith("search by words in guild:7 does not find zqa00002x")


def test_what_is_left_of_somebody_who_was_erased_is_seen(data: Path) -> None:
    with opened(data) as knowledge:
        knowledge.delete_note(knowledge.search("zqa00001x")[0].note_id)
    lines = list(judging_base.wrong_erasures(content(data), ["zqa00001x"], "db"))
    assert "db: zqa00001x was erased, and is in notes" in lines


def test_a_vault_that_is_stored_otherwise_is_seen(data: Path, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    for name in ("same", "other", "gone"):
        (vault / f"{name}.md").write_text(f"# {name}\n", "utf-8")
    with opened(data) as knowledge:
        knowledge.ingest(vault)
    files = {"same.md": "# same\n", "other.md": "# newer\n", "new.md": "# new\n", "picture.png": ""}
    assert list(judging_base.wrong_vault(content(data), files, "db")) == [
        "db: gone.md is stored, and not in the vault any more",
        "db: new.md of the vault is not stored",
        "db: other.md is not stored as the vault has it",
    ]


def test_chunks_without_words_are_seen(data: Path) -> None:
    with closing(apsw.Connection(str(data / "nescordbot.db"))) as connection:
        connection.execute("DELETE FROM chunk_fts WHERE rowid = (SELECT min(id) FROM chunk)")
    assert wrong(data) == ["db: the full-text index is not of the chunks that there are"]


def test_rests_and_held_locks_are_seen(data: Path) -> None:
    (data / "run" / ".services.json.0a0a0a0a.tmp").touch()
    (data / "backups" / "scratch-1").mkdir()
    assert list(judging_base.left_over(data)) == [
        "backups/scratch-1 is left behind",
        "run/.services.json.0a0a0a0a.tmp is left behind",
    ]
    with (data / "run" / "catalog.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert list(judging_base.held_locks(data)) == ["run/catalog.lock is held"]


def test_a_process_that_is_left_is_seen(data: Path) -> None:
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "NESCORD_DATA_DIR": str(data)}) as process:
        assert faults.until(lambda: list(judging_base.left_processes(data)), 5)
        assert list(judging_base.left_processes(data)) == [f"process {process.pid} is left: sleep 60 "]
        process.kill()


def test_a_broken_backup_is_seen(data: Path) -> None:
    (pack,) = (data / "backups" / "packs").glob("*.pack")
    pack.write_bytes(pack.read_bytes()[:-100] + b"\0" * 100)
    (line,) = judging_backups.damaged(data)
    assert "is damaged" in line


def test_a_backup_without_what_it_owes_is_seen(data: Path, tmp_path: Path) -> None:
    held = dict(judging_backups.contents(data, tmp_path))
    (snapshot,) = held
    assert list(judging_backups.wrong_backups(held, {snapshot: PERMITTED})) == []
    more = PERMITTED | {"zqt00001x": frozenset({"zqt00001x v1"})}
    assert list(judging_backups.wrong_backups(held, {snapshot: more})) == [
        f"the backup {snapshot}: zqt00001x is lost",
    ]
    shutil.rmtree(data / "backups" / "packs")
    ((_, problem),) = judging_backups.contents(data, tmp_path)
    assert isinstance(problem, str)
    assert "cannot be put together" in problem


def test_a_copy_that_is_another_is_seen(data: Path) -> None:
    before = content(data)
    with opened(data) as knowledge:
        note = knowledge.search("zqa00001x")[0].note_id
        knowledge.edit_note(note, text="zqa00001x v2")
    assert list(judging_backups.differing(before, before)) == []
    (line,) = judging_backups.differing(before, content(data))
    assert note in line


def test_a_restore_without_a_backup_of_what_was_there_is_seen(data: Path) -> None:
    (snapshot,) = BackupStore(data / "backups").ids()
    lives = [Life("a", "", 0, 0), Life("b", "origin", asked=5.0, began=6.0)]
    before = {snapshot: Snapshot(snapshot, 0, 5.0, 6.0)}
    assert list(judging_backups.unsaved_forks(lives, before, {snapshot: ""})) == []
    assert "is gone" in next(judging_backups.unsaved_forks(lives, before, {}))
    assert "nothing was backed up" in next(judging_backups.unsaved_forks(lives, {}, {}))
    held = dict(judging_backups.contents(data, data))
    assert list(judging_backups.nowhere(["zqa00001x"], content(data), held)) == []
    assert "zqt00005x" in next(judging_backups.nowhere(["zqt00005x"], content(data), held))


MODEL = "gemini-embedding-001"


def call(status: int | str = 200, *texts: str, at: float = 0.0) -> Call:
    task = "RETRIEVAL_DOCUMENT"
    return Call("batchEmbedContents", MODEL, texts, task, 256, 9, {}, "", at, status, {})  # type: ignore[arg-type]


def row(tokens: int = 9, *, is_settled: bool = True) -> Row:
    return Row(MODEL, "embed_new", 9, tokens, "2026-11-28" if is_settled else None)


def tokens(rows: list[Row], calls: list[Call], kills: int = 0) -> list[str]:
    return list(judging_money.wrong_tokens(judging_money.sums(rows, calls), kills))


def test_rows_that_are_no_calls_and_calls_that_are_no_rows_are_seen() -> None:
    assert tokens([row(), row(0), row()], [call(), call(429), call("lost")]) == []
    assert "1 rows are paid that no call stands for" in tokens([row(), row()], [call()])[0]
    assert "1 calls are in no row" in tokens([row()], [call(), call()])[0]
    assert tokens([row(is_settled=False)], [call()], kills=1) == []
    assert "1 rows have no end, after 0 kills" in tokens([row(is_settled=False)], [call()])[0]
    assert list(judging_money.wrong_rows([row(), row(is_settled=False)])) == []
    assert "counts 3 tokens" in next(judging_money.wrong_rows([row(3, is_settled=False)]))


def test_a_text_that_was_paid_twice_is_seen_unless_a_kill_was_between() -> None:
    calls = [call(200, "a", "b", at=10), call("lost", "c", at=11), call(200, "c", at=12), call(200, "a", at=50)]
    assert list(judging_money.paid_twice(calls, [])) == ["embedded again after 40.0 s: 'a'"]
    assert list(judging_money.paid_twice(calls, [Window(11, 12)])) == []
    assert len(list(judging_money.paid_twice(calls, [Window(60, 61)]))) == 1
    assert len(list(judging_money.paid_twice([call(200, "a", "a")], []))) == 1


def test_vectors_that_went_with_somebody_are_paid_anew_and_two_at_once_never_both_pay() -> None:
    calls = [call(200, "a", at=10), call(200, "a", at=50)]
    assert list(judging_money.paid_twice(calls, [], [Window(40, 41)])) == []
    assert len(list(judging_money.paid_twice(calls, [], [Window(51, 52)]))) == 1
    at_once = [call(200, "b", at=60), call(200, "b", at=61)]
    assert len(list(judging_money.paid_twice(at_once, []))) == 1


def test_the_plan_is_the_seeds_and_deals_every_kind() -> None:
    kinds = all_kinds()
    assert len({kind.name for kind in kinds}) == len(kinds) >= 20
    deck = sum(kind.weight for kind in kinds)
    first = list(islice(plan(kinds, "7", 8.0), 2 * deck))
    again = list(islice(plan(all_kinds(), "7", 8.0), 2 * deck))
    assert [(str(each), each.after, each.seed) for each in first] == [
        (str(each), each.after, each.seed) for each in again
    ]
    for half in (first[:deck], first[deck:]):
        assert {each.kind.name for each in half} == {kind.name for kind in kinds}
    assert [str(each) for each in islice(plan(kinds, "8", 8.0), deck)] != [str(each) for each in first[:deck]]


@dataclass
class Told:
    """What a world is to the faults."""

    lines: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def ledger(self) -> Told:
        return self

    def say(self, line: str) -> None:
        self.lines.append(line)

    def fault(self, kind: str, proof: str) -> None:
        self.lines.append(f"{kind}/{proof}")

    def violation(self, what: str) -> None:
        self.lines.append(f"VIOLATION {what}")


class Counted(Kind):
    """Counts how many of it are at work, and does what its name says."""

    weight = 5
    at_work = most = healed = 0

    def __init__(self, name: str, *uses: str) -> None:
        self.name, self.uses = name, frozenset(uses)

    def left_out(self, world: object) -> str:
        return "it cannot" if self.name == "never" else ""

    def do(self, world: object, rng: random.Random) -> str:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        time.sleep(0.02)
        self.at_work -= 1
        if self.name == "misses":
            raise MissedError("nothing there")
        if self.name == "breaks":
            raise ZeroDivisionError
        return "seen"

    def heal(self, world: object) -> None:
        self.healed += 1


def test_a_fault_counts_only_with_its_proof_and_is_healed_in_any_case() -> None:
    world = Told()
    kinds = [Counted("works", "a"), Counted("misses"), Counted("breaks"), Counted("never")]
    troubles = Troubles(world, "1", 0.01, kinds)  # type: ignore[arg-type]
    threading.Timer(1.0, world.stop.set).start()
    troubles.run()
    works, misses, breaks, never = kinds
    assert troubles.left_out == {"never": "it cannot"}
    assert set(troubles.proofs) == {"works"}
    assert set(troubles.missed) == {"misses"}
    assert works.most == 1
    assert troubles.proofs["works"] == works.healed == world.lines.count("works/seen") == len(troubles.happened)
    assert misses.healed == troubles.missed["misses"]
    assert breaks.healed
    assert never.healed == 0
    assert any(line.startswith("VIOLATION the fault #") and "ZeroDivisionError" in line for line in world.lines)
    troubles.heal_all()
    assert never.healed == 1


FEW = ["kill -9 bot", "of a command", "garbled", "disk is full", "read-only", "Gemini refuses", "gateway", "an older"]
"""With NESCORD_SOAK=1 every kind there is, which takes longer."""


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a volume that is full or read-only")
def test_every_fault_happens_and_nothing_is_lost(tmp_path: Path) -> None:
    wanted = {kind.name for kind in all_kinds() if SOAK or any(text in kind.name for text in FEW)}
    command = [sys.executable, "-m", "benchmarks.soaking.each", "--seed", "test", *([] if SOAK else ["--only", *FEW])]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    happened = set(re.findall(r"\] #\d+ ([^:]+): (?!missed:)", done.stdout))
    left_out = set(re.findall(r"\] (.+?): left out: ", done.stdout))
    assert wanted == happened | left_out
    assert len(happened) >= (14 if SOAK else 6)
    assert "violations: 0" in done.stdout
