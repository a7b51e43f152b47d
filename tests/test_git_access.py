# ruff: noqa: F811 - fixtures are named as what they give
"""How the host of a vault in git is reached, and that what it says is told apart and no secret is told."""

from __future__ import annotations

import base64
import os
import shutil
import time
from pathlib import Path

import pytest
from git_world import (  # noqa: F401 - fixtures
    Host,
    Repository,
    _spoken_by,
    all_bytes,
    began_in,
    files_in,
    git,
    git_host,
    host,
    marks_in,
    needs_git,
    put_program,
    refusal,
    remote_of,
    repository,
)

from nescord.errors import ServiceUnavailableError, VaultError
from nescord.sources import git_cli, git_client, git_dulwich
from nescord.sources.git import notes_in, sync
from nescord.sources.git_remote import reason_in

pytestmark = needs_git
TOKEN = "ghp_0123456789hush"


def test_a_host_that_is_away_is_waited_for_and_the_mirror_stays(
    repository: Repository, host: Host, tmp_path: Path
) -> None:
    remote, mirrors = remote_of(f"{host.url}/notes.git"), tmp_path / "mirrors"
    sync(remote, mirrors)
    before = marks_in(mirrors)
    for status in (503, 502, 429):
        host.status = status
        assert "is not to be reached" in refusal(remote, mirrors, ServiceUnavailableError)
    host.status = 0
    repository.push({"a.md": os.urandom(50_000).hex()})
    host.cut_after = 10_000
    host.released.set()
    assert "is not to be reached" in refusal(remote, mirrors, ServiceUnavailableError)
    assert host.stalls.is_set(), "the line broke within the pack"
    assert marks_in(mirrors) == before
    assert began_in(mirrors) == []
    host.cut_after = None
    assert sync(remote, mirrors) is True
    closed = remote_of("http://127.0.0.1:9/notes.git")
    assert "http://127.0.0.1:9/notes.git is not to be reached" in refusal(closed, mirrors, ServiceUnavailableError)


def test_a_host_that_says_nothing_is_given_up(
    repository: Repository, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_cli, "_FETCHING_SECONDS", 1)
    monkeypatch.setattr(git_client, "_QUIET_SECONDS", 1)
    remote, mirrors = remote_of(f"{host.url}/notes.git"), tmp_path / "mirrors"
    host.cut_after = 20
    began = time.monotonic()
    said = refusal(remote, mirrors, ServiceUnavailableError)
    assert said == f"git fetch took longer than 1 s on {remote.url}; the notes stay" or "timed out" in said
    assert host.stalls.is_set()
    assert time.monotonic() - began < 20
    assert began_in(mirrors) == []


@pytest.mark.parametrize("drips", [b"refs/heads/main", b"PACK"], ids=["the branches", "the files"])
def test_a_host_that_says_a_little_again_and_again_is_given_up(
    repository: Repository, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drips: bytes
) -> None:
    for module in (git_cli, git_dulwich):
        monkeypatch.setattr(module, "_FETCHING_SECONDS", 0.5)
        monkeypatch.setattr(module, "_ASKING_SECONDS", 0.5 if drips != b"PACK" else 60)
    host.drips = drips
    remote = remote_of(f"{host.url}/notes.git")
    began = time.monotonic()
    said = refusal(remote, tmp_path / "mirrors", ServiceUnavailableError)
    assert host.stalls.is_set()
    assert time.monotonic() - began < 10
    verb = " ls-remote" if drips != b"PACK" else " fetch"
    expected = f"git{verb if shutil.which('git') else ''} took longer than 0.5 s on {remote.url}; the notes stay"
    assert said == expected


