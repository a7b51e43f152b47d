"""A folder of Markdown notes (an Obsidian vault or any other), walked and read, never written.

The walk is what an unchanged vault costs, so it does nothing per file beyond one stat and one comparison: names are
normalised only where they are new and not ASCII, ignore patterns are tried only on names that are not known yet.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pathspec

from nescord.decoding import decode_name
from nescord.errors import VaultError

NOTE_SUFFIXES = (".md", ".markdown")
IGNORE_FILE = ".nescordignore"

# (size, mtime_ns, ctime_ns, inode) of a file when its content was last read.
Fingerprint = tuple[int, int, int, int]
# A row of the catalog: (path, raw path where it differs, size, mtime_ns, ctime_ns, inode).
KnownFile = tuple[str, bytes | None, int, int, int, int]
# The parts of paths (NFC), as a tree: an empty one wants all that is below.
Wanted = dict[str, "Wanted"]


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A note file: its path relative to the vault as NFC text, and `raw` as the file system has it (os.fsdecode)."""

    path: str
    raw: str
    fingerprint: Fingerprint


@dataclass(slots=True)
class Scan:
    """What a walk found. `unchanged` counts known files whose fingerprint is the same; `fresh` are all others;
    `vanished` are known raw paths that are gone, or ignored from now on.

    `failed` are directories or files that could not be looked at (path, reason); what is known below such a path is
    not taken for vanished. `ignore_hash` tells whether the ignore file is still the same. `wanted` is what the
    walk was kept to; None: it went everywhere.
    """

    unchanged: int = 0
    fresh: list[FoundFile] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    ignore_hash: bytes = b""
    wanted: Wanted | None = None

    def has_looked_at(self, path: str) -> bool:
        """Whether the walk would have met `path`, a file's or that of a failure."""
        if self.wanted is None or _is_wanted(path, self.wanted):
            return True
        # A twin is told apart by its bytes, `path ('name')`, and either may have parentheses of its own.
        ends = [found.start() for found in re.finditer(r" \(['\"]", path)] if path.endswith(("')", '")')) else []
        return any(_is_wanted(path[:end], self.wanted) for end in ends)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which folders a walk lists (real paths), and whether a note may be reached, and so changed, by two names."""

    root: str
    folders: frozenset[str]
    has_aliases: bool
    ignored: pathspec.GitIgnoreSpec | None = field(compare=False)

    def enters(self, raw: str) -> bool:
        """Whether a walk would list the folder `raw`, relative to the vault, if there were one."""
        if any(part.startswith(".") for part in raw.split("/")):
            return False
        return self.ignored is None or not self.ignored.match_file(_text(raw) + "/")


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file with the fingerprint they had. A file that may still change within the clock's grain has a
    fingerprint that never matches, so that the next walk reads it again."""

    data: bytes
    fingerprint: Fingerprint
    digest: bytes


class UnreadableError(Exception):
    """A file could not be read; the message is fit for a report."""


def kind_of(root: Path) -> str:
    """`obsidian` where Obsidian keeps its settings, else `folder`: decides which links open a note."""
    return "obsidian" if (root / ".obsidian").is_dir() else "folder"


def real_root(vault: Path) -> Path:
    """The real path of a vault folder.

    Raises:
        VaultError: it does not exist or is no folder.
    """
    root = Path(os.path.realpath(vault))
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise VaultError(
            f'vault "{vault.name or vault}" not found: {vault} {what} (set NESCORD_VAULT or name the folder)'
        )
    return root


def scan(root: Path, known: Mapping[str, KnownFile], ignore_hash: bytes, only: Collection[str] | None = None) -> Scan:
    """Walk the vault below `root` and compare it with `known` (raw path -> path, raw path, fingerprint).

    Dot-folders (`.obsidian`, `.trash`, `.git`, …) are skipped as Obsidian does; symbolic links are followed only to
    places inside the vault, and never round a loop. `only` keeps the walk to some paths (NFC) and what is below them,
    unless the ignore file has changed: then any file may be concerned.
    """
    return _Walk(root, known, ignore_hash, only).run()


def layout(root: Path) -> Layout:
    """Which folders there are to be watched. Opens no note file.

    Raises:
        VaultError: the ignore file cannot be used.
    """
    walk = _Walk(root, {}, b"")
    walk.run()
    return Layout(walk.real, frozenset(walk.listed), walk.has_aliases, walk.ignored)


