"""A repository that holds a vault: where it is, how it is reached, and what is wrong when it cannot be.

Credentials never become part of a URL, an argument of a process, a file that stays or a message. A token is sent with
each request and to the named host only, a key lies in a file of its own for the length of one sync.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

from nescord import durable
from nescord.errors import (
    AccessRefusedError,
    DiskError,
    NescordError,
    ServiceUnavailableError,
    VaultError,
    WritebackRefusedError,
)
from nescord.settings import Settings

KNOWN_HOSTS = "known_hosts"
# Of the mirror's own branch: what was fetched last.
BRANCH = "refs/heads/vault"
_SCP = re.compile(r"(?P<host>[^/:@\s]+@[^/:@\s]+):(?P<path>.+)")
# GitHub takes any user with a token, GitLab, Gitea and others as well.
_ANY_USER = "x-access-token"
_DEFAULT_PORTS = (":443", ":22")
_SECONDS_TO_CONNECT = 20
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Remote:
    """A branch of a repository (None: its default branch) and the folder in it that holds the notes ("": all of it).

    `basic` is USER:TOKEN for HTTP, `key` the text of a private key for ssh; "" where there is none.
    """

    url: str
    branch: str | None = None
    folder: str = ""
    basic: str = field(default="", repr=False)
    key: str = field(default="", repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Remote | None:
        """What the settings name, if they name a repository.

        Raises:
            VaultError: the file of the key cannot be read.
        """
        url = settings.vault_git_url
        if url is None:
            return None
        token = settings.vault_git_token.get_secret_value() if settings.vault_git_token else ""
        return cls(
            url=f"file://{quote(url)}" if url.startswith("/") else url,
            branch=settings.vault_git_branch,
            folder=settings.vault_git_folder or "",
            basic=token if not token or ":" in token else f"{_ANY_USER}:{token}",
            key=_key_text(settings.vault_git_key.get_secret_value()) if settings.vault_git_key else "",
        )

    @property
    def scheme(self) -> str:
        """One of https, http, ssh and file."""
        return "ssh" if _SCP.fullmatch(self.url) else urlsplit(self.url).scheme

    @property
    def place(self) -> str:
        """Host and path. The same for all ways to one repository, so that a key in place of a token changes nothing."""
        scp = _SCP.fullmatch(self.url)
        parts = urlsplit(f"ssh://{scp['host']}/{scp['path'].lstrip('/')}" if scp else self.url)
        host = parts.netloc.rpartition("@")[2].lower()
        for port in _DEFAULT_PORTS:
            host = host.removesuffix(port)
        return host + "/" + parts.path.strip("/").removesuffix(".git")

    @property
    def name(self) -> str:
        """What the vault is called: the last part of the repository's path."""
        return unquote(self.place).rpartition("/")[2] or "vault"

    @property
    def mirror_name(self) -> str:
        """The name of the mirror's folder: one for each branch of each repository."""
        return hashlib.blake2b(f"{self.place}\n{self.branch or ''}".encode(), digest_size=8).hexdigest()


def _key_text(key: str) -> str:
    """The text of a key, also of one in a file, or with the line breaks that a form of variables made of it."""
    if not key.startswith("-----BEGIN"):
        path = Path(key).expanduser()
        what = f"the key {path} that NESCORD_VAULT_GIT_KEY names cannot be read"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise VaultError(f"{what}: {error.strerror}") from None
        # Asked, not tried: the error of a codec holds all that it was to decode.
        if not content.isascii():
            raise VaultError(f"{what}: it is no text")
        key = content.decode("ascii")
    # ssh refuses a key without the line break at its end.
    return key.replace("\r\n", "\n").replace("\\n", "\n").strip() + "\n"


@dataclass(frozen=True, slots=True)
class Access:
    """A remote with what one sync reaches it by: the ssh command holds the path of the key's file, never the key.

    `config` is the file that stands for the user's settings, also where git starts another git.
    """

    remote: Remote
    ssh_command: str
    config: str = os.devnull

    @property
    def header(self) -> str:
        """The HTTP header that carries the token; "" where there is none."""
        if not self.remote.basic:
            return ""
        return "Authorization: Basic " + base64.b64encode(self.remote.basic.encode()).decode("ascii")


