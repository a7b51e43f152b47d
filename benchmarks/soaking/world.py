"""The world of a soak: one scratch folder, in it a disk with the data folder, and everything the service talks to."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from benchmarks.soaking.alone import is_inside
from benchmarks.soaking.ledger import Ledger
from benchmarks.soaking.outside import Bucket, Clock, Vault, bucket, vault
from benchmarks.soaking.platform import ROOT, Platform
from benchmarks.soaking.volume import Volume
from tests.fakes.discord import DiscordFake
from tests.fakes.gemini import FakeGemini

if TYPE_CHECKING:
    from benchmarks.soaking.faults import Troubles

OWNER = 1001
_STATUS_TOKEN = "the-status-of-the-soak"


@dataclass(frozen=True, slots=True)
class Options:
    """What a soak is asked for. `faults_every`: seconds, 0: none."""

    minutes: float
    seed: str
    faults_every: float = 8.0
    volume_mb: int = 1024


@dataclass
class World:
    """`with World(options) as world`: everything but the service stands; `world.platform.start()` starts that."""

    options: Options
    scratch: Path = field(init=False)
    stop: threading.Event = field(default_factory=threading.Event)
    facts: list[str] = field(default_factory=list)
    troubles: Troubles | None = None
    at_rest: Callable[[], None] = lambda: None
    """What is to be done when the service has come to rest, before it is judged."""

    def rng(self, name: str) -> random.Random:
        """Random numbers for one purpose, from the seed."""
        return random.Random(f"{self.options.seed}/{name}")

    def say(self, line: str) -> None:
        """A line of the soak's log, with the seconds since it began."""
        text = f"[{time.monotonic() - self.began:7.1f}] {line}"
        with self._saying:
            print(text, flush=True)
            with (self.scratch / "soak.log").open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    def __enter__(self) -> World:
        self.began = time.monotonic()
        self._saying = threading.Lock()
        self.scratch = Path(tempfile.mkdtemp(prefix="nescord-soak-"))
        self._stack = ExitStack()
        try:
            self._build(self._stack)
        except BaseException:
            self._stack.close()
            raise
        return self

    def _build(self, stack: ExitStack) -> None:
        stack.callback(shutil.rmtree, self.scratch, ignore_errors=True)
        self.volume = Volume(self.scratch, self.options.volume_mb, is_alone=is_inside())
        if self.volume.is_limited:
            stack.callback(subprocess.run, ["umount", "--lazy", str(self.volume.path)], check=False)
        self.data = self.volume.path / "nescord"
        self.ledger = Ledger(self.scratch / "ledger.jsonl")
        stack.callback(self.ledger.close)
        self.clock = Clock(self.scratch)
        self.git: Vault = stack.enter_context(vault(self.scratch))
        self.s3: Bucket = stack.enter_context(bucket(self.scratch))
        self.gemini = stack.enter_context(FakeGemini(hang=5.0))
        self.discord = stack.enter_context(DiscordFake(heartbeat_ms=20_000))
        self.identity = self.scratch / "nescord.key"
        settings = self._settings(self._key())
        self.platform = Platform(self.scratch, self.data, settings, self.clock.settings)
        stack.callback(self.platform.close)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self._stack.close()

    def _key(self) -> str:
        """Make the key that copies elsewhere are encrypted to; its public half."""
        command = [sys.executable, "-m", "nescord.cli", "backup", "keygen", str(self.identity), "--json"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8")
        return str(json.loads(done.stdout)["recipient"])

    def _settings(self, recipient: str) -> dict[str, str]:
        settings = {
            "PORT": "0",
            "DISCORD_TOKEN": self.discord.token,
            "DISCORD_API_BASE": self.discord.api_base,
            "DISCORD_GATEWAY": self.discord.gateway,
            "NESCORD_OWNER_IDS": str(OWNER),
            "GEMINI_API_KEY": self.gemini.key,
            "GEMINI_MONTHLY_LIMIT": "50000000",
            "NESCORD_GEMINI_ENDPOINT": self.gemini.url,
            "NESCORD_GEMINI_REQUESTS_PER_MINUTE": "6000",
            "NESCORD_GEMINI_TOKENS_PER_MINUTE": "6000000",
            "NESCORD_GEMINI_TIMEOUT": "10",
            "NESCORD_EMBEDDER": "gemini",
            "NESCORD_GENERATOR": "gemini",
            "NESCORD_GEMINI_DIMS": "256",
            "NESCORD_VAULT_GIT_URL": self.git.url,
            "NESCORD_STATUS_TOKEN": _STATUS_TOKEN,
            "NESCORD_BACKUP_RECIPIENT": recipient,
            "NO_PROXY": "127.0.0.1",
            **dict.fromkeys(
                ("NESCORD_QUOTA_SEARCHES", "NESCORD_QUOTA_ANSWERS", "NESCORD_QUOTA_NOTES", "NESCORD_QUOTA_FLOWS"),
                "90000/900000",
            ),
            **self.s3.settings,
        }
        if self.volume.is_limited:
            settings["RAILWAY_ENVIRONMENT_ID"] = "soak"
            settings["RAILWAY_VOLUME_MOUNT_PATH"] = str(self.volume.path)
        return settings | {"NESCORD_DATA_DIR": str(self.data)}
