"""Git by dulwich, in this process, for machines without the command: nobody's settings or filters take part."""

from __future__ import annotations

import errno
import os
import shutil
import stat
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
from dulwich.objects import S_ISGITLINK, Commit, ObjectID, ShaFile, Tree, TreeEntry
from dulwich.pack import pack_objects_to_data
from dulwich.refs import Ref
from dulwich.repo import Repo

from nescord.errors import DiskError, NescordError, WritebackRefusedError
from nescord.sources.git_client import client_of
from nescord.sources.git_remote import (
    BRANCH,
    Access,
    DamagedMirrorError,
    ImpossibleNameError,
    OvertakenError,
    not_taken,
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
        with damage_told(mirror), closing(_open(mirror, object_format(expected))) as repo:
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
        with damage_told(mirror), closing(Repo(str(mirror))) as repo:
            _check_out(repo, mirror, commit, is_trusted=is_trusted)

    def default_branch(self, access: Access) -> str:
        with client_of(access, _ASKING_SECONDS) as (client, path):
            named = client.get_refs(os.fsencode(path)).symrefs.get(Ref(b"HEAD"), Ref(b""))
        return os.fsdecode(named).removeprefix("refs/heads/")

    def push(self, access: Access, mirror: Path, commit: str, branch: str, parent: str) -> None:
        ref = Ref(os.fsencode(f"refs/heads/{branch}"))
        old, new = ObjectID(parent.encode()), ObjectID(commit.encode())

        def updated(refs: dict[Ref, ObjectID]) -> dict[Ref, ObjectID]:
            if refs.get(ref) != old:
                raise OvertakenError(f"{branch} is not at {parent} any more")
            return {ref: new}

        with damage_told(mirror), closing(Repo(str(mirror))) as repo:
            if object_format(commit) != "sha1":
                raise WritebackRefusedError(
                    f"{access.remote.url} is a repository of SHA-256: to write to one the git command is needed here"
                )
            objects = [(each, path) for each, path in _new_objects(repo, new, old)]
            with client_of(access, _FETCHING_SECONDS) as (client, path):
                done = client.send_pack(
                    os.fsencode(path), updated, lambda *_, **__: pack_objects_to_data(objects, ofs_delta=False)
                )
        said = (done.ref_status or {}).get(ref)
        if said:
            raise not_taken(access.remote, branch, said)


def entry_of(tree: Tree, name: bytes) -> tuple[int, ObjectID] | None:
    """What a tree has under a name: mode and id."""
    try:
        return tree[name]
    except KeyError:
        return None


def _new_objects(repo: Repo, new: ObjectID, old: ObjectID) -> Iterator[tuple[ShaFile, bytes | None]]:
    """A commit with all that it has and the one that it stands on has not, in the same place."""
    commit, parent = repo[new], repo[old]
    assert isinstance(commit, Commit)
    assert isinstance(parent, Commit)
    yield commit, None
    trees: list[tuple[ObjectID, ObjectID | None]] = [(commit.tree, parent.tree)]
    while trees:
        new_tree, old_tree = trees.pop()
        tree, before = repo[new_tree], repo[old_tree] if old_tree else Tree()
        assert isinstance(tree, Tree)
        assert isinstance(before, Tree)
        yield tree, None
        for name, mode, sha in tree.iteritems():
            was = entry_of(before, name)
            if was == (mode, sha) or S_ISGITLINK(mode):
                continue
            if stat.S_ISDIR(mode):
                trees.append((sha, was[1] if was and stat.S_ISDIR(was[0]) else None))
            else:
                yield repo[sha], name


@contextmanager
def damage_told(mirror: Path) -> Iterator[None]:
    """What garbled bytes of a mirror, or a full disk, do to dulwich, in our words."""
    try:
        yield
    except (NescordError, DamagedMirrorError, ImpossibleNameError, OvertakenError):
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
