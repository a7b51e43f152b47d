# ruff: noqa: F811 - fixtures are named as what they give
"""A vault in git: the mirror follows the branch, whatever is pushed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from git_world import (  # noqa: F401 - fixtures
    Host,
    Repository,
    _spoken_by,
    files_in,
    git,
    host,
    marks_in,
    needs_git,
    refusal,
    remote_of,
    repository,
)

from nescord.errors import VaultError
from nescord.sources.git import notes_in, sync

pytestmark = needs_git


def test_the_files_of_the_branch_are_there_and_then_what_was_pushed(repository: Repository, tmp_path: Path) -> None:
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    assert sync(remote, mirrors) is True
    root = notes_in(remote, mirrors)
    assert files_in(root) == {"a.md": "one", "b/c.md": "two", "b/日本 語.md": "三"}
    before = marks_in(root)
    repository.push({"a.md": None, "b/c.md": "two and more", "d/e.md": "new", "b/日本 語.md": "三"})
    assert sync(remote, mirrors) is True
    assert files_in(root) == {"b/c.md": "two and more", "b/日本 語.md": "三", "d/e.md": "new"}
    assert marks_in(root)["b/日本 語.md"] == before["b/日本 語.md"], "what did not change is not written again"
    commits = git(tmp_path, f"--git-dir={root / '.git'}", "rev-list", "--count", "refs/heads/vault")
    assert commits.strip() == "1", "shallow"


def test_an_unchanged_head_costs_one_question_and_touches_no_file(
    repository: Repository, host: Host, tmp_path: Path
) -> None:
    remote, mirrors = remote_of(f"{host.url}/notes.git"), tmp_path / "mirrors"
    sync(remote, mirrors)
    before = marks_in(mirrors)
    assert len(before) == 3
    assert any(b"want " in asked.body for asked in host.asked)
    host.asked.clear()
    assert sync(remote, mirrors) is False
    assert marks_in(mirrors) == before
    question, *rest = host.asked
    assert (question.method, question.path) == ("GET", "/notes.git/info/refs?service=git-upload-pack")
    # The second half of a question in protocol 2.
    assert [b"command=ls-refs" in asked.body for asked in rest] in ([], [True])


def test_a_push_costs_one_question_and_one_fetch(repository: Repository, host: Host, tmp_path: Path) -> None:
    remote, mirrors = remote_of(f"{host.url}/notes.git"), tmp_path / "mirrors"
    repository.push({"big.md": os.urandom(200_000).hex()})
    sync(remote, mirrors)
    repository.push({"a.md": "one, changed"})
    host.asked.clear()
    sync(remote, mirrors)
    assert sum(b"want " in asked.body for asked in host.asked) == 1
    assert len(host.asked) <= 6
    assert files_in(notes_in(remote, mirrors))["a.md"] == "one, changed"


def test_history_that_was_rewritten_is_followed(repository: Repository, tmp_path: Path) -> None:
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    sync(remote, mirrors)
    repository.push({"a.md": "one, otherwise"}, amend=True)
    assert sync(remote, mirrors) is True
    git(repository.work, "checkout", "--quiet", "--orphan", "anew")
    git(repository.work, "branch", "--quiet", "-D", "main")
    git(repository.work, "branch", "--quiet", "-m", "main")
    repository.push({"b/c.md": None, "z.md": "begun anew"})
    assert sync(remote, mirrors) is True
    assert files_in(notes_in(remote, mirrors)) == {"a.md": "one, otherwise", "b/日本 語.md": "三", "z.md": "begun anew"}


def test_a_branch_that_is_gone_is_said_with_those_that_are_there(repository: Repository, tmp_path: Path) -> None:
    mirrors = tmp_path / "mirrors"
    remote = remote_of(repository.path, branch="draft")
    git(repository.work, "checkout", "--quiet", "-b", "draft")
    repository.push({"d.md": "a draft"})
    sync(remote, mirrors)
    git(repository.path, "branch", "-D", "draft")
    said = refusal(remote, mirrors)
    assert 'no branch "draft" (any more): set NESCORD_VAULT_GIT_BRANCH to one of main' in said
    assert "d.md" in files_in(notes_in(remote, mirrors))


def test_a_default_branch_that_is_renamed_is_followed_and_one_that_is_gone_is_said(
    repository: Repository, tmp_path: Path
) -> None:
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    sync(remote, mirrors)
    git(repository.work, "branch", "-m", "trunk")
    repository.push({"a.md": "on the trunk"})
    git(repository.path, "symbolic-ref", "HEAD", "refs/heads/trunk")
    assert sync(remote, mirrors) is True
    assert files_in(notes_in(remote, mirrors))["a.md"] == "on the trunk"
    git(repository.path, "symbolic-ref", "HEAD", "refs/heads/nowhere")
    assert "no default branch (any more): set NESCORD_VAULT_GIT_BRANCH to one of main, trunk" in refusal(
        remote, mirrors
    )


def test_a_repository_without_a_commit_is_said(tmp_path: Path) -> None:
    assert "is empty: push the notes" in refusal(remote_of(Repository(tmp_path).path), tmp_path / "mirrors")


def test_a_folder_of_the_repository_is_the_vault(repository: Repository, tmp_path: Path) -> None:
    mirrors = tmp_path / "mirrors"
    remote = remote_of(repository.path, folder="b/")
    with pytest.raises(VaultError, match="was not fetched yet"):
        notes_in(remote, mirrors)
    sync(remote, mirrors)
    assert set(files_in(notes_in(remote, mirrors))) == {"c.md", "日本 語.md"}
    (repository.work / "out").symlink_to("/")
    repository.push({"b/c.md": None, "b/日本 語.md": None})
    sync(remote, mirrors)
    with pytest.raises(VaultError, match=r'there is no folder "b" in .*NESCORD_VAULT_GIT_FOLDER; the notes stay'):
        notes_in(remote, mirrors)
    with pytest.raises(VaultError, match='there is no folder "out/tmp"'):
        notes_in(remote_of(repository.path, folder="out/tmp"), mirrors)


def test_files_and_folders_and_links_take_each_others_place(repository: Repository, tmp_path: Path) -> None:
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    (repository.work / "to").symlink_to("b")
    repository.push({"x.md": "a file"})
    sync(remote, mirrors)
    root = notes_in(remote, mirrors)
    assert os.readlink(root / "to") == "b"
    (repository.work / "x.md").unlink()
    (repository.work / "to").unlink()
    shutil.rmtree(repository.work / "b")
    (repository.work / "b").symlink_to("/etc")
    repository.push({"x.md/y.md": "in a folder", "to/z.md": "too"})
    sync(remote, mirrors)
    assert os.readlink(root / "b") == "/etc"
    assert (root / "x.md" / "y.md").read_text() == "in a folder"
    assert (root / "to" / "z.md").read_text() == "too"
    (repository.work / "b").unlink()
    repository.push({"b/c.md": "back"})
    sync(remote, mirrors)
    assert (root / "b").resolve() == root / "b"
    assert set(files_in(root)) == {"a.md", "b/c.md", "x.md/y.md", "to/z.md"}


def test_names_that_other_systems_could_not_have_are_kept(repository: Repository, tmp_path: Path) -> None:
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    names = [
        "back\\slash.md",
        'quote".md',
        "colon: x.md",
        "tab\t.md",
        os.fsdecode(b"caf\xe9.md"),
        "が.md",
        "が.md",
        "-x.md",
    ]
    repository.push(dict.fromkeys(names, "x"))
    sync(remote, mirrors)
    assert set(names) <= set(files_in(notes_in(remote, mirrors)))


def test_files_are_what_was_committed_whatever_the_attributes_say(repository: Repository, tmp_path: Path) -> None:
    files = {"crlf.md": b"a\nb\n", "ident.md": b"$Id$\n", "utf16.md": "日本\n".encode(), "d/lf.md": b"a\r\nb\r\n"}
    asked = "crlf.md text eol=crlf\nident.md ident\nutf16.md working-tree-encoding=UTF-16\n*.md filter=x\n"
    # Committed as it is.
    (repository.work / ".git" / "info" / "attributes").write_text("* -text -ident -filter !working-tree-encoding\n")
    repository.push(files | {".gitattributes": asked, "d/.gitattributes": "lf.md text eol=lf\n"})
    assert git(repository.path, "show", "main:utf16.md") == "日本\n"
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    sync(remote, mirrors)
    root = notes_in(remote, mirrors)
    assert {name: (root / name).read_bytes() for name in files} == files
    before = marks_in(root)
    assert sync(remote, mirrors) is False
    assert marks_in(root) == before
