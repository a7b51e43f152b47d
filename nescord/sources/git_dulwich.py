"""Git by dulwich, in this process, for machines without the command: nobody's settings or filters take part."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import unquote, urlsplit

from dulwich import gc
from dulwich.client import (
    GitClient,
    HTTPProxyUnauthorized,
    HTTPUnauthorized,
    LocalGitClient,
    SSHGitClient,
    SubprocessSSHVendor,
    SubprocessWrapper,
    Urllib3HttpGitClient,
    default_urllib3_manager,
    parse_rsync_url,
)
from dulwich.config import StackedConfig
from dulwich.diff_tree import TreeChange
from dulwich.errors import GitProtocolError, NotGitRepository
from dulwich.index import (
    ConflictedIndexEntry,
    IndexEntry,
    index_entry_from_stat,
    update_working_tree,
    validate_path_element_default,
)
from dulwich.object_store import iter_tree_contents
from dulwich.objects import S_ISGITLINK, Commit, ObjectID, TreeEntry
from dulwich.refs import Ref
from dulwich.repo import Repo
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager
from urllib3.exceptions import HTTPError

from nescord.errors import DiskError, NescordError
from nescord.sources.git_remote import BRANCH, Access, DamagedMirrorError, explain, object_format, unexplained

_QUIET_SECONDS = 60
_FETCHING_SECONDS = 900
_NO_ROOM = (28, 122)  # ENOSPC, EDQUOT
_LOOSE_OBJECTS, _PACKS = 2000, 50


class Dulwich:
    """See `git_remote.Transport`."""

    def refs(self, access: Access) -> dict[str, str]:
        try:
            with _client(access) as (client, path):
                found = client.get_refs(os.fsencode(path), ref_prefix=[b"HEAD", b"refs/heads/"]).refs
        except DamagedMirrorError as error:  # there is none in this yet
            raise unexplained(access.remote, str(error)) from error
        return {os.fsdecode(name): commit.decode("ascii") for name, commit in found.items() if commit}

    def fetch(self, access: Access, mirror: Path, ref: str, expected: str) -> str:
        with _damage_told(mirror), closing(_open(mirror, object_format(expected))) as repo:
            found: list[ObjectID] = []

            def wanted(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
                found[:] = [refs[Ref(os.fsencode(ref))]]
                return [commit for commit in found if commit not in repo.object_store]

            with _client(access) as (client, path):
                client.fetch(path, repo, determine_wants=wanted, depth=1)
            repo.refs[Ref(BRANCH.encode())] = found[0]
            if (
                repo.object_store.count_loose_objects() > _LOOSE_OBJECTS
                or repo.object_store.count_pack_files() > _PACKS
            ):
                gc.garbage_collect(repo, grace_period=None)
        return found[0].decode("ascii")

    def check_out(self, mirror: Path, commit: str, *, is_trusted: bool) -> None:
        with _damage_told(mirror), closing(Repo(str(mirror))) as repo:
            _check_out(repo, mirror, commit, is_trusted=is_trusted)


@contextmanager
def _damage_told(mirror: Path) -> Iterator[None]:
    try:
        yield
    except (NescordError, DamagedMirrorError):
        raise
    except Exception as error:  # garbled bytes come out of dulwich as errors of any kind
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise DiskError(f"no room for the copy of the vault in {mirror.parent}") from error
        raise DamagedMirrorError(f"{type(error).__name__}: {error}") from error


def _open(mirror: Path, hash_name: str) -> Repo:
    if (mirror / ".git").exists():
        return Repo(str(mirror))
    return Repo.init(str(mirror), config=StackedConfig([]), default_branch=b"main", object_format=hash_name)


@contextmanager
def _client(access: Access) -> Iterator[tuple[GitClient, str]]:
    """A client and the path to ask it for. What goes wrong on the way is told in our words."""
    with ExitStack() as ends:
        client, path = _made_client(access, ends)
        try:
            yield client, path
        except (HTTPUnauthorized, HTTPProxyUnauthorized):
            raise _told(access, "error: 401") from None
        except NotGitRepository:
            raise _told(access, "not a git repository") from None
        except (GitProtocolError, HTTPError, OSError) as error:
            raise _told(access, str(error)) from error


def _told(access: Access, said: str) -> Exception:
    return explain(access.remote, said) or DamagedMirrorError(said)


def _made_client(access: Access, ends: ExitStack) -> tuple[GitClient, str]:
    """None of the user's settings are read: those handed over are empty."""
    remote, config = access.remote, StackedConfig([])
    parts = urlsplit(remote.url)
    if remote.scheme == "file":
        return LocalGitClient(), unquote(parts.path)
    if remote.scheme == "ssh":
        user, host, path = (
            parse_rsync_url(remote.url) if not parts.scheme else (parts.username, parts.hostname, parts.path)
        )
        client = _SshClient(
            host or "", parts.port if parts.scheme else None, user, vendor=_Ssh(ends), ssh_command=access.ssh_command
        )
        client.ends = ends
        return client, path
    pool = default_urllib3_manager(config, _Pool, _ProxyPool, remote.url, timeout=_QUIET_SECONDS)
    assert isinstance(pool, PoolManager)
    # No redirections: a token goes to the named host only.
    pool.connection_pool_kw["retries"] = False
    ends.callback(pool.clear)
    user, _, password = remote.basic.partition(":")
    base = f"{parts.scheme}://{parts.netloc}"
    return Urllib3HttpGitClient(
        base, pool_manager=pool, config=config, username=user or None, password=password or None
    ), parts.path


