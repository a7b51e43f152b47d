"""A real `nescord watch` in a process of its own, and what its knowledge base holds in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from cli_runs import NESCORD

from tests.vaults import open_base

# A busy machine is no failure.
PATIENCE = 90.0

Look = dict[str, Any]
# path, title, body, tags, front matter of a living note
Stored = tuple[str, str, str, tuple[str, ...], str]


class Watch:
    """`nescord watch VAULT --json`, begun and followed line by line. A context manager; on the way out SIGTERM."""

    def __init__(self, data: Path, vault: Path, *, before: tuple[str, ...] = (), **env: str) -> None:
        self.looks: list[Look] = []
        self._has_more = threading.Condition()
        self.child = subprocess.Popen(
            [*before, *NESCORD, "--data-dir", data, "watch", vault, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env},
            text=True,
        )
        self.err: list[str] = []
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_err)]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
        self.end()

    def end(self) -> int:
        """Wait for its end; the exit code."""
        try:
            code = self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise
        for reader in self._readers:
            reader.join(PATIENCE)
        for stream in (self.child.stdout, self.child.stderr):
            assert stream is not None
            stream.close()
        return code

    @property
    def said(self) -> str:
        """What it said on stderr so far."""
        return "".join(self.err)

    def until(self, wanted: Callable[[Look], object], since: int = 0) -> Look:
        """The first look from the `since`th on that is the wanted one; waits for it."""
        deadline = time.monotonic() + PATIENCE
        with self._has_more:
            at = since
            while True:
                for look in self.looks[at:]:
                    if wanted(look):
                        return look
                at = len(self.looks)
                left = deadline - time.monotonic()
                assert left > 0, f"waited in vain; {self.said or 'nothing'} was said, the last looks: {self.looks[-3:]}"
                assert self.child.poll() is None or any(each.is_alive() for each in self._readers), self.said
                self._has_more.wait(min(left, 1.0))

    def until_begun(self) -> Look:
        """The first look, at all there is."""
        return self.until(lambda look: look.get("whole") and "error" not in look)

    def until_changed(self, what: str, path: str, since: int = 0) -> Look:
        """The look that reports `what` of `path`."""
        return self.until(lambda look: (what, path) in changes(look), since)

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            with self._has_more:
                self.looks.append(json.loads(line))
                self._has_more.notify_all()
        with self._has_more:
            self._has_more.notify_all()

    def _read_err(self) -> None:
        assert self.child.stderr is not None
        self.err.extend(self.child.stderr)


def changes(look: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was done, to which path."""
    return [(change["what"], change["path"]) for change in look.get("changes", ())]


def stored(data: Path) -> list[Stored]:
    """Every living note."""
    with open_base(data) as km, km._base.verb() as catalog, catalog.read() as connection:
        rows = connection.execute(
            "SELECT path, title, body, front_matter, key FROM note JOIN note_text ON note_text.note = note.key "
            "WHERE trashed_at IS NULL ORDER BY path"
        ).fetchall()
        tags = connection.execute("SELECT note, name FROM tag ORDER BY name").fetchall()
    by_note: dict[int, list[str]] = {}
    for note, name in tags:
        by_note.setdefault(note, []).append(name)
    return [(path, title, body, tuple(by_note.get(key, ())), front) for path, title, body, front, key in rows]


def failures(data: Path) -> list[tuple[str, str]]:
    """Which files could not be stored, and why."""
    with open_base(data) as km:
        return sorted((failure.path, failure.reason) for failure in km.failures())


def fresh(data: Path, vault: Path) -> tuple[list[Stored], list[tuple[str, str]]]:
    """What a full scan into a new knowledge base makes of the vault: its notes and its failures."""
    with open_base(data) as km:
        km.ingest(vault)
    return stored(data), failures(data)


def ids(data: Path) -> dict[str, str]:
    """The id of each living note by path."""
    with open_base(data) as km, km._base.verb() as catalog, catalog.read() as connection:
        found: dict[str, str] = dict(
            connection.execute("SELECT path, id FROM note WHERE trashed_at IS NULL").fetchall()
        )
    return found
