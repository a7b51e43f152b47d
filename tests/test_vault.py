"""The walk over a vault: what it meets, what it skips, what it notices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nescord.errors import VaultError
from nescord.sources import vault
from nescord.sources.vault import KnownFile, Scan, UnreadableError
from tests.vaults import REPOSITORY, UNPRIVILEGED, write_notes


def known_from(scan: Scan) -> dict[str, KnownFile]:
    return {file.raw: (file.path, None, *file.fingerprint) for file in scan.fresh}


def found(root: Path) -> list[str]:
    return [file.path for file in vault.scan(root.resolve(), {}, b"").fresh]


def test_notes_are_found_at_every_depth_and_other_files_are_not(tmp_path: Path) -> None:
    write_notes(tmp_path, {"a.md": "", "b/c/日本.markdown": "", "b/picture.png": "", "b/notes.txt": ""})
    assert found(tmp_path) == ["a.md", "b/c/日本.markdown"]


def test_dot_folders_are_skipped(tmp_path: Path) -> None:
    write_notes(
        tmp_path, {".obsidian/x.md": "", ".trash/y.md": "", ".git/z.md": "", "a/.hidden/w.md": "", "a/n.md": ""}
    )
    assert found(tmp_path) == ["a/n.md"]


def test_an_unchanged_vault_is_walked_without_anything_fresh(tmp_path: Path) -> None:
    write_notes(tmp_path, {"a.md": "1", "b/c.md": "2"})
    first = vault.scan(tmp_path, {}, b"")
    second = vault.scan(tmp_path, known_from(first), first.ignore_hash)
    assert (second.unchanged, second.fresh, second.vanished) == (2, [], [])


def test_a_change_that_puts_size_and_mtime_back_is_noticed(tmp_path: Path) -> None:
    write_notes(tmp_path, {"a.md": "old words"})
    first = vault.scan(tmp_path, {}, b"")
    stat = (tmp_path / "a.md").stat()
    (tmp_path / "a.md").write_text("new words")
    os.utime(tmp_path / "a.md", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = vault.scan(tmp_path, known_from(first), b"")
    assert [file.path for file in second.fresh] == ["a.md"]


def test_a_vanished_file_is_noticed(tmp_path: Path) -> None:
    write_notes(tmp_path, {"a.md": "1", "b.md": "2"})
    first = vault.scan(tmp_path, {}, b"")
    (tmp_path / "b.md").unlink()
    assert vault.scan(tmp_path, known_from(first), b"").vanished == ["b.md"]


SCAN = """
import json, pathlib, sys
from nescord.sources import vault
root = pathlib.Path(sys.argv[1])
first = vault.scan(root, {}, b"")
(root / "closed").chmod(0)
second = vault.scan(root, {file.raw: (file.path, None, *file.fingerprint) for file in first.fresh}, b"")
print(json.dumps([len(first.fresh), second.vanished, second.failed]))
"""


@pytest.mark.skipif(UNPRIVILEGED is None, reason="root reads everything, and setpriv is not there to make it stop")
def test_notes_in_a_folder_that_cannot_be_read_have_not_vanished(tmp_path: Path) -> None:
    write_notes(tmp_path, {"a.md": "1", "closed/b.md": "2"})
    done = subprocess.run(
        [*(UNPRIVILEGED or ()), sys.executable, "-c", SCAN, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    (tmp_path / "closed").chmod(0o755)
    assert json.loads(done.stdout) == [2, [], [["closed", "folder not readable: Permission denied"]]]


def test_ignore_patterns_apply_to_files_and_whole_folders(tmp_path: Path) -> None:
    write_notes(
        tmp_path, {"Templates/t.md": "", "a/x.draft.md": "", "a/keep.draft.md": "", "a/b.md": "", "が/c.md": ""}
    )
    (tmp_path / ".nescordignore").write_text(
        "Templates/\n*.draft.md\n!keep.draft.md\n# が in two code points:\nか\u3099/\n"
    )
    assert found(tmp_path) == ["a/b.md", "a/keep.draft.md"]


def test_a_pattern_added_later_lets_known_notes_vanish(tmp_path: Path) -> None:
    write_notes(tmp_path, {"drafts/a.md": "", "b.md": ""})
    first = vault.scan(tmp_path, {}, b"")
    (tmp_path / ".nescordignore").write_text("drafts/\n")
    second = vault.scan(tmp_path, known_from(first), first.ignore_hash)
    assert (second.vanished, second.unchanged + len(second.fresh)) == (["drafts/a.md"], 1)
    assert second.ignore_hash != first.ignore_hash


def test_a_broken_ignore_file_is_named(tmp_path: Path) -> None:
    write_notes(tmp_path, {"a.md": ""})
    (tmp_path / ".nescordignore").write_text("[z-a]\n")
    with pytest.raises(VaultError, match="nescordignore is not valid"):
        vault.scan(tmp_path, {}, b"")


def test_links_inside_the_vault_are_followed_and_those_that_leave_or_loop_are_not(tmp_path: Path) -> None:
    root = tmp_path / "vault"
    write_notes(root, {"real/a.md": "1"})
    write_notes(tmp_path, {"outside/secret.md": "2"})
    (root / "file.md").symlink_to(root / "real" / "a.md")
    (root / "folder").symlink_to(root / "real")
    (root / "real" / "loop").symlink_to(root)
    (root / "away").symlink_to(tmp_path / "outside")
    (root / "away.md").symlink_to(tmp_path / "outside" / "secret.md")
    assert found(root) == ["file.md", "folder/a.md", "real/a.md"]


def test_a_link_to_nothing_is_told_and_does_not_trash_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "nowhere.md").symlink_to(tmp_path / "missing.md")
    known: dict[str, KnownFile] = {"nowhere.md": ("nowhere.md", None, 1, 1, 1, 1)}
    scan = vault.scan(tmp_path, known, b"")
    assert (scan.failed, scan.vanished) == ([("nowhere.md", "a link to something that is not there")], [])


def test_a_fifo_named_like_a_note_does_not_hang_the_walk(tmp_path: Path) -> None:
    write_notes(tmp_path, {"a.md": ""})
    os.mkfifo(tmp_path / "pipe.md")
    scan = vault.scan(tmp_path, {}, b"")
    assert [file.path for file in scan.fresh] == ["a.md"]
    assert scan.failed == [("pipe.md", "not a regular file")]


def test_a_file_of_this_moment_is_read_again_next_time(tmp_path: Path) -> None:
    (tmp_path / "now.md").write_text("still being written")
    first = vault.read(tmp_path, "now.md", 1000)
    info = (tmp_path / "now.md").stat()
    assert first.fingerprint != (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)


def test_a_file_over_the_limit_is_refused_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "big.md").write_text("x" * 2000)
    with pytest.raises(UnreadableError, match="NESCORD_MAX_NOTE_BYTES"):
        vault.read(tmp_path, "big.md", 1000)


def test_a_missing_vault_and_a_file_in_its_place_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="does not exist"):
        vault.real_root(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(VaultError, match="is not a folder"):
        vault.real_root(tmp_path / "file")
