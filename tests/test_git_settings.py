"""The settings of a vault in git: what is accepted, and what is refused with the mend."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from nescord.errors import SettingsError, VaultError
from nescord.settings import Settings
from nescord.sources.git_remote import Remote

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nhush\n-----END OPENSSH PRIVATE KEY-----"


def refusal(**values: object) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings(**values)
    assert "hush" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "scheme", "name"),
    [
        ("https://github.com/me/notes.git", "https", "notes"),
        ("https://git.example.org:8443/a/b/my-vault/", "https", "my-vault"),
        ("http://127.0.0.1:8000/notes.git", "http", "notes"),
        ("ssh://git@github.com/me/notes.git", "ssh", "notes"),
        ("ssh://git@[::1]:2222/~me/notes", "ssh", "notes"),
        ("git@github.com:me/notes.git", "ssh", "notes"),
        ("file:///srv/git/notes.git", "file", "notes"),
        ("/srv/git/my notes.git", "file", "my notes"),
    ],
)
def test_urls_of_repositories(url: str, scheme: str, name: str) -> None:
    remote = Remote.of(Settings(vault_git_url=url))
    assert remote is not None
    assert (remote.scheme, remote.name) == (scheme, name)


@pytest.mark.parametrize(
    "url",
    [
        "http://git.example.org/notes.git",
        "git://github.com/me/notes.git",
        "ext::sh -c hush",
        "--upload-pack=hush",
        "ssh://-oProxyCommand=hush/x",
        "git@-oProxyCommand=hush:x",
        "git@github.com:-x",
        "notes.git",
        "https://github.com",
        "https://github.com/a b",
        "https://github.com/a?token=hush",
    ],
)
def test_what_is_no_url_of_a_repository_is_refused(url: str) -> None:
    message = refusal(vault_git_url=url) if "token=" in url else _refused(url)
    assert "must be https://HOST/PATH.git, ssh://git@HOST/PATH.git" in message


def _refused(url: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings(vault_git_url=url)
    return str(caught.value)


@pytest.mark.parametrize("url", ["https://me:hush@h/x.git", "https://hush@h/x.git", "ssh://git:hush@h/x.git"])
def test_credentials_in_a_url_are_refused_with_the_mend(url: str) -> None:
    assert "put the token into NESCORD_VAULT_GIT_TOKEN" in refusal(vault_git_url=url)


def test_a_folder_and_a_repository_at_once_are_refused(tmp_path: Path) -> None:
    assert "cannot be used together with NESCORD_VAULT" in refusal(vault=tmp_path, vault_git_url="/srv/notes.git")


@pytest.mark.parametrize("branch", ["main", "feature/x", "日本", "v1.2"])
def test_names_of_branches(branch: str) -> None:
    assert Settings(vault_git_branch=branch).vault_git_branch == branch


@pytest.mark.parametrize(
    "branch", ["-x", "a..b", "a b", "x.lock", "a/", "/a", "a~1", "a:b", "*", "a@{1}", "a//b", "a."]
)
def test_what_is_no_branch_is_refused(branch: str) -> None:
    assert "must be the name of a branch" in refusal(vault_git_branch=branch)


@pytest.mark.parametrize(
    ("folder", "taken"), [("notes", "notes"), ("a/b/", "a/b"), (".", None), ("./a", "a"), ("ノート/x", "ノート/x")]
)
def test_folders_of_a_repository(folder: str, taken: str | None) -> None:
    assert Settings(vault_git_folder=folder).vault_git_folder == taken


@pytest.mark.parametrize("folder", ["/etc", "../x", "a/../../x", ".git", "a/.git/b", "a\nb"])
def test_folders_outside_are_refused(folder: str) -> None:
    assert "must be a folder in the repository" in refusal(vault_git_folder=folder)


def test_tokens_and_keys_belong_to_their_kind_of_url() -> None:
    assert "use NESCORD_VAULT_GIT_KEY" in refusal(vault_git_url="git@h:x.git", vault_git_token="hush")
    assert "use NESCORD_VAULT_GIT_TOKEN" in refusal(vault_git_url="https://h/x.git", vault_git_key=KEY)
    assert "must be one word" in refusal(vault_git_url="https://h/x.git", vault_git_token="hush\nX-Header: 1")
    assert "must be the text of a private key" in refusal(vault_git_url="git@h:x.git", vault_git_key="ssh-ed25519 hush")


def test_a_key_may_be_in_a_file_which_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    remote = Remote.of(Settings(vault_git_url="git@h:x.git", vault_git_key=str(tmp_path / "key")))
    assert remote is not None
    assert remote.key == KEY + "\n"
    assert "hush" not in repr(remote)
    with pytest.raises(VaultError, match="NESCORD_VAULT_GIT_KEY names cannot be read: No such file"):
        Remote.of(Settings(vault_git_url="git@h:x.git", vault_git_key=str(tmp_path / "none")))


def test_a_key_with_a_character_that_is_none_of_a_key_is_refused_and_told_nowhere(tmp_path: Path) -> None:
    for key in (KEY.replace("hush", "hush\u200b"), KEY.replace("hush", "hush\udc80")):
        with pytest.raises(SettingsError, match="holds a character that no private key has") as caught:
            Settings(vault_git_url="git@h:x.git", vault_git_key=key)
        assert "hush" not in _all_said(caught.value)
    (tmp_path / "鍵").write_text(KEY.replace("hush", "hush\u200b"), encoding="utf-8")
    with pytest.raises(VaultError, match="it is no text") as refused:
        Remote.of(Settings(vault_git_url="git@h:x.git", vault_git_key=str(tmp_path / "鍵")))
    assert "hush" not in _all_said(refused.value)


def _all_said(error: BaseException | None) -> str:
    """Everything that a log could show of an error and of those it came from."""
    said = ""
    while error:
        said += f"{error} {error!r} {traceback.format_exception_only(error)}"
        error = error.__cause__ or error.__context__
    return said


def test_every_way_to_a_branch_has_the_same_mirror_and_other_branches_have_others() -> None:
    def mirror(url: str, branch: str | None = None) -> str:
        remote = Remote.of(Settings(vault_git_url=url, vault_git_branch=branch))
        assert remote is not None
        return remote.mirror_name

    ways = ["https://github.com/me/notes.git", "git@github.com:me/notes", "ssh://git@GitHub.com:22/me/notes.git"]
    assert len({mirror(url) for url in ways}) == 1
    assert len({mirror(ways[0]), mirror(ways[0], "main"), mirror(ways[0], "draft")}) == 3
    assert mirror("https://github.com/me/other.git") != mirror(ways[0]) != mirror("https://gitlab.com/me/notes.git")
