"""Interrupting `nescord ingest`: what was stored stays, the rest comes with the next run, the exit code tells."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cli_runs import NESCORD, nescord

from benchmarks.vault import generate
from nescord.home import DataFolder
from nescord.locks import LockName, Locks
from nescord.settings import Settings

NOTES = 1500


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signals") / "vault"
    generate(folder, NOTES, seed=7)
    return folder


def begin(vault: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*NESCORD, "ingest", str(vault), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until_it_stores(child: subprocess.Popen[str]) -> None:
    log = Path("data/state/nescordbot.db-wal")
    deadline = time.monotonic() + 30
    while child.poll() is None and time.monotonic() < deadline:
        # Looked at, not opened: the live files are for SQLite alone. Making the tables writes half a megabyte.
        if log.exists() and log.stat().st_size > 1_500_000:
            return
        time.sleep(0.005)
    pytest.fail("it ended, or stored nothing")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_ingest_keeps_its_batches_and_the_next_one_goes_on(
    vault: Path, number: signal.Signals, code: int
) -> None:
    with begin(vault) as child:
        wait_until_it_stores(child)
        child.send_signal(number)
        _, err = child.communicate(timeout=30)
    assert child.returncode == code, err
    assert "Traceback" not in err
    told = re.search(r"interrupted: ([\d,]+) of 1,500 files looked into; the next ingest goes on from there", err)
    assert told, err
    stored = int(told[1].replace(",", ""))
    assert 0 < stored < NOTES
    assert nescord("status", "--json").document["notes"] == stored
    rest = nescord("ingest", vault, "--json").document
    assert (rest["added"], rest["unchanged"], rest["interrupted"]) == (NOTES - stored, stored, False)


def test_a_second_interrupt_ends_at_once(vault: Path) -> None:
    codes = []
    for _ in range(5):  # the batch at hand may be done before the second one comes
        shutil.rmtree("data", ignore_errors=True)
        with begin(vault) as child:
            wait_until_it_stores(child)
            child.send_signal(signal.SIGINT)
            assert child.stderr is not None
            while not child.stderr.readline().startswith("stopping after the batch at hand"):
                pass
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=30)
        codes.append(child.returncode)
        if codes[-1] == -signal.SIGINT:
            break
    assert codes[-1] == -signal.SIGINT, codes
    assert nescord("status", "--json").code == 0


def test_an_ingest_that_waits_for_another_one_can_be_interrupted(vault: Path) -> None:
    nescord("init")
    run = DataFolder.at(Settings()).run
    with Locks(run, timeout=0).exclusive(LockName.INGEST), begin(vault) as child:
        fds = Path(f"/proc/{child.pid}/fd")
        while not any(os.path.realpath(fd) == str(run / "catalog.lock") for fd in fds.iterdir()):
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=10)
    assert child.returncode == 130
    assert err == "nescord: interrupted before the first note; the next ingest begins again\n"


def test_an_interrupt_elsewhere_leaves_without_a_traceback() -> None:
    with subprocess.Popen(
        [*NESCORD, "capture"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        while "pipe_read" not in (wchan := Path(f"/proc/{child.pid}/wchan").read_text(encoding="ascii")):
            if child.poll() is not None or wchan == "0":  # a kernel that does not tell
                time.sleep(1)
                break
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (130, "nescord: interrupted\n")
