"""Git by dulwich, in this process, for machines without the command: nobody's settings or filters take part."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Set
from contextlib import closing, contextmanager
from pathlib import Path

from dulwich import gc
from dulwich.config import StackedConfig
from dulwich.diff_tree import TreeChange
from dulwich.index import (
    ConflictedIndexEntry,
    IndexEntry,
    InvalidPathError,
    index_entry_from_stat,
    update_working_tree,
    validate_path_element_default,
)
from dulwich.object_store import iter_tree_contents
from dulwich.objects import S_ISGITLINK, Commit, ObjectID, TreeEntry
from dulwich.refs import Ref
from dulwich.repo import Repo

from nescord.errors import DiskError, NescordError
from nescord.sources.git_client import client_of
from nescord.sources.git_remote import (
    BRANCH,
    Access,
    DamagedMirrorError,
    ImpossibleNameError,
    object_format,
    unexplained,
)

_ASKING_SECONDS = 60
_FETCHING_SECONDS = 900
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_IMPOSSIBLE_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
_LOOSE_OBJECTS, _PACKS = 2000, 50


class Dulwich:
    """See `git_remote.Transport`."""

    def refs(self, access: Access) -> dict[str, str]:
        try:
            with client_of(access, _ASKING_SECONDS) as (client, path):
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

            with client_of(access, _FETCHING_SECONDS) as (client, path):
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
    except (NescordError, DamagedMirrorError, ImpossibleNameError):
        raise
    except InvalidPathError as error:
        raise ImpossibleNameError(os.fsdecode(error.path)) from error
    except Exception as error:  # garbled bytes come out of dulwich as errors of any kind
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise DiskError(f"no room for the copy of the vault in {mirror.parent}") from error
        for each in (error, error.__cause__):
            if isinstance(each, OSError) and each.errno in _IMPOSSIBLE_NAME and each.filename:
                raise ImpossibleNameError(os.path.relpath(os.fsdecode(each.filename), mirror)) from error
        raise DamagedMirrorError(f"{type(error).__name__}: {error}") from error


def _open(mirror: Path, hash_name: str) -> Repo:
    if (mirror / ".git").exists():
        return Repo(str(mirror))
    return Repo.init(str(mirror), config=StackedConfig([]), default_branch=b"main", object_format=hash_name)


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
