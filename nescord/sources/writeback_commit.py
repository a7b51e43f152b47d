"""One commit on top of another: files put into its tree or taken out of it. There is no work tree in this.

The objects are written into the mirror's store, where nothing points at them until they come back by a fetch; whatever
is not pushed in the end, git clears away in time.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, tzinfo
from pathlib import Path

from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree
from dulwich.repo import Repo

from nescord.errors import WritebackRefusedError
from nescord.sources.git_dulwich import damage_told, entry_of

_FILE = 0o100644
# What a path leads to that is no file: a folder, a link. No file has that id.
NO_FILE = "-"


@contextmanager
def open_head(mirror: Path, commit: str, folder: str) -> Iterator[Head]:
    """A commit of the mirror, of which `folder` holds the notes.

    Raises:
        DamagedMirrorError: it cannot be read.
    """
    with damage_told(mirror), closing(Repo(str(mirror))) as repo:
        yield Head(repo, commit, folder)


class Head:
    """A commit, and the one to be made on top of it. Paths are those of notes, below the vault's folder."""

    def __init__(self, repo: Repo, commit: str, folder: str) -> None:
        self._repo = repo
        self._commit = ObjectID(commit.encode())
        self._prefix = os.fsencode(f"{folder}/") if folder else b""
        found = repo[self._commit]
        assert isinstance(found, Commit)
        self._root = found.tree
        self._trees: dict[bytes, Tree | None] = {}

    def blob(self, path: bytes) -> str:
        """The id of the file at a path; "" where nothing is, NO_FILE where something else is."""
        folder, _, name = (self._prefix + path).rpartition(b"/")
        tree = self._tree(folder)
        entry = entry_of(tree, name) if tree else None
        if entry is None:
            return ""
        mode, found = entry
        return found.decode("ascii") if stat.S_ISREG(mode) else NO_FILE

    def names_in(self, folder: str) -> list[str]:
        """The paths of what lies in a folder of the vault."""
        tree = self._tree((self._prefix + os.fsencode(folder)).rstrip(b"/"))
        above = f"{folder}/" if folder else ""
        return [above + name.decode("utf-8", "replace") for name in tree] if tree else []

    def put(self, data: bytes) -> str:
        """Write the content of a file; its id."""
        return self._write(Blob.from_string(data)).decode("ascii")

    def commit(
        self, changes: Mapping[bytes, str], *, author: str, message: str, zone: tzinfo, when: float | None = None
    ) -> str:
        """A commit in which these files have these contents (ids; "": they are not there); its id.

        Raises:
            WritebackRefusedError: where a folder should be, there is something else.
        """
        moment = int(time.time() if when is None else when)
        offset = datetime.fromtimestamp(moment, zone).utcoffset()
        commit = Commit()
        commit.tree = self._changed(self._root, {self._prefix + path: blob for path, blob in changes.items()}, b"")
        commit.parents = [self._commit]
        commit.author = commit.committer = author.encode()
        commit.author_time = commit.commit_time = moment
        commit.author_timezone = commit.commit_timezone = int(offset.total_seconds()) if offset else 0
        commit.encoding = b"UTF-8"
        commit.message = message.encode()
        return self._write(commit).decode("ascii")

    def _changed(self, tree_id: ObjectID | None, changes: Mapping[bytes, str], above: bytes) -> ObjectID:
        tree = self._copy(tree_id)
        below: dict[bytes, dict[bytes, str]] = {}
        for path, blob in changes.items():
            name, slash, rest = path.partition(b"/")
            if slash:
                below.setdefault(name, {})[rest] = blob
            elif not blob:
                if name in tree:
                    del tree[name]
            else:
                entry = entry_of(tree, name)
                mode = entry[0] if entry and stat.S_ISREG(entry[0]) else _FILE
                tree[name] = (mode, ObjectID(blob.encode()))
        for name, inner in below.items():
            entry = entry_of(tree, name)
            if entry and not stat.S_ISDIR(entry[0]):
                raise WritebackRefusedError(
                    f'"{os.fsdecode(above + name)}" in the repository is no folder, so no file can be written there: '
                    "rename it, or set NESCORD_WRITEBACK_FOLDER to another one"
                )
            changed = self._changed(entry[1] if entry else None, inner, above + name + b"/")
            if self._is_empty(changed):
                if name in tree:
                    del tree[name]
            else:
                tree[name] = (stat.S_IFDIR, changed)
        return self._write(tree)

    def _copy(self, tree_id: ObjectID | None) -> Tree:
        tree = Tree()
        if tree_id:
            known = self._repo[tree_id]
            assert isinstance(known, Tree)
            for name, mode, found in known.iteritems():
                tree[name] = (mode, found)
        return tree

    def _is_empty(self, tree_id: ObjectID) -> bool:
        tree = self._repo[tree_id]
        assert isinstance(tree, Tree)
        return len(tree) == 0

    def _tree(self, folder: bytes) -> Tree | None:
        if folder in self._trees:
            return self._trees[folder]
        found: ObjectID | None = self._root
        if folder:
            above, _, name = folder.rpartition(b"/")
            parent = self._tree(above)
            entry = entry_of(parent, name) if parent else None
            found = entry[1] if entry and stat.S_ISDIR(entry[0]) else None
        tree = self._repo[found] if found else None
        assert tree is None or isinstance(tree, Tree)
        self._trees[folder] = tree
        return tree

    def _write(self, made: ShaFile) -> ObjectID:
        made.object_format = self._repo.object_format
        self._repo.object_store.add_object(made)
        return ObjectID(made.get_id(self._repo.object_format))