@contextmanager
def access(remote: Remote, mirrors: Path) -> Iterator[Access]:
    """Access for the length of the block. The files that a kill left behind are removed by the next sync."""
    known_hosts = str(mirrors / KNOWN_HOSTS).replace("%", "%%")
    options = [
        f'UserKnownHostsFile="{known_hosts}"',
        "StrictHostKeyChecking=accept-new",
        "BatchMode=yes",
        f"ConnectTimeout={_SECONDS_TO_CONNECT}",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=4",
    ]
    command = ["ssh"]
    key, config = (mirrors / f".{what}.{secrets.token_hex(4)}.tmp" for what in ("key", "config"))
    if remote.key:
        options.append("IdentitiesOnly=yes")
        command += ["-i", str(key).replace("%", "%%")]
    command += [part for option in options for part in ("-o", option)]
    try:
        if remote.key:
            durable.write_file(key, remote.key.encode("ascii"))
        if remote.scheme == "file":
            # The git that reads a repository here is handed no settings but those of files, and that repository may
            # well be somebody else's.
            durable.write_file(config, b"[safe]\n\tdirectory = *\n")
            yield Access(remote, shlex.join(command), str(config))
        else:
            yield Access(remote, shlex.join(command))
    finally:
        key.unlink(missing_ok=True)
        config.unlink(missing_ok=True)


class DamagedMirrorError(Exception):
    """The mirror cannot be brought up to date as it is. It is ours and is made anew."""


class OvertakenError(Exception):
    """Somebody has pushed since the commit was made that ours stands on."""


class ImpossibleNameError(Exception):
    """The repository holds a name that no file here can have: made anew, the mirror would be no better."""


class Transport(Protocol):
    """Who speaks git. The mirrors of both are the same: one can go on where the other was."""

    def refs(self, access: Access) -> dict[str, str]:
        """The commit of each branch, and of HEAD, by the full name."""

    def fetch(self, access: Access, mirror: Path, ref: str, expected: str) -> str:
        """Get the newest commit of `ref` and nothing older into the mirror, made if there is none; its id.

        That is `expected`, unless somebody has pushed since that was asked for.

        Raises:
            DamagedMirrorError: what is there already is in the way.
        """

    def check_out(self, mirror: Path, commit: str, *, is_trusted: bool) -> None:
        """Make the files what the commit says; those that are so already are left alone, with their times.

        Files whose size and times are those of the last time are taken for unchanged if that `is_trusted`.

        Raises:
            DamagedMirrorError: it cannot be done. ImpossibleNameError: nor can it in another mirror.
        """

    def default_branch(self, access: Access) -> str:
        """The name of the branch that HEAD is; "" where the host does not tell."""

    def push(self, access: Access, mirror: Path, commit: str, branch: str, parent: str) -> None:
        """Make the branch of the repository, which is at `parent`, this commit on top of it. Nothing is ever forced.

        Raises:
            OvertakenError: it is not at `parent` any more. AccessRefusedError, WritebackRefusedError: we may not.
            DamagedMirrorError: the commit is not whole.
        """


def object_format(commit: str) -> str:
    """The hash that a repository is made of, told from the length of an id."""
    return "sha256" if len(commit) == 64 else "sha1"


_WRONG_CREDENTIALS = re.compile(
    r"Authentication failed|could not read (Username|Password)|(error:|resp) 40[13]\b|Permission denied \(|"
    r"No valid credentials|HTTP Basic: Access denied|Load key|error in libcrypto|Too many authentication failures|"
    r"marked as read only|Write access to repository not granted|not allowed to push|Permission to \S+ denied",
    re.IGNORECASE,
)
_WRONG_HOST_KEY = re.compile(r"Host key verification failed|HOST IDENTIFICATION HAS CHANGED")
_WRONG_CERTIFICATE = re.compile(r"SSL certificate|certificate.verify|server certificate|CERTIFICATE_VERIFY", re.I)
_ELSEWHERE = re.compile(r"(error:|resp) 30\d\b|redirect", re.IGNORECASE)
_NO_REPOSITORY = re.compile(
    r"(error:|resp) 404\b|repository .{0,300}not found|does not appear to be a git repository|not a git repository|"
    r"not valid: is this a git|Invalid content-type|dumb http",
    re.IGNORECASE | re.DOTALL,
)
_AWAY = re.compile(
    r"Could not resolve|Failed to (connect|resolve|establish)|Couldn't connect|connection broken|timed out|"
    r"Connection (refused|timed out|reset|closed|aborted)|Operation too slow|early EOF|hung up|RPC failed|"
    r"Network is unreachable|No route to host|Temporary failure|Name or service not known|(error:|resp) (429|5\d\d)\b|"
    r"Empty reply|disconnect|Max retries exceeded|IncompleteRead|unexpectedly closed|"
    r"Could not read from remote repository|proxy",
    re.IGNORECASE,
)
_NO_ROOM = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
_OF_ANOTHER_USER = re.compile(r"dubious ownership|unsafe repository")