def is_alias(path: str, root: str) -> bool:
    """Whether `path` is a link to a place inside the vault, or a file with further names: what is written through
    another name changes it, too."""
    try:
        info = os.lstat(path)
    except OSError:
        return False
    if not stat.S_ISLNK(info.st_mode):
        return stat.S_ISREG(info.st_mode) and info.st_nlink > 1
    return os.path.realpath(path).startswith(root + "/") and not _is_editors_lock(path)


class _Walk:
    """One walk: `missing` is what is known and has not been met yet."""

    def __init__(
        self, root: Path, known: Mapping[str, KnownFile], ignore_hash: bytes, only: Collection[str] | None = None
    ) -> None:
        self.real = str(root)
        self.result = Scan()
        self.ignored, self.result.ignore_hash = _load_ignore(root)
        # Other patterns than last time: what is known may have to go, so nothing is passed unasked.
        self.is_asked_again = self.result.ignore_hash != ignore_hash
        trusted = self.ignored is not None and not self.is_asked_again
        self.known_folders = {name.rpartition("/")[0] for name in known} if trusted else set()
        self.blind: list[str] = []
        self.listed: list[str] = []
        self.has_aliases = False
        self.missing = dict(known)
        if only is not None and not self.is_asked_again:
            self.result.wanted = wanted = _wanted(only)
            self.missing = {raw: row for raw, row in known.items() if _is_wanted(row[0], wanted)}
        # (path to list, raw path relative to the vault with a trailing slash, real paths of the folders above it, which
        # of its entries are wanted)
        self.stack: list[tuple[str, str, tuple[str, ...], Wanted | None]] = [
            (self.real, "", (self.real,), self.result.wanted)
        ]

    def run(self) -> Scan:
        result, missing, take_known = self.result, self.missing, not (self.ignored and self.is_asked_again)
        while self.stack:
            folder, prefix, chain, wanted = self.stack.pop()
            try:
                entries = os.scandir(folder)
            except OSError as error:
                result.failed.append((_text(prefix.rstrip("/")) or ".", f"folder not readable: {error.strerror}"))
                self.blind.append(prefix)
                continue
            self.listed.append(folder)
            with entries:
                for entry in entries:
                    below = None
                    if wanted is not None:
                        below = wanted.get(_text(entry.name))
                        if below is None:
                            continue
                    raw = prefix + entry.name
                    before = missing.get(raw) if take_known else None
                    if before is not None:
                        # What an unchanged vault costs is this branch: one stat and four comparisons a file.
                        try:
                            info = entry.stat()
                        except OSError:
                            self._look(entry, raw, chain, below)
                            continue
                        if (
                            info.st_mtime_ns == before[3]
                            and info.st_ctime_ns == before[4]
                            and info.st_size == before[2]
                            and info.st_ino == before[5]
                        ):
                            del missing[raw]
                            result.unchanged += 1
                            continue
                    self._look(entry, raw, chain, below)
        gone = (raw for raw in missing if not any(raw == path or raw.startswith(path) for path in self.blind))
        result.vanished = list(gone)
        result.fresh.sort(key=lambda file: (file.path, os.fsencode(file.raw)))
        return result

    def _look(self, entry: os.DirEntry[str], raw: str, chain: tuple[str, ...], below: Wanted | None) -> None:
        """Decide about one entry that is not a known, unchanged file."""
        if entry.is_dir(follow_symlinks=False):
            if not entry.name.startswith(".") and not self._is_ignored_folder(raw):
                self.stack.append((entry.path, raw + "/", (*chain, entry.path), below or None))
            return
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            self.has_aliases = self.has_aliases or is_alias(entry.path, self.real)
            if not os.path.exists(target):  # noqa: PTH110 - a str is what the walk has
                if entry.name.endswith(NOTE_SUFFIXES) and not _is_editors_lock(entry.path):
                    self.result.failed.append((_text(raw), "a link to something that is not there"))
                    self.blind.append(raw)
                return
            if not target.startswith(self.real + "/") or _hidden(target, self.real):
                return
            if os.path.isdir(target):  # noqa: PTH112 - a str is what the walk has
                if not entry.name.startswith(".") and target not in chain and not self._is_ignored_folder(raw):
                    self.stack.append((target, raw + "/", (*chain, target), below or None))
                return
        if not entry.name.endswith(NOTE_SUFFIXES) or (self.ignored and self.ignored.match_file(_text(raw))):
            return
        try:
            info = entry.stat()
        except FileNotFoundError:
            return
        except OSError as error:
            self.result.failed.append((_text(raw), f"not readable: {error.strerror}"))
            self.blind.append(raw)
            return
        if not stat.S_ISREG(info.st_mode):
            self.result.failed.append((_text(raw), "not a regular file"))
            return
        self.missing.pop(raw, None)
        self.has_aliases = self.has_aliases or info.st_nlink > 1
        found = (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)
        self.result.fresh.append(FoundFile(_text(raw), raw, found))

    def _is_ignored_folder(self, raw: str) -> bool:
        if self.ignored is None or raw in self.known_folders:
            return False
        return self.ignored.match_file(_text(raw) + "/")