class _Pool(PoolManager):
    """Closes its answers with itself: dulwich leaves open those that tell of an error."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._answers: list[BaseHTTPResponse] = []

    def request(self, *arguments: Any, **options: Any) -> BaseHTTPResponse:
        self._answers.append(super().request(*arguments, **options))
        return self._answers[-1]

    def clear(self) -> None:
        for answer in self._answers:
            answer.close()
        super().clear()


class _ProxyPool(_Pool, ProxyManager):
    """The same through a proxy."""


class _SshClient(SSHGitClient):
    """Closes also a conversation that ended with an error, which dulwich leaves open."""

    ends: ExitStack

    def _connect(self, *arguments: Any, **options: Any) -> Any:
        made = super()._connect(*arguments, **options)
        self.ends.callback(made[0].close)
        return made


class _Ssh(SubprocessSSHVendor):
    """Runs ssh, and ends it when it takes too long or is of no more use."""

    def __init__(self, ends: ExitStack) -> None:
        self._ends = ends

    def run_command(self, *arguments: Any, **options: Any) -> SubprocessWrapper:
        wrapper = super().run_command(*arguments, **options)
        process = wrapper.proc
        timer = Timer(_FETCHING_SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        self._ends.callback(timer.cancel)
        self._ends.callback(process.kill)
        return wrapper


def _check_out(repo: Repo, mirror: Path, commit: str, *, is_trusted: bool) -> None:
    found = repo[commit.encode()]
    assert isinstance(found, Commit)
    entries = {
        entry.path: entry
        for entry in iter_tree_contents(repo.object_store, found.tree)
        if entry.path and entry.mode and not S_ISGITLINK(entry.mode)
    }
    root = os.fsencode(mirror)
    folders = {path[:end] for path in entries for end, byte in enumerate(path) if byte == ord("/")}
    _remove_others(root, b"", entries.keys(), folders)
    if not is_trusted:
        Path(repo.index_path()).unlink(missing_ok=True)
    # Of its own configuration only; the one on top of it is the user's.
    index = repo.open_index(config=repo.get_config())
    for path in [path for path in index if path not in entries]:
        del index[path]
    known = dict(index.items())
    index.write()
    stale = [entry for path, entry in entries.items() if not _is_as_it_was(root, entry, known.get(path))]
    update_working_tree(
        repo,
        None,
        found.tree,
        iter([TreeChange.add(entry) for entry in stale]),
        # Names that Windows could not have are good names here.
        validate_path_element=validate_path_element_default,
        allow_overwrite_modified=True,
        config=repo.get_config(),
    )


def _is_as_it_was(root: bytes, entry: TreeEntry, known: IndexEntry | ConflictedIndexEntry | None) -> bool:
    """Whether the file has the size and times that it had when it was last seen to be what the entry says."""
    if not isinstance(known, IndexEntry) or (known.sha, known.mode) != (entry.sha, entry.mode):
        return False
    try:
        now = os.lstat(root + b"/" + (entry.path or b""))
    except FileNotFoundError:
        return False
    seen = index_entry_from_stat(now, known.sha)
    return (seen.size, seen.mtime, seen.ctime, seen.mode) == (known.size, known.mtime, known.ctime, known.mode)


def _remove_others(folder: bytes, prefix: bytes, files: Set[bytes], folders: Set[bytes]) -> None:
    """Remove what is neither one of the files nor on the way to one; links are never followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if path == b".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                if path in folders:
                    _remove_others(entry.path, path + b"/", files, folders)
                else:
                    shutil.rmtree(entry.path)
            elif path not in files:
                os.unlink(entry.path)  # noqa: PTH108 - a path of bytes