def explain(remote: Remote, said: str) -> NescordError | None:
    """What git's words mean; None where they tell nothing that is known."""
    url = remote.url
    reason = reason_in(remote, said)
    if _NO_ROOM.search(said):
        return DiskError(f"no room for the copy of the vault {url}: {reason}")
    if _OF_ANOTHER_USER.search(said):
        return VaultError(
            f"the repository {url} belongs to another user than the one who serves it: give it to that one "
            "(chown -R), or, as that one where it lies, git config --global --add safe.directory PATH"
        )
    if _WRONG_HOST_KEY.search(said):
        return VaultError(
            f"the host of {url} shows another key than before: if it was changed on purpose, remove its line from "
            f"the file {KNOWN_HOSTS} beside the mirror, in sources/git of the data folder"
        )
    if _WRONG_CERTIFICATE.search(said):
        return VaultError(f"the certificate of {url} is not accepted: {reason}")
    if _WRONG_CREDENTIALS.search(said):
        return AccessRefusedError(f"{url} refuses access: {_mend_of_credentials(remote)}")
    if _ELSEWHERE.search(said):
        return VaultError(
            f"{url} has moved, or is short of .git at its end (a token is sent nowhere else): set "
            "NESCORD_VAULT_GIT_URL to the URL that its host shows now"
        )
    if _NO_REPOSITORY.search(said):
        unseen = "" if remote.scheme == "file" else f", or it is private: {_mend_of_credentials(remote)}"
        return VaultError(f"there is no git repository at {url}: mend NESCORD_VAULT_GIT_URL{unseen}")
    if _AWAY.search(said):
        return ServiceUnavailableError(f"the git host of {url} is not to be reached ({reason}); the notes stay")
    return None


_OVERTAKEN = re.compile(
    r"\[rejected\]|fetch first|non-fast-forward|cannot lock ref|failed to (lock|update ref)|incorrect old value|"
    r"unable to set |stale info",
    re.IGNORECASE,
)


def not_taken(remote: Remote, branch: str, said: str) -> Exception:
    """What it means that a branch was not updated, from what was said of it."""
    if _OVERTAKEN.search(said):
        return OvertakenError(said)
    return WritebackRefusedError(
        f'{remote.url} takes no commits for its branch "{branch}" ({reason_in(remote, said)}): allow them to whom '
        "NescordBot pushes as, name another branch (NESCORD_VAULT_GIT_BRANCH), or set NESCORD_WRITEBACK=false; the "
        "notes wait here"
    )


def unexplained(remote: Remote, said: str) -> VaultError:
    return VaultError(f"the vault {remote.url} cannot be fetched: {reason_in(remote, said)}")


def _mend_of_credentials(remote: Remote) -> str:
    name = "NESCORD_VAULT_GIT_KEY" if remote.scheme == "ssh" else "NESCORD_VAULT_GIT_TOKEN"
    if remote.key if remote.scheme == "ssh" else remote.basic:
        return f"{name} is wrong, has run out, or may not read this repository"
    return f"set {name} to {'a private key' if remote.scheme == 'ssh' else 'a token'} that may read it"


def reason_in(remote: Remote, said: str) -> str:
    """The first line that tells something, without what was secret in it."""
    for secret in (remote.basic, remote.basic.rpartition(":")[2], Access(remote, "").header.rpartition(" ")[2]):
        if secret:
            said = said.replace(secret, "***")
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if not line.lower().startswith(("warning:", "hint:", "remote:"))]
    chosen = (telling or lines or ["git said nothing"])[0]
    return "".join(each if each.isprintable() else " " for each in chosen)[:_LONGEST_REASON]
