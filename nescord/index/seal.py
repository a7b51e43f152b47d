"""Chroma's folder as something that breaks: how we know that it was left in order, and what happens when it was not.

At a clean close a seal is written: name, size, mtime and inode of every file. It is removed, for good, before the next
open. No seal, or one that does not fit, means killed, cut off or touched by somebody: then a child process looks first
(probe.py), and the drain that follows compares everything with SQLite. What is damaged is moved aside and begun anew;
it is derived data.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nescord import durable
from nescord.errors import ServiceUnavailableError
from nescord.index import probe
from nescord.index.store import DamagedIndexError

if TYPE_CHECKING:
    from nescord.index.embedded import EmbeddedStore

_SEAL = "index.seal"
_DIRTY = "index.dirty"
_DOUBT = "index.doubt"
_SUSPECT = "index.suspect"
# A damaged folder is kept for whoever wants to know why, but never at the price of a full disk.
_FREE_SHARE = 0.2
_LEAST_FREE = 32 * 2**20


class Folder:
    """Chroma's folder and the seal beside the locks. The caller holds index.lock.

    While a server has it open, which then holds index.lock, its clients leave word in two files: a doubt says that the
    content must be compared with SQLite, a suspicion that it is damaged and who runs the server is to move it aside.
    """

    def __init__(self, chroma: Path, run: Path) -> None:
        self._chroma = chroma
        self._seal = run / _SEAL
        self._dirty = run / _DIRTY
        self._doubt = run / _DOUBT
        self._suspect = run / _SUSPECT

    def is_sealed(self) -> bool:
        """Whether the folder is as the last clean close left it."""
        try:
            seal: object = json.loads(self._seal.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return not self._dirty.exists() and seal == _fingerprint(self._chroma)

    def open(self) -> tuple[EmbeddedStore, str, bool]:
        """The open store; what was found damaged and moved aside ("" if nothing); whether its content is in doubt.

        Raises:
            ServiceUnavailableError: the disk is full, or whether the folder is sound could not be found out.
        """
        from nescord.index.embedded import EmbeddedStore

        damage, in_doubt = self.make_ready()
        try:
            return EmbeddedStore(self._chroma), damage, in_doubt
        except DamagedIndexError as error:
            self._move_aside()
            return EmbeddedStore(self._chroma), str(error), True

    def make_ready(self) -> tuple[str, bool]:
        """Before this process or a server opens it: what was found damaged and moved aside, and whether it is in doubt.

        Raises:
            ServiceUnavailableError: as `open`.
        """
        in_doubt = not self.is_sealed() or bool(self.doubt())
        damage = self.suspicion()
        if not damage and in_doubt and has_files(self._chroma):
            damage = probe.find_damage(self._chroma)
        _refuse_a_full_disk(self._chroma)
        self.break_seal()
        if damage:
            self._move_aside()
            durable.remove(self._suspect)
        return damage, in_doubt or bool(damage)

    def close(self, store: EmbeddedStore, *, seal: bool) -> None:
        """Close the store and, where its content is known to be right, seal what it left."""
        store.close()
        if seal:
            self.trust(self.doubt())
            self.put_seal()

    def put_seal(self) -> None:
        """Nobody has the folder open, and its content is known to be right."""
        durable.write_file(self._seal, json.dumps(_fingerprint(self._chroma)).encode("utf-8"))
        durable.remove(self._dirty)

    def start_over(self, store: EmbeddedStore) -> EmbeddedStore:
        """An empty store in place of one that has turned out to be damaged."""
        from nescord.index.embedded import EmbeddedStore

        store.close()
        self._move_aside()
        _refuse_a_full_disk(self._chroma)
        return EmbeddedStore(self._chroma)

    def break_seal(self) -> None:
        """From now on the folder is in doubt, until it is sealed again."""
        self._seal.parent.mkdir(mode=0o700, exist_ok=True)
        durable.write_file(self._dirty, b"")
        durable.remove(self._seal)

    def doubt(self) -> str:
        """Which doubt there is about the content; "" for none."""
        return _content(self._doubt)

    def cast_doubt(self) -> None:
        """From now on the content has to be compared with SQLite."""
        durable.write_file(self._doubt, secrets.token_hex(8).encode("ascii"))

    def trust(self, doubt: str) -> None:
        """The content was compared since `doubt` was cast. One that was cast meanwhile stays."""
        if doubt and doubt == self.doubt():
            durable.remove(self._doubt)

    def suspicion(self) -> str:
        """What was found damaged while a server had it open; "" for nothing."""
        return _content(self._suspect)

    def suspect(self, reason: str) -> None:
        """The folder is damaged: whoever runs the server is to move it aside."""
        durable.write_file(self._suspect, reason.encode("utf-8", "replace") or b"damaged")

    def _move_aside(self) -> None:
        if not self._chroma.exists():
            return
        bad = self._chroma.with_name(self._chroma.name + ".bad")
        shutil.rmtree(bad, ignore_errors=True)
        usage = shutil.disk_usage(self._chroma.parent)
        if usage.free > _FREE_SHARE * usage.total:
            with suppress(OSError):  # a mount point cannot be renamed
                self._chroma.rename(bad)
                durable.sync_folder(bad.parent)
                return
        for entry in self._chroma.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _fingerprint(folder: Path) -> list[list[str | int]]:
    rows: list[list[str | int]] = []
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            stat = file.stat()
            rows.append([file.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns, stat.st_ino])
    return sorted(rows)


def has_files(folder: Path) -> bool:
    """Whether there is anything in the folder at all."""
    return folder.is_dir() and any(folder.iterdir())


def _refuse_a_full_disk(chroma: Path) -> None:
    """A full disk makes the same InternalError as damage; moving the folder aside would not mend it."""
    place = next(parent for parent in (chroma, *chroma.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if free < _LEAST_FREE:
        raise ServiceUnavailableError(
            f"only {free // 2**20} MB are free under {chroma}: make room, the vector index follows by itself"
        )
