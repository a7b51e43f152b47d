"""Places elsewhere for tests of copies, and what must hold of the copies in them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import obstore
import pytest

from nescord import Settings
from nescord.backup.check import check
from nescord.backup.encryption import keygen
from nescord.backup.fetch import check_off_site, fetch
from nescord.backup.off_site import OffSite, Patience
from nescord.backup.replicate import Replicated, replicate
from nescord.backup.store import BackupStore
from tests.backup_world import Days
from tests.s3_world import BUCKET, KEY, REGION, SECRET, S3Server, moto_server, rclone_server
from tests.vaults import open_base

PATIENCE = Patience(connect=1, answer=2, slowest=10**7, retries=2, total=3)


def bucket_options(url: str, prefix: str, secret: str = SECRET) -> dict[str, object]:
    """Settings that name a prefix of a test server."""
    place = {"off_site": f"s3://{BUCKET}/{prefix}", "off_site_endpoint": url}
    return {**place, "aws_access_key_id": KEY, "aws_secret_access_key": secret, "aws_region": REGION}


@dataclass(frozen=True, slots=True)
class World:
    """A base with backups of some days, and a place for their copies; `files` is where that lies on this disk."""

    data: Path
    days: Days
    options: dict[str, object]
    scratch: Path
    identity: Path | None = None
    files: Path | None = None

    def replicate(self, **options: object) -> Replicated:
        with open_base(self.data, vector="exact", **{**self.options, **options}) as km:
            return replicate(km._base, patience=PATIENCE)

    def off_site(self, **options: object) -> OffSite:
        return OffSite(Settings(data_dir=self.data, **{**self.options, **options}), PATIENCE)

    @property
    def store(self) -> BackupStore:
        return BackupStore(self.data / "backups")

    @property
    def age(self) -> str:
        return "" if self.identity is None else ".age"

    def brought_back(self, wanted: str | None = None, **options: object) -> BackupStore:
        """An empty store that a copy was fetched into, and is good in."""
        store = BackupStore(self.scratch / uuid4().hex)
        found = fetch(self.off_site(**options), store, wanted, self.identity)
        assert store.status(found).state == "unchecked"
        assert [each.problems for each in check(store, [found])] == [()]
        assert store.manifest(found) == self.days.manifests[found]
        return store

    def names(self) -> set[str]:
        """What must be there once all is copied, and nothing else of ours."""
        expected = {"store.json", "RESTORE.md", "restore.py"}
        for each, manifest in self.days.manifests.items():
            expected |= {f"snapshots/{each}.json.zst{self.age}", f"snapshots/{each}.objects.json"}
            packs = [pack.id for pack in manifest.packs]
            expected |= {f"packs/{pack}{suffix}{self.age}" for pack in packs for suffix in (".pack", ".idx")}
        return expected

    def assert_all_copied(self) -> None:
        assert set(self.off_site().sizes()) == self.names()
        assert [(each.id, each.problems) for each in check_off_site(self.off_site())] == [
            (each, ()) for each in self.days.ids
        ]
        for each in self.days.ids:
            self.brought_back(each)
            assert set(self.store.status(each).off_site) == {self.off_site().target}


@pytest.fixture(scope="session")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    return Days.made(tmp_path_factory.mktemp("days"))


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rclone_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def world_at(where: str, server: S3Server | None, days: Days, folder: Path, url: str = "") -> World:
    """`where`: "folder" or "bucket", with " encrypted" behind it or not; `url` is a proxy before the server."""
    kind, _, encrypted = where.partition(" ")
    identity = folder / "identity.txt" if encrypted else None
    if server is not None and kind == "bucket":
        prefix = f"some-where/{uuid4().hex}"
        options = bucket_options(url or server.url, prefix)
        files = None if server.folder is None else server.folder / BUCKET / prefix
    else:
        files = folder / "another disk"
        files.mkdir()
        options = {"off_site": str(files)}
    if identity is not None:
        options["backup_recipient"] = keygen(identity)
    return World(days.copy(folder / "data"), days, options, folder / "fetched", identity, files)


PLACES = ["folder", "folder encrypted", "moto", "moto encrypted", "rclone", "rclone encrypted"]


@pytest.fixture(params=PLACES)
def world(request: pytest.FixtureRequest, moto: S3Server, rclone: S3Server, days: Days, tmp_path: Path) -> World:
    return made(request.param, moto, rclone, days, tmp_path)


def made(place: str, moto: S3Server, rclone: S3Server, days: Days, folder: Path) -> World:
    server = moto if "moto" in place else rclone if "rclone" in place else None
    return world_at(place.replace("moto", "bucket").replace("rclone", "bucket"), server, days, folder)


@pytest.fixture
def on_disk(moto: S3Server, rclone: S3Server, days: Days, tmp_path: Path) -> World:
    return made("folder", moto, rclone, days, tmp_path)


@pytest.fixture
def sealed(moto: S3Server, rclone: S3Server, days: Days, tmp_path: Path) -> World:
    return made("folder encrypted", moto, rclone, days, tmp_path)


def put(world: World, name: str, content: bytes) -> None:
    """Write an object past the code under test."""
    if world.files is not None:
        (world.files / name).parent.mkdir(parents=True, exist_ok=True)
        (world.files / name).write_bytes(content)
        time.sleep(0.05)  # rclone remembers what was there for 10 ms
    else:
        obstore.put(world.off_site()._client(), name, content)
