"""What lies outside the service and is under our hands: the vault's git host, the bucket, the clock."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.proxy import FaultyProxy
from tests.git_world import Host, Repository, git, git_host
from tests.s3_world import BUCKET, KEY, REGION, SECRET, S3Server, rclone_server

_SOURCE = Path(__file__).with_name("clock.c")
_OFFSET = struct.Struct("q")


@dataclass
class Vault:
    """The repository that notes are taken in from, and how it is served. `files` is what its head has."""

    repository: Repository
    host: Host
    files: dict[str, str] = field(default_factory=dict)
    commits: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"{self.host.url}/{self.repository.path.name}"

    @property
    def head(self) -> str:
        """The id of the last commit."""
        return git(self.repository.work, "rev-parse", "HEAD").strip()

    def is_ancestor(self, commit: str, other: str) -> bool:
        """Whether the first of the two is in the history of the other one."""
        return commit in git(self.repository.work, "rev-list", other).split()

    def push(self, changes: Mapping[str, str | None], *, amend: bool = False) -> str:
        """One commit (with `amend` in place of the last one): new or changed files, None for those that go. Its id."""
        with self._lock:
            commit = self.repository.push(changes, amend=amend)
            for path, text in changes.items():
                if text is None:
                    del self.files[path]
                else:
                    self.files[path] = text
            self.commits += 1
            return commit


@contextmanager
def vault(scratch: Path) -> Iterator[Vault]:
    """An empty repository, served until the block ends."""
    folder = scratch / "git"
    folder.mkdir()
    with git_host(folder) as host:
        yield Vault(Repository(folder), host)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where copies of backups go: a server with plain files, behind a proxy that can be told to fail."""

    server: S3Server
    proxy: FaultyProxy

    @property
    def settings(self) -> dict[str, str]:
        """What the service must know of it."""
        return {
            "NESCORD_OFF_SITE": f"s3://{BUCKET}/soak",
            "NESCORD_OFF_SITE_ENDPOINT": self.proxy.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
        }


@contextmanager
def bucket(scratch: Path) -> Iterator[Bucket]:
    """A bucket in a process of its own until the block ends."""
    with rclone_server(scratch / "s3") as server, FaultyProxy(server.url) as proxy:
        yield Bucket(server, proxy)


class Clock:
    """What time it is for the service: the machine's, and so many seconds off. Time that passes is not touched."""

    def __init__(self, scratch: Path) -> None:
        self._file, self._library = scratch / "clock", scratch / "clock.so"
        self._file.write_bytes(_OFFSET.pack(0))
        self.offset = 0
        self.works = self._is_compiled()

    @property
    def settings(self) -> dict[str, str]:
        """The environment of whoever is to have this time."""
        if not self.works:
            return {}
        return {"LD_PRELOAD": str(self._library), "NESCORD_SOAK_CLOCK": str(self._file)}

    def jump(self, seconds: float) -> None:
        """From now on it is so many seconds later (or earlier) than it is; 0: as it is."""
        self.offset = round(seconds)
        with self._file.open("r+b") as file:  # in place: it is mapped by whoever has this time
            file.write(_OFFSET.pack(self.offset))

    def _is_compiled(self) -> bool:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None or not sys.platform.startswith("linux"):
            return False
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(self._library), str(_SOURCE), "-ldl"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
