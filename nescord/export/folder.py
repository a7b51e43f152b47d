"""A folder that exports are kept in: what was written there is known again, and nothing else is ever touched.

`.nescord-export.json` names every file with the SHA-256 of what was written, and what it was made of. A file that says
something else is a person's: it is neither overwritten nor removed. Files are written under names for the time being,
and all of them are synced before the first gets its own; a journal says before what they hold, so that a run that was
killed is not taken for a person. Folders are opened one by one and links are not followed: there is no way out of the
folder, whatever stands in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from nescord.errors import ExportError, UsageError
from nescord.export.obstacles import InTheWayError, in_the_way, told

MANIFEST = ".nescord-export.json"
_JOURNAL = ".nescord-export.journal"
_TEMPORARY = ".nescord-export-{}.tmp"
_SYNCED_AT_ONCE = 16
_FORMAT, _VERSION = "nescord-export", 1


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that was left alone, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class Filing:
    """What became of the files of an export."""

    written: int = 0
    removed: int = 0
    unchanged: int = 0
    bytes: int = 0
    kept: list[Kept] = field(default_factory=list)


@dataclass(slots=True)
class _Prepared:
    """A file with all that it holds, under a name for the time being; `former` is the hash of what it replaces."""

    path: str
    temporary: str
    sha256: str
    size: int
    former: str | None


class ExportFolder:
    """A context manager: the folder is locked as long as it is open. `put` and `writing` take files, `finish` gives
    them their names: it takes as long as the disk does, and needs nothing but the folder.

    Raises:
        UsageError: something else is in it and `into` is false, or an export of another kind or knowledge base.
        ExportError: another export is writing there, or what is known of the last one cannot be read.
    """

    def __init__(self, root: Path, *, base: str, kind: str, into: bool) -> None:
        self.root = root
        self._base, self._kind = base, kind
        self.filing = Filing()
        self._ready: list[_Prepared] = []
        self._present: dict[str, str] = {}
        self._made_of: dict[str, str] = {}
        self._changed_folders: set[str] = set()
        with told(root):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._lock()
            self._known = self._read_known(into=into)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._sweep()
        os.close(self._fd)

    def has(self, path: str, made_of: str) -> bool:
        """Whether the file holds what was made of that, the same as told to `put`: then it counts as put."""
        if not made_of or self._known_made_of.get(path) != made_of:
            return False
        with told(self.root):
            try:
                present = self._sha256_of(path)
            except InTheWayError:
                return False
        if present is None or present != self._known[path][0]:
            return False
        self._count_unchanged(path, present, made_of)
        return True

    def put(self, path: str, data: bytes, mtime: float | None = None, made_of: str = "") -> None:
        """Let a file hold that. `mtime`, in seconds, is what it gets as the time of its last change; `made_of` tells
        everything that decides what is in it."""
        sha256 = hashlib.sha256(data).hexdigest()
        is_wanted, former = self._is_to_be_written(path, sha256, made_of)
        if is_wanted:
            with self._temporary() as (name, file):
                file.write(data)
                file.flush()
                if mtime is not None:
                    os.utime(file.fileno(), (mtime, mtime))
            self._ready.append(_Prepared(path, name, sha256, len(data), former))

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """Let a file hold what is written to it until the block ends."""
        with self._temporary() as (name, file):
            yield file
        with told(self.root), open(name, "rb", opener=self._opener) as written:
            sha256 = hashlib.file_digest(written, "sha256").hexdigest()
            size = os.fstat(written.fileno()).st_size
        is_wanted, former = self._is_to_be_written(path, sha256, "")
        if is_wanted:
            self._ready.append(_Prepared(path, name, sha256, size, former))
        else:
            os.unlink(name, dir_fd=self._fd)

    def finish(self) -> Filing:
        """Name the files, remove those whose notes are gone, and remember what there is."""
        with told(self.root):
            self._name_all()
            for path in sorted(set(self._known) - set(self._present)):
                self._remove(path)
            for folder in sorted(self._changed_folders):
                with suppress(OSError, InTheWayError):
                    self._sync(folder)
            document = self._document()
            if document != self._remembered:
                os.fsync(self._fd)
                self._remember(document)
                os.fsync(self._fd)
            with suppress(FileNotFoundError):
                os.unlink(_JOURNAL, dir_fd=self._fd)
                os.fsync(self._fd)
        self.filing.kept.sort(key=lambda kept: kept.path)
        return self.filing

    def _is_to_be_written(self, path: str, sha256: str, made_of: str) -> tuple[bool, str | None]:
        """Whether that file does not hold it yet and is ours, or not there; and the hash of what it holds."""
        with told(self.root):
            try:
                present = self._sha256_of(path)
            except InTheWayError as error:
                self._keep(path, str(error))
                return False, None
        if present == sha256:
            self._count_unchanged(path, sha256, made_of)
            return False, present
        if present is not None and present not in self._known.get(path, ()):
            what = "it was changed since it was exported" if path in self._known else "it was there before"
            self._keep(path, f"{what}: rename or remove it, then export again")
            return False, present
        self._present[path] = sha256
        if made_of:
            self._made_of[path] = made_of
        return True, present

    def _count_unchanged(self, path: str, sha256: str, made_of: str) -> None:
        self.filing.unchanged += 1
        self._present[path] = sha256
        if made_of:
            self._made_of[path] = made_of

    def _keep(self, path: str, reason: str) -> None:
        """It stays a person's; what was last known of it is remembered."""
        self.filing.kept.append(Kept(path, reason))
        self._made_of.pop(path, None)
        self._present.pop(path, None)
        if path in self._known:
            self._present[path] = self._known[path][0]

    def _name_all(self) -> None:
        """What they hold first, then the journal, then the names."""
        ready, self._ready = self._ready, []
        if not ready:
            return
        # A disk answers many at once in the time of one: each waits for its answer, none for the others.
        with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
            for _ in pool.map(self._sync_file, [one.temporary for one in ready]):
                pass
        # A line that a killed run has left half done must not swallow the first of these.
        lines = "".join(f"\n{json.dumps([one.path, one.sha256], ensure_ascii=False)}" for one in ready)
        with open(_JOURNAL, "ab", opener=self._opener) as journal:
            journal.write(lines.encode("utf-8") + b"\n")
            journal.flush()
            os.fsync(journal.fileno())
        os.fsync(self._fd)
        for one in ready:
            try:
                # Somebody may have written it while the others were made.
                if self._sha256_of(one.path) != one.former:
                    raise InTheWayError("it was changed in the meantime: rename or remove it, then export again")
                with self._parent(one.path, is_made=True) as (folder, name), in_the_way(name):
                    os.replace(one.temporary, name, src_dir_fd=self._fd, dst_dir_fd=folder)
            except InTheWayError as error:
                os.unlink(one.temporary, dir_fd=self._fd)
                self._keep(one.path, str(error))
                continue
            self._note_change(one.path)
            self.filing.written += 1
            self.filing.bytes += one.size

    def _remove(self, path: str) -> None:
        try:
            present = self._sha256_of(path)
            if present is None:
                return
            if present not in self._known[path]:
                self.filing.kept.append(Kept(path, "its note is gone, and it was changed since: remove it by hand"))
                return
            with self._parent(path) as (folder, name):
                os.unlink(name, dir_fd=folder)
        except InTheWayError as error:
            self.filing.kept.append(Kept(path, str(error)))
            return
        self.filing.removed += 1
        self._note_change(path)
        with suppress(OSError, InTheWayError):
            while path := path.rpartition("/")[0]:  # folders that are empty now
                with self._parent(path) as (folder, name):
                    os.rmdir(name, dir_fd=folder)

    def _note_change(self, path: str) -> None:
        """Its name, and those of the folders above, are to be on disk in the end."""
        while path:
            path = path.rpartition("/")[0]
            self._changed_folders.add(path)

    def _sha256_of(self, path: str) -> str | None:
        try:
            with self._parent(path) as (folder, name), in_the_way(name):
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
        except FileNotFoundError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise InTheWayError(f"{path.rpartition('/')[2]} is no file: move it away")
            with open(fd, "rb", closefd=False) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        finally:
            os.close(fd)

    @contextmanager
    def _parent(self, path: str, *, is_made: bool = False) -> Iterator[tuple[int, str]]:
        """The folder of a file, opened, and the file's name in it. Links are not followed."""
        *folders, name = path.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in (*folders, name)):
            raise InTheWayError("its path leads out of the folder")
        at = os.dup(self._fd)
        try:
            for part in folders:
                with in_the_way(part):
                    if is_made:
                        with suppress(FileExistsError):
                            os.mkdir(part, 0o700, dir_fd=at)
                    below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
                os.close(at)
                at = below
            yield at, name
        finally:
            os.close(at)

    @contextmanager
    def _temporary(self) -> Iterator[tuple[str, BinaryIO]]:
        name = _TEMPORARY.format(secrets.token_hex(8))
        with told(self.root), open(name, "xb", opener=self._opener) as file:
            yield name, file
            file.flush()
            # The disk begins now: many files that are on their way are synced in a third of the time.
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _opener(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._fd)

    def _sync_file(self, name: str) -> None:
        fd = self._opener(name, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _sync(self, folder: str) -> None:
        with self._parent(f"{folder}/_" if folder else "_") as (fd, _):
            os.fsync(fd)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportError(f"another export is writing to {self.root}: try again when it is done") from None

    def _sweep(self) -> None:
        """Remove what a run that was killed has left under names for the time being."""
        for name in self._names():
            if _is_temporary(name):
                os.unlink(name, dir_fd=self._fd)

    def _names(self) -> list[str]:
        return os.listdir(self._fd)  # noqa: PTH208 - of an open folder

    def _read_known(self, *, into: bool) -> dict[str, list[str]]:
        """What was written, and was about to be: path -> hashes, what counts first."""
        names = {name for name in self._names() if not _is_temporary(name)}
        if MANIFEST not in names:
            if names and not into:
                raise UsageError(
                    f"{self.root} is not empty, and holds no export: name another folder, or say --into to put the "
                    "notes beside what is there"
                )
            self._remember(self._document())
        self._sweep()
        files, self._known_made_of = self._read_manifest()
        known = {path: [sha256] for path, sha256 in files.items()}
        with suppress(FileNotFoundError), open(_JOURNAL, "rb", opener=self._opener) as journal:
            for line in journal:
                with suppress(ValueError, TypeError):  # cut off by a kill: its file has no name yet
                    path, sha256 = json.loads(line)
                    known.setdefault(str(path), []).append(str(sha256))
        return known

    def _read_manifest(self) -> tuple[dict[str, str], dict[str, str]]:
        """Path -> hash, and path -> what the file was made of."""
        try:
            with open(MANIFEST, "rb", opener=self._opener) as file:
                self._remembered = file.read()
            document = json.loads(self._remembered)
            if (document["format"], document["version"]) != (_FORMAT, _VERSION):
                raise ValueError(f"format {document['format']} {document['version']}")
            files, made_of = (
                {str(path): str(value) for path, value in document.get(name, {}).items()}
                for name in ("files", "made_of")
            )
            base, kind = str(document["base"]), str(document["kind"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExportError(f"{self.root / MANIFEST} cannot be read ({error}): export to a new folder") from error
        if base != self._base:
            raise UsageError(f"{self.root} holds an export of another knowledge base: name another folder")
        if kind != self._kind:
            raise UsageError(f"{self.root} holds an export as {kind}: name another folder for one as {self._kind}")
        return files, made_of

    def _document(self) -> bytes:
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "base": self._base,
            "kind": self._kind,
            "files": dict(sorted(self._present.items())),
            "made_of": dict(sorted(self._made_of.items())),
        }
        return json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8") + b"\n"

    def _remember(self, document: bytes) -> None:
        with self._temporary() as (name, file):
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, MANIFEST, src_dir_fd=self._fd, dst_dir_fd=self._fd)


def _is_temporary(name: str) -> bool:
    prefix, suffix = _TEMPORARY.split("{}")
    return name.startswith(prefix) and name.endswith(suffix)
