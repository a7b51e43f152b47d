"""Pushing to a host: what it is sent, what it refuses, who was faster, and that the notes wait."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import in_process
from git_world import Host, Repository, _spoken_by, git, git_host, needs_git, put_program  # noqa: F401
from writeback_world import exchanged, files_of, last_line, new_repository, opened, pulled

from nescord import KnowledgeManager
from nescord.errors import ServiceUnavailableError, UsageError, VaultError, WritebackRefusedError
from nescord.sources import git_push
from nescord.sources.git_cli import GitCommand
from nescord.sources.git_remote import OvertakenError, Remote
from nescord.sources.writeback_commit import open_head

pytestmark = needs_git


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def ready(km: KnowledgeManager) -> None:
    """The vault is taken in, so that notes can be written back."""
    km.ingest()


def test_a_note_goes_over_http_with_the_token_and_is_never_forced(repository: Repository, tmp_path: Path) -> None:
    with git_host(tmp_path) as host:
        host.password = "somebody:secret-token"
        url, token = f"{host.url}/notes.git", "somebody:secret-token"
        with opened(tmp_path, url, vault_git_token=token, writeback_author="茶 <tea@example.org>") as km:
            km.capture("an answer\n" + "and a long text\n" * 9_000)
            _, written = exchanged(km)
            assert written.commits == 1
        pushes = [asked for asked in host.asked if asked.path.endswith("git-receive-pack")]
        assert all(asked.authorization for asked in pushes if asked.body)
    assert len(files_of(repository)) == 1
    assert git(repository.path, "log", "-1", "--format=%an|%cn|%ae", "main") == "茶|茶|tea@example.org\n"
    assert git(repository.path, "rev-list", "--count", "main").strip() == "2"
    git(repository.path, "fsck", "--strict")


def test_who_may_only_read_is_told_so_and_the_notes_wait(repository: Repository, tmp_path: Path) -> None:
    with git_host(tmp_path) as host:
        host.takes_pushes = False
        with opened(tmp_path, f"{host.url}/notes.git") as km:
            ready(km)
            note = km.capture("a note that waits")
            with pytest.raises(WritebackRefusedError, match=r"lets us read and not write.*NESCORD_VAULT_GIT_TOKEN"):
                km.write_back()
            assert km.ingest().deleted == 0
            assert files_of(repository) == {}
            host.takes_pushes = True
            exchanged(km)
            assert list(files_of(repository)) == [km.note(note.id).path.removeprefix("inbox/")]


def test_a_protected_branch_is_told_by_its_name(repository: Repository, tmp_path: Path) -> None:
    hook = put_program(repository.path / "hooks", "pre-receive", "echo 'not by this door' >&2\nexit 1\n")
    with git_host(tmp_path) as host, opened(tmp_path, f"{host.url}/notes.git") as km:
        ready(km)
        km.capture("a note")
        with pytest.raises(WritebackRefusedError, match=r'takes no commits for its branch "main".*declined'):
            km.write_back()
        hook.unlink()
        exchanged(km)
        assert len(files_of(repository)) == 1


def test_a_host_that_is_away_loses_nothing(repository: Repository, tmp_path: Path) -> None:
    with git_host(tmp_path) as host, opened(tmp_path, f"{host.url}/notes.git") as km:
        ready(km)
        km.capture("a note")
        host.status = 503
        with pytest.raises(ServiceUnavailableError):
            km.write_back()
        host.status = 0
        exchanged(km)
        assert len(files_of(repository)) == 1


def test_who_was_faster_is_never_overwritten(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        ready(km)
        remote = Remote.of(km._base.settings)
        assert remote is not None
        with git_push.branch_of(remote, km.folder.git_mirrors) as branch:
            parent = branch.head()
            with open_head(branch.mirror, parent, "") as head:
                changes = {b"x.md": head.put(b"x")}
                commit = head.commit(changes, author="A <a@b>", message="x", zone=km._base.drafting.timezone)
            repository.push({"faster.md": "first"})
            with pytest.raises(OvertakenError):
                branch.push(commit, parent)
            assert "x.md" not in files_of(repository, "")
            parent = branch.head()
            with open_head(branch.mirror, parent, "") as head:
                commit = head.commit(changes, author="A <a@b>", message="x", zone=km._base.drafting.timezone)
            branch.push(commit, parent)
        assert {"faster.md", "x.md", "tea.md", "b/日本.md"} == set(files_of(repository, ""))


def test_a_push_whose_answer_got_lost_makes_no_second_file(repository: Repository, tmp_path: Path) -> None:
    with git_host(tmp_path) as host, opened(tmp_path, f"{host.url}/notes.git") as km:
        ready(km)
        note = km.capture("sent and not heard of")
        hook = put_program(repository.path / "hooks", "post-receive", f"touch {tmp_path}/arrived\n")
        km.write_back()
        assert (tmp_path / "arrived").exists()
        hook.unlink()
        # As if it had been killed right then: nothing but the push itself has happened, and the note goes on.
        km.edit_note(note.id, text="changed meanwhile")
        taken, written = exchanged(km)
        assert (taken.changed, written.written) == (0, 1)
        ((_, text),) = files_of(repository).items()
        assert last_line(text) == "changed meanwhile"
        again, nothing = exchanged(km)
        assert (again.changes, nothing.commits) == ([], 0)


def test_what_was_pushed_and_edited_in_git_before_we_looked_is_one_note(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        ready(km)
        note, other = km.capture("first"), km.capture("second")
        km.write_back()
        ((name, text),) = [each for each in files_of(repository).items() if note.id in each[1]]
        ((gone, _),) = [each for each in files_of(repository).items() if other.id in each[1]]
        pulled(repository).push(
            {f"inbox/{name}": text.replace("\nfirst\n", "\nfirst, by hand\n"), f"inbox/{gone}": None}
        )
        exchanged(km)
        assert km.note(note.id).body == "first, by hand\n"
        assert sorted(last_line(each) for each in files_of(repository).values()) == ["first, by hand", "second"]
        assert km.count_notes() == 4


def test_a_folder_of_the_repository_and_another_branch(repository: Repository, tmp_path: Path) -> None:
    git(repository.work, "push", "--quiet", str(repository.path), "HEAD:refs/heads/notes/all")
    settings = {"vault_git_branch": "notes/all", "vault_git_folder": "b", "writeback_folder": "."}
    with opened(tmp_path, repository.path, **settings) as km:
        note = km.capture("in a branch")
        exchanged(km)
        path = km.note(note.id).path
        assert "/" not in path
        assert last_line(git(repository.path, "show", f"notes/all:b/{path}")) == "in a branch"
        assert files_of(repository) == {}


def test_a_repository_of_sha_256_is_written_to_with_git_only(tmp_path: Path) -> None:
    repository = new_repository(tmp_path, "--object-format=sha256")
    with opened(tmp_path, repository.path) as km:
        ready(km)
        note = km.capture("a note")
        if GitCommand.find() is None:
            with pytest.raises(WritebackRefusedError, match="to write to one the git command is needed"):
                km.write_back()
            return
        exchanged(km)
        km.edit_note(note.id, text="a note, edited")
        exchanged(km)
        assert [last_line(text) for text in files_of(repository).values()] == ["a note, edited"]
        git(repository.path, "fsck", "--strict")


def test_a_file_in_the_place_of_the_folder_is_told(repository: Repository, tmp_path: Path) -> None:
    repository.push({"inbox": "a file"})
    with opened(tmp_path, repository.path) as km:
        ready(km)
        km.capture("a note")
        with pytest.raises(WritebackRefusedError, match='"inbox" in the repository is no folder'):
            km.write_back()


def test_it_is_off_unless_it_is_asked_for(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path, writeback=False) as km:
        km.capture("a note")
        km.ingest()
        assert not km.is_written_back
        with pytest.raises(UsageError, match="set NESCORD_WRITEBACK=true"):
            km.write_back()
    with opened(tmp_path, repository.path) as km:
        km.folder.git_mirrors.rename(tmp_path / "away")
        with pytest.raises(VaultError, match="not fetched yet"):
            km.write_back()
    assert files_of(repository) == {}


def test_the_command_shows_and_pushes(repository: Repository, tmp_path: Path) -> None:
    env = {
        "NESCORD_DATA_DIR": str(tmp_path / "kb"),
        "NESCORD_VAULT_GIT_URL": str(repository.path),
        "NESCORD_EMBEDDER": "none",
    }
    assert in_process("capture", "a note", env=env).code == 0
    refused = in_process("writeback", env=env)
    assert (refused.code, "NESCORD_WRITEBACK=true" in refused.err) == (2, True)
    env["NESCORD_WRITEBACK"] = "true"
    in_process("ingest", env=env)
    would = in_process("writeback", "--dry-run", "--json", env=env).document
    assert (would["written"], would["commits"], files_of(repository)) == (1, 0, {})
    done = in_process("writeback", "--json", env=env).document
    assert (done["written"], done["commits"]) == (1, 1)
    assert [Path(path).name for path in done["paths"]] == list(files_of(repository))
    nothing = in_process("writeback", env=env)
    assert "written 0, removed 0, commits 0, waiting 0" in nothing.out
    assert json.dumps(done)
