"""The comparison with other tools: its frame, on 30 notes and without a real model, and that its checks can fail."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.peering import changes, measure, steps, table, venvs
from benchmarks.peering.changes import Truth
from benchmarks.peering.shared import Counting
from benchmarks.vault import generate

NAMES = ("ours", "numpy_scan", "fts5")
WORK = {"cold", "unchanged", "appended", "renamed", "deleted"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vault = tmp_path_factory.mktemp("peers") / "base"
    generate(vault, 30, 1)
    return vault


def a_peer(name: str, scratch: Path, base: Path) -> steps.Peer:
    scratch.mkdir(parents=True, exist_ok=True)
    about = measure.run([sys.executable, "-m", f"benchmarks.peering.adapters.{name}", "about"])
    assert not about.error
    return steps.Peer(name, Path(sys.executable), scratch, base, "hash", about.result)


@pytest.mark.slow
def test_one_command_gives_the_whole_page_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.peers", "--notes", "30", "--embedder", "hash"]
    command += ["--peers", ",".join(NAMES), "--scratch", str(tmp_path / "scratch"), "--venvs", str(tmp_path / "venvs")]
    command += ["--results", str(tmp_path / "results.jsonl"), "--write", str(tmp_path / "page.md"), "--resume"]
    first = subprocess.run(command, check=True, capture_output=True, text=True, cwd=measure.ROOT)
    assert first.stderr.count("work,") == len(NAMES)
    records: dict[str, dict[str, steps.Record]] = {}
    for line in (tmp_path / "results.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        records.setdefault(entry["peer"], {})[entry["record"]["row"]] = entry["record"]

    for name in NAMES:
        rows = records[name]
        assert not [row for row, record in rows.items() if record.get("error")]
        assert rows.keys() >= WORK | {"stale", "japanese", "index lost", "backup", "restore", "nasty"}
        for row in WORK:
            assert table.is_right(rows[row]), (name, row, rows[row])
            assert rows[row]["cpu"] > 0
            assert rows[row]["rss"] > 10
            assert rows[row]["disk"] > 0
        assert rows["stale"]["stale"] == 0
    ours = records["ours"]
    assert ours["cold"]["embedded"] > 30
    assert [ours[row]["embedded"] for row in ("unchanged", "renamed", "deleted", "switched back", "index lost")] == [
        0
    ] * 5
    assert 0 < ours["appended"]["embedded"] < ours["cold"]["embedded"] / 2
    assert ours["switched"]["answered"] >= 0.9 * ours["switched"]["asked"] > 0
    assert records["numpy_scan"]["unchanged"]["embedded"] >= ours["cold"]["embedded"]  # it knows of no change
    assert records["fts5"]["cold"]["embedded"] == 0
    assert all(ours["japanese"][f"recall {length}"] == 1 for length in (1, 2, 3))
    assert records["fts5"]["japanese"]["recall 2"] == 0  # of its trigrams
    assert ours["nasty"]["survived"]
    assert (ours["nasty"]["good"], ours["nasty"]["silent"]) == (5, 0)
    assert not records["fts5"]["nasty"]["survived"]
    assert records["numpy_scan"]["restore"]["none"]
    assert ours["golden keyword"]["MRR@10"] > records["numpy_scan"]["golden vector"]["MRR@10"] > 0
    page = (tmp_path / "page.md").read_text("utf-8")
    assert "| cold ingest |" in page
    assert "`UnicodeEncodeError" in page

    again = subprocess.run(command, check=True, capture_output=True, text=True, cwd=measure.ROOT)
    assert again.stderr == ""
    assert again.stdout == first.stdout


@pytest.mark.slow
def test_a_kill_half_way_costs_ours_no_note_and_no_batch_twice(tmp_path: Path, base: Path) -> None:
    peer = a_peer("ours", tmp_path / "scratch", base)
    texts = len({text for _, text in Truth(base).pairs})
    peer.paid_when_cold, peer.seconds_when_cold = texts, 1.0
    (record,) = steps.kill(peer)
    assert record["lost"] == record["doubled"] == record["stale"] == 0
    assert texts / 2 <= record["paid"] <= texts
    assert record["twice"] <= 128


def test_what_is_lost_doubled_or_stale_is_told_apart(base: Path, tmp_path: Path) -> None:
    truth = Truth(base)
    stored = [pair for pair, count in truth.pairs.items() for _ in range(count)]
    assert truth.compare(stored) == {"lost": 0, "doubled": 0, "stale": 0}
    assert truth.compare(stored[1:]) == {"lost": 1, "doubled": 0, "stale": 0}
    assert truth.compare([*stored, stored[0]]) == {"lost": 0, "doubled": 1, "stale": 0}
    assert truth.compare([*stored, (stored[0][0], "an older text")]) == {"lost": 0, "doubled": 0, "stale": 1}
    assert truth.compare([*stored, ("gone.md", stored[0][1])]) == {"lost": 0, "doubled": 0, "stale": 1}
    assert truth.is_stale("gone.md", stored[0][1])
    assert not truth.is_stale(*stored[0])
    # A file that only some can read is nobody's mistake.
    vault = tmp_path / "vault"
    shutil.copytree(base, vault)
    (vault / "sjis.md").write_bytes("議事録".encode("cp932"))
    assert Truth(vault).compare([*stored, ("sjis.md", "議事録")]) == {"lost": 0, "doubled": 0, "stale": 0}


def test_every_change_changes_what_is_true(base: Path, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    shutil.copytree(base, vault)
    for change in (changes.append, changes.rename, changes.delete, changes.rewrite):
        before = Truth(vault)
        assert len(change(vault)) == 3
        assert Truth(vault).compare(before.pairs.elements()) != {"lost": 0, "doubled": 0, "stale": 0}


def test_pieces_of_japanese_come_with_the_notes_that_hold_them(base: Path) -> None:
    wanted = changes.japanese(Truth(base))
    assert {len(piece) for piece in wanted} == {1, 2, 3}
    assert all(wanted.values())
    assert Truth(base).texts.keys() > set.union(*wanted.values())


def test_a_peer_that_has_not_done_the_work_is_never_the_first() -> None:
    def cost(cpu: float, **more: int) -> steps.Record:
        whole: steps.Record = {
            "cpu": cpu,
            "embed_cpu": 0.0,
            "lost": 0,
            "doubled": 0,
            "stale": 0,
            "embedded": 1,
            "rss": 1,
            "disk": 1.0,
        }
        return {**whole, **more}

    records: dict[str, dict[str, steps.Record]] = {
        "ours": {"cold": cost(2.0), "switched": cost(2.0)},
        "llamaindex": {"cold": cost(1.0, lost=1), "switched": cost(1.0, answered=3, asked=20)},
        "llm_cli": {"cold": {"error": "ValueError: no"}, "switched": {"none": True}},
    }
    page = table.page(records, [])
    assert "| cold ingest | **2.00 (0.00) 1.00×** | 1.00 (0.00) 0.50× ✗ | failed |" in page
    assert "| another model | **2.00 (0.00) 1.00×** | 1.00 (0.00) 0.50× ✗ | has none |" in page
    assert "| cold ingest | nothing | 1 lost | failed |" in page
    assert "- llm_cli, cold: `ValueError: no`" in page
    assert "not within a tenth" not in page
    records["llamaindex"]["cold"] = cost(1.0)
    assert "- cold ingest: 2.00× of the peer llamaindex (1.00 s)" in table.page(records, [])
    for name, taken in (("ours", 3.0), ("llamaindex", 2.0)):
        records[name]["query vector"] = {"p50": taken, "p95": taken, "cpu_ms": taken}
    assert "- by meaning: 1.50× of llamaindex (2.00 ms of CPU). Ours looks up" in table.page(records, [])


def test_a_process_is_measured_with_its_children_and_killed_when_asked(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\nprint('{{}}')"
    assert measure.run([sys.executable, "-c", code]).cpu >= 0.3
    failed = measure.run([sys.executable, "-c", "raise ValueError('no')"])
    assert (failed.error, failed.result) == ("ValueError: no", {})
    killed = measure.run([sys.executable, "-c", "import time; time.sleep(60)"], killed_when=lambda passed: passed > 0.2)
    assert killed.error == "killed"
    assert killed.wall < 30
    late = measure.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2)
    assert late.error.startswith("no end after")


def test_the_embedder_counts_and_writes_down_what_it_was_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first, other = Counting("hash", "A", log), Counting("hash", "B")
    rows = first.embed([f"text {number}" for number in range(20)])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert (first.texts, len(set(log.read_text().splitlines()))) == (20, 20)
    assert np.array_equal(first.query("text 3"), rows[3])
    assert first.texts == 20
    assert abs(float(other.query("text 3") @ rows[3])) < 0.9
    assert first.model_key != other.model_key


def test_a_vault_of_ones_own_is_hashed_and_only_its_notes_are_copied(tmp_path: Path) -> None:
    vault, copy = tmp_path / "mine", tmp_path / "copy"
    (vault / "a").mkdir(parents=True)
    (vault / "a" / "note.md").write_text("one")
    (vault / "picture.png").write_bytes(b"1")
    os.mkfifo(vault / "pipe.md")
    before = peers.digest(vault)
    peers.copy_notes(vault, copy)
    assert [path.name for path in copy.rglob("*.*")] == ["note.md"]
    assert peers.digest(vault) == before
    (vault / "a" / "note.md").write_text("two")
    assert peers.digest(vault) != before


def test_every_peer_has_an_adapter_and_every_pin_names_a_version() -> None:
    for name in peers.ALL:
        assert (Path(steps.__file__).parent / "adapters" / f"{name}.py").is_file()
    for pins in venvs.PINS.glob("*.txt"):
        lines = [line for line in pins.read_text().splitlines() if line and not line.startswith("#")]
        assert lines
        assert all("==" in line for line in lines), pins