def test_work_on_the_mirror_that_takes_too_long_is_named_without_a_path(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("git"):
        pytest.skip("dulwich asks nobody for it")
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    sync(remote, mirrors)
    monkeypatch.setattr(git_cli, "_LOCAL_SECONDS", 0)
    said = refusal(remote, mirrors, ServiceUnavailableError)
    assert said == "git clean took longer than 0 s on the copy of the vault; the notes stay"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a repository to somebody else")
def test_a_repository_of_another_user_is_read(repository: Repository, tmp_path: Path) -> None:
    for path in (repository.path, *repository.path.rglob("*")):
        os.chown(path, 10001, 10001)
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    assert sync(remote, mirrors) is True
    assert "a.md" in files_in(notes_in(remote, mirrors))
    assert [path.name for path in mirrors.iterdir()] == [remote.mirror_name]


def test_wrong_credentials_name_the_setting_and_right_ones_are_told_to_nobody(
    repository: Repository, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.password = f"x-access-token:{TOKEN}"
    url, mirrors = f"{host.url}/notes.git", tmp_path / "mirrors"
    assert "set NESCORD_VAULT_GIT_TOKEN to a token that may read it" in refusal(remote_of(url), mirrors)
    said = refusal(remote_of(url, token="another-hush"), mirrors)
    assert "refuses access: NESCORD_VAULT_GIT_TOKEN is wrong, has run out, or may not read this repository" in said
    assert "hush" not in said

    arguments = tmp_path / "arguments"
    if shutil.which("git"):
        wrapped = put_program(
            tmp_path / "bin", "git", f'echo "$@" >> "{arguments}"\nexec "{shutil.which("git")}" "$@"\n'
        )
        monkeypatch.setenv("PATH", f"{wrapped.parent}:{os.environ['PATH']}")
    remote = remote_of(url, token=TOKEN)
    assert sync(remote, mirrors) is True
    assert "hush" not in repr(remote)
    told = host.asked[-1].authorization or ""
    assert told.startswith("Basic ")
    kept = all_bytes(mirrors) + (arguments.read_bytes() if arguments.exists() else b"")
    assert TOKEN.encode() not in kept
    assert told.split()[1].encode() not in kept
    assert arguments.exists() == bool(shutil.which("git"))

    host.password = "somebody:word"
    assert sync(remote_of(url, token="somebody:word"), mirrors) is False
    host.status = 403
    assert "NESCORD_VAULT_GIT_TOKEN is wrong" in refusal(remote, mirrors)


def test_a_repository_that_has_moved_is_said_and_the_token_is_not_sent_after_it(
    repository: Repository, host: Host, tmp_path: Path
) -> None:
    with git_host(tmp_path) as other:
        host.status, host.location = 301, other.url
        said = refusal(remote_of(f"{host.url}/notes.git", token=TOKEN), tmp_path / "mirrors")
        assert "has moved, or is short of .git" in said
        assert host.asked
        assert other.asked == []


def test_what_is_no_repository_is_said(repository: Repository, host: Host, tmp_path: Path) -> None:
    mirrors = tmp_path / "mirrors"
    for url in (f"{host.url}/none.git", tmp_path / "none.git", f"file://{tmp_path}/notes-work/b"):
        assert "there is no git repository at" in refusal(remote_of(url), mirrors)
    host.status = 404
    assert "or it is private: set NESCORD_VAULT_GIT_TOKEN" in refusal(remote_of(f"{host.url}/notes.git"), mirrors)


def test_nobody_elses_settings_hooks_or_filters_take_part(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = put_program(tmp_path / "evil", "post-checkout", f'touch "{tmp_path}/was-here"\ncat\n')
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f"[core]\n\thooksPath = {evil.parent}\n\tfsmonitor = {evil}\n"
        f'[filter "lfs"]\n\tsmudge = {evil}\n\tclean = {evil}\n'
        f'\trequired = true\n[url "file:///nowhere"]\n\tinsteadOf = file://\n'
    )
    for name, value in {"HOME": home, "GIT_CONFIG_GLOBAL": home / ".gitconfig", "GIT_DIR": repository.path}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("GIT_WORK_TREE", str(repository.work))
    pointer = "version https://git-lfs.github.com/spec/v1\n"
    (repository.work / ".gitattributes").write_text("*.png filter=lfs\n")
    git(repository.work, "add", ".gitattributes")
    remote, mirrors = remote_of(repository.path), tmp_path / "mirrors"
    repository.push({"p.png": pointer})
    sync(remote, mirrors)
    repository.push({"a.md": "changed"})
    sync(remote, mirrors)
    assert files_in(notes_in(remote, mirrors))["p.png"] == pointer
    assert not (tmp_path / "was-here").exists()


def test_a_key_reaches_ssh_as_a_private_file_and_nothing_else(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, mirrors = tmp_path / "seen", tmp_path / "a mirror"
    seen.mkdir()
    # Instead of going to the host, it runs here what is to be run there.
    bin_folder = put_program(
        tmp_path / "bin",
        "ssh",
        f'for each; do echo "$each" >> "{seen}/arguments"; last="$each"\n'
        f'if [ "$before" = -i ]; then /bin/cp -p "$each" "{seen}/key"; fi; before="$each"; done\n'
        f'PATH="{os.environ["PATH"]}:/usr/bin:/bin" exec /bin/sh -c "$last"\n',
    ).parent
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\\nhush\\n-----END OPENSSH PRIVATE KEY-----"
    remote = remote_of(f"ssh://git@git.example.org:2222{repository.path}", key=key)
    assert sync(remote, mirrors) is True
    assert (seen / "key").read_text() == key.replace("\\n", "\n") + "\n"
    assert (seen / "key").stat().st_mode & 0o777 == 0o600
    arguments = (seen / "arguments").read_text().splitlines()
    for option in (
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=accept-new",
        f'UserKnownHostsFile="{mirrors}/known_hosts"',
        "BatchMode=yes",
        "git@git.example.org",
        "2222",
    ):
        assert option in arguments
    assert "hush" not in "".join(arguments)
    assert [path.name for path in mirrors.iterdir()] == [remote.mirror_name], "the file of the key is gone"
    repository.push({"a.md": "by ssh"})
    assert sync(remote, mirrors) is True
    assert [path.name for path in mirrors.iterdir()] == [remote.mirror_name]
    (seen / "arguments").unlink()
    assert sync(remote_of(f"git@git.example.org:{repository.path}"), mirrors) is True
    assert "-i" not in (seen / "arguments").read_text().splitlines(), "without a key it is the user's own"


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        ("git@h: Permission denied (publickey).", VaultError, "NESCORD_VAULT_GIT_KEY is wrong"),
        ("Load key x: error in libcrypto", VaultError, "NESCORD_VAULT_GIT_KEY is wrong"),
        ("ERROR: Repository not found.", VaultError, "there is no git repository at"),
        ("Host key verification failed.", VaultError, "shows another key than before"),
        ("fatal: detected dubious ownership in repository at '/srv/x'", VaultError, "belongs to another user than"),
        ("ssh: Could not resolve hostname h: Name or service not known", ServiceUnavailableError, "Could not resolve"),
        ("ssh: connect to host h port 22: Connection timed out", ServiceUnavailableError, "timed out"),
    ],
)
def test_what_ssh_says_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, kind: type[Exception], told: str
) -> None:
    put_program(tmp_path / "bin", "ssh", f'echo "{words}" >&2\nexit 255\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    key = tmp_path / "key"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n")
    assert told in refusal(remote_of("git@h:notes.git", key=str(key)), tmp_path / "mirrors", kind)


def test_a_secret_that_git_repeats_is_not_said_again() -> None:
    remote = remote_of("https://h/x.git", token=TOKEN)
    basic = base64.b64encode(remote.basic.encode()).decode()
    said = reason_in(remote, f"warning: no\nfatal: {TOKEN} and Basic {basic} are no good\n")
    assert said == "fatal: *** and Basic *** are no good"
