"""`nescord watch` as a process: how it begins and ends, beside others, at the limits of the system, without events."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from cli_runs import NESCORD, in_process, nescord
from hashing_embedder import HashingEmbedder

from nescord import watching
from nescord.embedding import Vectors
from nescord.home import DataFolder
from nescord.ingest import IngestOptions
from nescord.locks import LockName, Locks
from nescord.settings import Settings
from tests.vaults import open_base, write_notes
from tests.watch_world import PATIENCE, Watch, changes, ids, stored

pytestmark = pytest.mark.slow

NOTES = {"a.md": "# Alpha\n\napples\n", "会議.md": "# 会議\n\n検索の設計\n", "sub/c.md": "# Cherries\n\nsour\n"}


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    write_notes(tmp_path / "vault", NOTES)
    return tmp_path / "vault"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "kb"


def test_a_signal_ends_it_at_once_and_cleanly(data: Path, vault: Path) -> None:
    for turn, number in enumerate((signal.SIGINT, signal.SIGTERM)):
        with Watch(data, vault) as watch:
            assert watch.until_begun()["changed"] == turn
            begun = time.monotonic()
            watch.child.send_signal(number)
            assert watch.end() == 0
            assert time.monotonic() - begun < 10
            assert watch.said.endswith("ended: the next nescord watch or nescord ingest goes on from here\n")
            assert "Traceback" not in watch.said
        (vault / "a.md").write_text("# Alpha\n\nmissed\n")


def test_killed_in_the_middle_it_goes_on_from_there(data: Path, vault: Path) -> None:
    with Watch(data, vault) as watch:
        watch.until_begun()
        write_notes(vault, {f"more/{number}.md": f"note {number}" for number in range(300)})
        time.sleep(0.5)
        watch.child.kill()
        watch.end()
    with Watch(data, vault) as watch:
        watch.until_begun()
    assert len(stored(data)) == 303


def test_it_waits_for_another_ingest_and_forgets_nothing(data: Path, vault: Path) -> None:
    with Watch(data, vault, NESCORD_LOCK_TIMEOUT="0.2") as watch:
        watch.until_begun()
        with Locks(DataFolder.at(Settings(data_dir=data)).run, timeout=PATIENCE).exclusive(LockName.INGEST):
            (vault / "a.md").write_text("# Alpha\n\npears\n")
            look = watch.until(lambda look: "error" in look)
            assert "ingest.lock" in look["error"] or 'the lock "ingest"' in look["error"]
            (vault / "b.md").write_text("# Beta\n\nplums\n")
            watch.until(lambda look: "error" in look and "b.md" in look["paths"])
            watch.child.send_signal(signal.SIGCONT)
        watch.until_changed("changed", "a.md")
        watch.until_changed("added", "b.md")
    assert watch.said.count("tried again until it can be done") == 1


@pytest.mark.parametrize("is_polled", [False, True])
def test_a_signal_while_it_waits_for_a_lock_ends_it(data: Path, vault: Path, is_polled: bool) -> None:
    polled = {"WATCHFILES_FORCE_POLLING": "1", "WATCHFILES_POLL_DELAY_MS": "100"} if is_polled else {}
    with Watch(data, vault, NESCORD_LOCK_TIMEOUT="600", **polled) as watch:
        watch.until_begun()
        if is_polled:
            time.sleep(0.5)  # some looks that nobody was told of
        run = DataFolder.at(Settings(data_dir=data)).run
        with Locks(run, timeout=PATIENCE).exclusive(LockName.INGEST):
            (vault / "a.md").write_text("# Alpha\n\npears\n")
            fds = Path(f"/proc/{watch.child.pid}/fd")
            deadline = time.monotonic() + PATIENCE
            while not any(os.path.realpath(fd) == str(run / "catalog.lock") for fd in fds.iterdir()):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            watch.child.terminate()
            assert watch.end() == 0


def test_a_file_without_a_readable_name_that_never_rests_hides_no_note(data: Path, vault: Path) -> None:
    has_ended = threading.Event()

    def write() -> None:
        with open(os.fsencode(vault) + b"/\x83\x8d\x83\x4f.log", "ab", buffering=0) as file:  # ログ in Shift_JIS
            while not has_ended.wait(0.02):
                file.write(b"x")

    writer = threading.Thread(target=write)
    try:
        with Watch(data, vault) as watch:
            watch.until_begun()
            writer.start()
            time.sleep(1)  # the watch has ended by now, and does so each time
            (vault / "a.md").write_text("# Alpha\n\npears\n")
            watch.until_changed("changed", "a.md")
    finally:
        has_ended.set()
        writer.join()


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_it_does_its_work_where_nobody_can_be_told(data: Path, vault: Path, as_json: tuple[str, ...]) -> None:
    with open_base(data):
        pass
    command = ("sh", "-c", 'exec "$@" >&-', "sh", *NESCORD, "--data-dir", str(data), "watch", str(vault), *as_json)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        try:
            for number in range(len(NOTES), len(NOTES) + 2):
                deadline = time.monotonic() + PATIENCE
                while len(ids(data)) < number and child.poll() is None:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                write_notes(vault, {f"{number}.md": "# more"})
        finally:
            child.terminate()
        _, err = child.communicate(timeout=PATIENCE)
    assert (child.returncode, "Traceback" in err) == (0, False), err


def test_two_of_them_and_other_commands_get_on_with_one_another(data: Path, vault: Path) -> None:
    with Watch(data, vault) as first:
        first.until_begun()
        with Watch(data, vault) as second:
            second.until_begun()
            for number in range(8):
                write_notes(vault, {f"n{number}.md": f"# 題名 {number}\n\nword{number}"})
                assert nescord("--data-dir", data, "capture", f"thought {number}").code == 0
                assert nescord("--data-dir", data, "ingest", vault).code == 0
            deadline = time.monotonic() + PATIENCE
            while len(ids(data)) < len(NOTES) + 16:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            for watch in (first, second):
                watch.child.terminate()
                assert watch.end() == 0, watch.said
    assert len(ids(data)) == len(NOTES) + 16


def test_what_the_kernel_could_not_queue_is_found_all_the_same(data: Path, vault: Path) -> None:
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if queue > 50_000:
        pytest.skip("so long a queue does not run over")
    others = [vault / f"{number}.txt" for number in range(queue // 16 + 100)]
    with Watch(data, vault) as watch:
        watch.until_begun()
        for file in others:
            file.touch()
        (vault / "b.md").write_text("# Beta")
        watch.until_changed("added", "b.md")
        watch.child.send_signal(signal.SIGSTOP)
        for turn in range(queue // len(others) + 2):
            for file in others:
                file.chmod(0o600 + turn % 2 * 0o40)
        write_notes(vault, {"lost/in/the/flood.md": "# 洪水", "a.md": "# Alpha\n\nafter the flood"})
        watch.child.send_signal(signal.SIGCONT)
        watch.until_changed("added", "lost/in/the/flood.md")
        watch.until_changed("changed", "a.md")
        (vault / "lost" / "in" / "the" / "flood.md").write_text("# 洪水の後")
        watch.until_changed("changed", "lost/in/the/flood.md")


def limited(name: str, most: int) -> tuple[str, ...]:
    """What to put before a command so that its user has so few watches; skips where that cannot be had."""
    unshare = shutil.which("unshare")
    before = (str(unshare), "-r", "-U", "sh", "-c", f'echo {most} > /proc/sys/user/{name} && exec "$@"', "sh")
    if unshare is None or subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    return before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "max_inotify_watches",
            "the 2 folders of {vault} cannot be watched: all watches that a user may have are taken",
        ),
        ("max_inotify_instances", "{vault} cannot be watched: too many programs of this user watch files already"),
    ],
)
def test_a_limit_of_the_system_is_named_with_what_to_do(data: Path, vault: Path, name: str, said: str) -> None:
    with Watch(data, vault, before=limited(name, 1 if "watches" in name else 0)) as watch:
        assert watch.end() == 1
    assert said.format(vault=vault) in watch.said
    assert f"fs.inotify.{name.replace('inotify', 'user')}" in watch.said
    assert "WATCHFILES_FORCE_POLLING=1" in watch.said
    assert "Traceback" not in watch.said


def test_when_the_limit_is_reached_later_the_whole_is_walked_from_time_to_time(data: Path, vault: Path) -> None:
    with Watch(data, vault, before=limited("max_inotify_watches", 4)) as watch:
        watch.until_begun()
        write_notes(vault, {f"new/{number}/n.md": f"# {number}" for number in range(4)})
        watch.until_changed("added", "new/3/n.md")
        since = len(watch.looks)
        (vault / "new" / "2" / "n.md").write_text("# changed")
        watch.until_changed("changed", "new/2/n.md", since)
        shutil.rmtree(vault / "new" / "3")
        shutil.rmtree(vault / "new" / "1")
    assert "max_user_watches" in watch.said


def test_without_events_the_vault_is_walked_again_and_again(data: Path, vault: Path) -> None:
    none = limited("max_inotify_instances", 0)
    with Watch(data, vault, before=none, WATCHFILES_FORCE_POLLING="1", WATCHFILES_POLL_DELAY_MS="200") as watch:
        watch.until_begun()
        for number in range(5):  # several in one second
            since = len(watch.looks)
            (vault / "a.md").write_text(f"# Alpha\n\nedit {number}\n")
            watch.until_changed("changed", "a.md", since)
        write_notes(vault, {"deep/er/n.md": "# new"})
        watch.until_changed("added", "deep/er/n.md")
        (vault / "会議.md").rename(vault / "renamed.md")
        watch.until_changed("renamed", "renamed.md")
        assert len(watch.looks) < 20  # walks that found nothing are not told


def test_a_vault_that_goes_away_and_comes_back_is_followed_again(tmp_path: Path, data: Path, vault: Path) -> None:
    with Watch(data, vault) as watch:
        watch.until_begun()
        before = ids(data)
        vault.rename(tmp_path / "away")
        look = watch.until(lambda look: "error" in look)
        assert look["error"].endswith("does not exist (set NESCORD_VAULT or name the folder)")
        since = len(watch.looks)
        shutil.copytree(tmp_path / "away", vault)
        watch.until(lambda look: look["whole"] and "error" not in look, since)
        (vault / "a.md").write_text("# Alpha\n\nback again\n")
        watch.until_changed("changed", "a.md")
        assert ids(data) == before


def test_it_ends_when_its_vault_is_removed_from_the_knowledge_base(data: Path, vault: Path) -> None:
    with Watch(data, vault) as watch:
        watch.until_begun()
        assert nescord("--data-dir", data, "source", "remove", "vault").code == 0
        (vault / "a.md").write_text("# Alpha\n\nnever mind\n")
        assert watch.end() == 2
    assert "is no vault of this knowledge base any more" in watch.said
    assert stored(data) == []


def test_after_a_restore_it_waits_for_a_person_and_then_looks_at_everything(data: Path, vault: Path) -> None:
    with Watch(data, vault, NESCORD_LOCK_TIMEOUT="60") as watch:
        watch.until_begun()
        made = nescord("--data-dir", data, "backup", "create", "--json").document
        assert isinstance(made, dict)
        (vault / "a.md").write_text("# Alpha\n\nnewer than the backup\n")
        watch.until_changed("changed", "a.md")
        restored = nescord("--data-dir", data, "backup", "restore", made["id"], "--yes")
        assert restored.code == 0, restored.err
        (vault / "sub" / "c.md").write_text("# Cherries\n\nnewer, too\n")
        assert "nescord ingest --resume" in watch.until(lambda look: "error" in look)["error"]
        assert nescord("--data-dir", data, "ingest", "--resume", "--yes").code == 0
        assert ("changed", "a.md") in changes(watch.until_changed("changed", "sub/c.md"))
        since = len(watch.looks)
        for command in (("backup", "restore", made["id"], "--yes"), ("ingest", "--resume", "--yes")):  # unnoticed
            assert nescord("--data-dir", data, *command).code == 0
        (vault / "sub" / "c.md").write_text("# Cherries\n\nnewest\n")
        assert ("changed", "a.md") in changes(watch.until_changed("changed", "sub/c.md", since))


def test_new_text_is_embedded_as_it_comes(data: Path, vault: Path) -> None:
    with Watch(data, vault, NESCORD_EMBEDDER="local") as watch:
        assert watch.until_begun()["embedded"] == 3
        (vault / "b.md").write_text("# 果物\n\n赤い林檎と黄色い梨が好きです。\n")
        look = watch.until_changed("added", "b.md")
        assert (look["embedded"], look["pending"]) == (1, 0)
    with open_base(data, embedder="local") as km:
        assert [hit.path for hit in km.search("red apples and yellow pears", mode="vector", limit=1)] == ["b.md"]


class SlowEmbedder(HashingEmbedder):
    max_batch = 8
    pause = 0.1

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        time.sleep(self.pause)
        return super().embed_documents(texts)


def test_a_note_does_not_wait_until_all_others_are_embedded(
    tmp_path: Path, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_EMBEDDING", 0.5)
    write_notes(vault, {f"many/{number}.md": f"# {number}\n\nword{number}" for number in range(1000)})
    embedder = SlowEmbedder()
    with open_base(tmp_path / "kb", embedder=embedder) as km:
        turns = watching.follow(km, vault, rescan=3600, options=IngestOptions())
        reports = []
        with closing(turns):
            for turn in turns:
                assert turn.report is not None, turn.error
                reports.append(turn.report)
                if len(reports) == 1:
                    (vault / "urgent.md").write_text("# 急ぎ")
                elif turn.report.added:
                    embedder.pause = 0  # what is left need not take its time
                if turn.report.pending == 0:
                    break
        (urgent,) = (report for report in reports[1:] if report.added)
        assert urgent.pending > 0
        assert [report.files_read for report in reports if report is not urgent][1:] == [0] * (len(reports) - 2)
        assert sum(report.embedded for report in reports) == 1004


def test_a_person_is_told_of_each_change_in_a_line(data: Path, vault: Path) -> None:
    with subprocess.Popen(
        [*NESCORD, "--data-dir", data, "watch", vault], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        begin = [child.stdout.readline() for _ in range(4)]
        assert begin[-1] == "vault: 3 notes; watching (Ctrl-C ends it)\n"
        (vault / "会議.md").rename(vault / "議事.md")
        assert child.stdout.readline() == "> 議事.md  (was 会議.md)\n"
        (vault / "a.md").unlink()
        assert child.stdout.readline() == "- a.md\n"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0
    assert err.count("embedding is switched off") == 1


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        ((), {}, "no vault named: nescord watch VAULT, or set NESCORD_VAULT"),
        (("nowhere",), {}, 'vault "nowhere" not found: nowhere does not exist'),
        ((), {"NESCORD_VAULT_GIT_URL": "https://example.org/vault.git"}, "the vault is a git repository"),
        (
            (),
            {"NESCORD_WATCH_RESCAN_MINUTES": "0"},
            "NESCORD_WATCH_RESCAN_MINUTES is '0': must be a whole number from 1",
        ),
    ],
)
def test_what_cannot_be_watched_is_refused_before_anything_is_made(
    data: Path, arguments: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    done = in_process("--data-dir", data, "watch", *arguments, env=env)
    assert (done.code, said in done.err) == (2, True), done.err
    assert not data.exists()