def _wanted(paths: Iterable[str]) -> Wanted:
    tree: Wanted = {}
    # A folder comes before what is below it, which is wanted with it.
    for parts in sorted(path.split("/") for path in paths):
        place, is_new = tree, True
        for part in parts:
            if not is_new and not place:
                break
            is_new = part not in place
            place = place.setdefault(part, {})
    return tree


def _is_wanted(path: str, wanted: Wanted) -> bool:
    place: Wanted | None = wanted
    for part in path.split("/"):
        place = place.get(part) if place else None
        if not place:
            return place is not None
    return False


def read(root: Path, raw: str, limit: int) -> Content:
    """Read one file whole, checking that it did not change meanwhile.

    Raises:
        UnreadableError: it vanished, cannot be read, keeps changing, or is larger than `limit` bytes.
    """
    path = os.path.join(root, raw)  # noqa: PTH118 - called for each file; os.path is several times faster
    for _ in range(3):
        try:
            # O_NONBLOCK: a FIFO named .md must not hang the run between the walk and the read.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise UnreadableError("vanished between the scan and the read; the next ingest looks again") from None
        except OSError as error:
            raise UnreadableError(f"not readable: {error.strerror} (check its permissions)") from error
        try:
            before = os.fstat(descriptor)
            if before.st_size > limit:
                raise UnreadableError(
                    f"{before.st_size:,} bytes is over the limit of {limit:,} (NESCORD_MAX_NOTE_BYTES)"
                )
            data = _read_all(descriptor, before.st_size, limit)
            after = os.fstat(descriptor)
        except OSError as error:
            raise UnreadableError(f"not readable: {error.strerror}") from error
        finally:
            os.close(descriptor)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and len(data) == after.st_size:
            racy = time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns) < 2_000_000_000
            return Content(
                data,
                (before.st_size, before.st_mtime_ns, 0 if racy else before.st_ctime_ns, before.st_ino),
                hashlib.blake2b(data, digest_size=20).digest(),
            )
    raise UnreadableError("changed while it was read, three times; the next ingest looks again")


def _read_all(descriptor: int, size: int, limit: int) -> bytes:
    data = os.read(descriptor, size + 1)
    if len(data) == size:
        return data
    # Short reads and files that grow: go on to the end, yet never beyond the limit.
    parts = [data]
    total = len(data)
    while total <= limit and (data := os.read(descriptor, 1 << 20)):
        parts.append(data)
        total += len(data)
    return b"".join(parts)


def _load_ignore(root: Path) -> tuple[pathspec.GitIgnoreSpec | None, bytes]:
    try:
        data = (root / IGNORE_FILE).read_bytes()
    except FileNotFoundError:
        return None, b""
    except OSError as error:
        raise VaultError(f"{root / IGNORE_FILE} is not readable: {error.strerror} (check its permissions)") from error
    try:
        lines = data.decode("utf-8-sig").splitlines()
        # Patterns are matched against NFC paths, so they must be NFC as well.
        spec = pathspec.GitIgnoreSpec.from_lines(unicodedata.normalize("NFC", line) for line in lines)
    except (ValueError, re.error) as error:
        raise VaultError(f"{root / IGNORE_FILE} is not valid: {error} (gitignore syntax, UTF-8)") from error
    return spec, hashlib.blake2b(data, digest_size=20).digest()


def _is_editors_lock(path: str) -> bool:
    """Emacs marks a note that is being edited by a link beside it, to a place that there is not."""
    return os.path.basename(path).startswith(".#") and not os.path.exists(path)  # noqa: PTH110, PTH119


def _hidden(target: str, real: str) -> bool:
    return any(part.startswith(".") for part in target[len(real) + 1 :].split("/"))


def _text(raw: str) -> str:
    return raw if raw.isascii() else decode_name(os.fsencode(raw))
