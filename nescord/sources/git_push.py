"""The branch of a vault in git as something to put a commit on: fetched into the mirror's store, and pushed to.

Whoever calls holds ingest.lock. The mirror's files stay as they are: the next `git.sync` brings what was pushed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nescord.errors import AccessRefusedError, VaultError, WritebackRefusedError
from nescord.sources.git import transport, wanted_ref
from nescord.sources.git_remote import Access, DamagedMirrorError, Remote, Transport, access, unexplained


class Branch:
    """See the module. `mirror` holds the objects."""

    def __init__(self, git: Transport, way: Access, mirror: Path) -> None:
        self._git = git
        self._way = way
        self.mirror = mirror
        self._name = way.remote.branch or ""

    def head(self) -> str:
        """The newest commit, in the mirror's store.

        Raises:
            ServiceUnavailableError: the host is away. VaultError: access is refused, or there is no such branch.
        """
        remote = self._way.remote
        ref, commit = wanted_ref(remote, self._git.refs(self._way))
        try:
            return self._git.fetch(self._way, self.mirror, ref, commit)
        except DamagedMirrorError as error:
            raise unexplained(remote, str(error)) from error

    def push(self, commit: str, parent: str) -> None:
        """Put `commit` on top of `parent`, which is the branch's newest.

        Raises:
            OvertakenError: it is not any more. WritebackRefusedError: the host takes nothing from us.
            ServiceUnavailableError: the host is away; nobody knows whether it has taken it.
        """
        remote = self._way.remote
        try:
            self._git.push(self._way, self.mirror, commit, self._named(), parent)
        except AccessRefusedError:
            raise WritebackRefusedError(
                f"{remote.url} lets us read and not write: give {_credential(remote)} the right to write (on GitHub: "
                "Contents, read and write), or set NESCORD_WRITEBACK=false; the notes wait here"
            ) from None
        except DamagedMirrorError as error:
            raise WritebackRefusedError(
                f"nothing could be pushed to {remote.url}: {unexplained(remote, str(error))}"
            ) from error

    def _named(self) -> str:
        if not self._name:
            self._name = self._git.default_branch(self._way)
        if not self._name:
            raise VaultError(
                f"{self._way.remote.url} does not tell what its default branch is called: set NESCORD_VAULT_GIT_BRANCH"
            )
        return self._name


@contextmanager
def branch_of(remote: Remote, mirrors: Path) -> Iterator[Branch]:
    """The branch for the length of the block.

    Raises:
        VaultError: nothing was fetched yet.
    """
    mirror = mirrors / remote.mirror_name
    if not (mirror / ".git").is_dir():
        raise VaultError(f"the vault {remote.url} was not fetched yet: nescord ingest does it")
    with access(remote, mirrors) as way:
        yield Branch(transport(), way, mirror)


def _credential(remote: Remote) -> str:
    if remote.scheme == "ssh":
        return "the key of NESCORD_VAULT_GIT_KEY" if remote.key else "the key that ssh uses"
    if remote.scheme == "file":
        return "the user that runs this"
    return "the token of NESCORD_VAULT_GIT_TOKEN"
