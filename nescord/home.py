"""The data folder: where a knowledge base lives, how it is told apart from an empty place, and how it begins.

A folder without `identity.json` is no knowledge base. That file is written before anything else and never made up
for a folder that seems to have lost its database: a volume that failed to mount must not become a fresh, empty start.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from nescord import durable
from nescord.errors import NescordError, NoKnowledgeBaseError, SettingsError, UsageError
from nescord.locks import LockName, Locks, alone_in
from nescord.setting_rules import parse_sqlite_url
from nescord.settings import Settings

_STATE = Path("data", "state")
_IDENTITY = "identity.json"
_DATABASE = "nescordbot.db"
# In run/: the boot that was counted last.
_BOOT = "boot"
# Whatever is first in a path below the data folder and taken: the database must not hide among these.
TAKEN = frozenset({_IDENTITY, "chroma", "backups", "run", "marts", "reports", "prefect", "sources", ".restore"})


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The paths of one data folder, absolute and without symbolic links. Rooms make their folder when they fill it."""

    path: Path
    database: Path
    chroma: Path

    @property
    def identity_file(self) -> Path:
        return self.path / _IDENTITY

    @property
    def backups(self) -> Path:
        return self.path / "backups"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def marts(self) -> Path:
        return self.path / "marts"

    @property
    def reports(self) -> Path:
        return self.path / "reports"

    @property
    def prefect(self) -> Path:
        return self.path / "prefect"

    @property
    def git_mirrors(self) -> Path:
        """Copies of the repositories that vaults are in."""
        return self.path / "sources" / "git"

    @property
    def restore_dir(self) -> Path:
        return self.path / ".restore"

    @property
    def restore_journal(self) -> Path:
        """Is there exactly while a restore that was decided on is not finished."""
        return self.restore_dir / "journal.json"

    @classmethod
    def at(cls, settings: Settings) -> DataFolder:
        """Where the knowledge base is or would be. Touches nothing; SettingsError when DATABASE_URL leads elsewhere."""
        path = locate(settings)
        chroma = path / "chroma" if settings.chroma_dir is None else settings.chroma_dir.resolve()
        return cls(path=path, database=_database_inside(path, settings), chroma=chroma)

    @classmethod
    def find(cls, settings: Settings) -> DataFolder:
        """The knowledge base that exists; NoKnowledgeBaseError where there is none."""
        folder = cls.at(settings)
        folder.finish_restore(settings)
        if not folder.has_begun():
            raise NoKnowledgeBaseError(
                f'no knowledge base at {folder.path}: create one with "nescord init" or "nescord ingest VAULT"'
            )
        return folder

    @classmethod
    def create(cls, settings: Settings, *, begin: Callable[[DataFolder], None]) -> DataFolder:
        """Begin a knowledge base where there is none and nothing tells of an earlier one.

        `begin` makes the database while the catalog is still locked, so that nobody meets an identity without one.
        Of two processes that begin the same one at once, the later gets what the earlier made. A database whose
        identity file got lost is taken up as it is.
        """
        folder = cls.at(settings)
        if folder.has_begun():
            raise UsageError(f"there is already a knowledge base at {folder.path}")
        with folder._beginning(settings):
            if folder.has_begun():
                return folder
            owner = ""
            if folder.database.exists():
                from nescord.backup.store import BackupStore

                owner = BackupStore(folder.backups).owner()  # else its own backups would be another's
            elif _has_snapshot(folder):
                raise UsageError(
                    f"there are backups at {folder.backups} but no database: restore it (nescord backup restore …) "
                    "or start anew (nescord init --new)"
                )
            folder._begin(Identity.fresh(settings, owner), begin)
        return folder

    @classmethod
    def create_anew(cls, settings: Settings, *, begin: Callable[[DataFolder], None]) -> DataFolder:
        """`init --new`: give up a database that is gone and begin again. Backups stay where they are."""
        folder = cls.at(settings)
        with folder._beginning(settings):
            if folder.database.exists():
                raise UsageError(
                    f"the database {folder.database} exists: nothing to start anew (move it away first if you mean it)"
                )
            folder._begin(Identity.fresh(settings), begin)
        return folder

    def finish_restore(self, settings: Settings) -> None:
        """Finish a restore that was decided on and cut short; the first act of whoever opens the knowledge base."""
        if self.restore_journal.exists():
            with Locks(self.run, timeout=settings.lock_timeout).exclusive(LockName.CATALOG):
                self._recover()

    def _recover(self) -> None:
        if self.restore_journal.exists():
            from nescord.backup import journal

            journal.recover(self)

    def has_begun(self) -> bool:
        """Whether there is a knowledge base here. One whose beginning was cut short is none yet."""
        return self._has_identity() and read_identity(self).is_begun

    def _has_identity(self) -> bool:
        try:
            return self.identity_file.exists()
        except OSError as error:
            raise UsageError(f"the data folder {self.path} cannot be read: {error.strerror}") from error

    def _begin(self, identity: Identity, begin: Callable[[DataFolder], None]) -> None:
        """The identity comes first: a database without one would be nobody's. It is completed when there is one."""
        write_identity(self, identity)
        begin(self)
        durable.sync_folder(self.database.parent)
        write_identity(self, replace(identity, is_begun=True))

    @contextmanager
    def _beginning(self, settings: Settings) -> Iterator[None]:
        try:
            durable.make_folder(self.path)
            durable.make_folder(self.run)
            with Locks(self.run, timeout=settings.lock_timeout).exclusive(LockName.CATALOG):
                self._recover()
                yield
        except OSError as error:
            raise UsageError(f"the data folder {self.path} cannot be made: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Identity:
    """Which knowledge base this is, and what it has lived through: what persistence is later verified against.

    `is_begun` says that its database was made: from then on a missing one is a loss.
    """

    uuid: str
    first_seen: str
    is_begun: bool = False
    boots: int = 0
    deployments: tuple[str, ...] = ()
    last_counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def fresh(cls, settings: Settings, uuid: str = "") -> Identity:
        deployment = settings.railway_deployment_id
        return cls(
            uuid=uuid or str(uuid4()),
            first_seen=datetime.now(UTC).isoformat(timespec="seconds"),
            deployments=() if deployment is None else (deployment,),
        )


def locate(settings: Settings) -> Path:
    """The data folder by the order of the README: as told, on Railway's volume, the nearest one above, else here."""
    if settings.data_dir is not None:
        return settings.data_dir.resolve()
    if settings.railway_volume_mount_path is not None:
        return (settings.railway_volume_mount_path / "nescord").resolve()
    here = Path.cwd()
    states = [folder / _STATE for folder in (here, *here.parents)]
    return next((state for state in states if _has_identity(state)), states[0]).resolve()


def warnings_for(settings: Settings, folder: DataFolder) -> list[str]:
    """What is allowed but will surprise: sentences for a person."""
    warnings = []
    if not folder.chroma.is_relative_to(folder.path):
        warnings.append(
            f"CHROMADB_PERSIST_DIRECTORY is {folder.chroma}, outside the data folder {folder.path}: "
            "if it gets lost, the vector index is rebuilt from the database"
        )
    volume = settings.railway_volume_mount_path
    if volume is not None and not folder.path.is_relative_to(volume.resolve()):
        warnings.append(
            f"the data folder {folder.path} is not on the volume {volume}: the next deployment loses it "
            f"(set NESCORD_DATA_DIR={volume / 'nescord'} or leave it unset)"
        )
    return warnings


def read_identity(folder: DataFolder) -> Identity:
    path = folder.identity_file
    try:
        stored = json.loads(path.read_bytes())
        return Identity(
            uuid=str(UUID(stored["uuid"])),
            first_seen=datetime.fromisoformat(stored["first_seen"]).isoformat(timespec="seconds"),
            is_begun=bool(stored.get("is_begun", True)),
            boots=int(stored["boots"]),
            deployments=tuple(str(deployment) for deployment in stored["deployments"]),
            last_counts={str(name): int(count) for name, count in stored["last_counts"].items()},
        )
    except OSError as error:
        raise NescordError(f"the identity file {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NescordError(
            f"the identity file {path} is damaged: move it away, then nescord init makes a new one and keeps the notes"
        ) from error


def write_identity(folder: DataFolder, identity: Identity) -> None:
    text = json.dumps(asdict(identity), ensure_ascii=False, indent=2) + "\n"
    durable.write_file(folder.identity_file, text.encode("utf-8"))


def note_deployment(folder: DataFolder, settings: Settings) -> None:
    """Remember that the knowledge base lives on in this deployment and in this boot of the machine or container.

    Cheap to call at every opening: something is written only once for each of them. A disk that is not writable, or an
    identity that cannot be read, keeps nobody from reading notes: then it is noted another time.
    """
    with suppress(OSError, NescordError):
        _note_deployment(folder, settings.railway_deployment_id, boot_id())


def _note_deployment(folder: DataFolder, deployment: str | None, boot: str) -> None:
    try:
        is_known = (folder.run / _BOOT).read_text(encoding="utf-8") == boot
    except (OSError, ValueError):
        is_known = False
    with _changing_identity(folder) as identity:
        deployments = identity.deployments
        if deployment is not None and deployment not in deployments:
            deployments = (*deployments, deployment)
        boots = identity.boots if is_known or not boot else identity.boots + 1
        changed = replace(identity, deployments=deployments, boots=boots)
        if changed != identity:
            write_identity(folder, changed)
    if not is_known and boot:
        durable.make_folder(folder.run)
        durable.write_file(folder.run / _BOOT, boot.encode("utf-8"))


def note_counts(folder: DataFolder, counts: Mapping[str, int]) -> None:
    """Remember how much is stored (`notes`, `chunks`, …), so that a volume that lost it is recognised.

    What was stored stays so if the disk is full by then: a later call remembers it.
    """
    with suppress(OSError, NescordError), _changing_identity(folder) as identity:
        if dict(identity.last_counts) != dict(counts):
            write_identity(folder, replace(identity, last_counts=dict(counts)))


@contextmanager
def _changing_identity(folder: DataFolder) -> Iterator[Identity]:
    """The identity, while no other process changes it."""
    with alone_in(folder.path):
        yield read_identity(folder)


def boot_id() -> str:
    """Which boot it is: the kernel's, and when the first process of this container began; "" where it is not told."""
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # The second field may hold blanks and ends with a bracket; the 22nd is the start in ticks since the boot.
        first = Path("/proc/1/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, ValueError, IndexError):
        return ""
    return f"{kernel} {first}"


def drop_privileges(data_dir: Path) -> None:
    """As root on a folder of somebody else, become that user, for good. Called before anything is opened.

    Files that root leaves there (a `docker exec nescord …`) would lock the service of that user out.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = data_dir.stat()
    except FileNotFoundError:
        return
    if owner.st_uid == 0:
        return
    try:
        account = pwd.getpwuid(owner.st_uid)
        group, home = account.pw_gid, Path(account.pw_dir)
    except KeyError:  # a container often has no name for the uid of a volume
        group, home = owner.st_gid, data_dir
    try:
        os.setgroups([group])
        os.setgid(group)
        os.setuid(owner.st_uid)
    except OSError as error:
        raise UsageError(
            f"the data folder {data_dir} belongs to uid {owner.st_uid}, and root cannot become it here "
            f"({error.strerror}): run as that user"
        ) from error
    # Libraries keep caches below HOME, and root's is closed to us now.
    os.environ["HOME"] = str(home if os.access(home, os.X_OK) else data_dir)


def _database_inside(path: Path, settings: Settings) -> Path:
    if settings.database_url is None:
        database = (path / _DATABASE).resolve()
        if not database.is_relative_to(path):
            raise SettingsError(
                f"{path / _DATABASE} is a link to {database}, outside the data folder: put the file itself there"
            )
        return database
    written = parse_sqlite_url(settings.database_url)
    database = Path(written).resolve()
    if not database.is_relative_to(path):
        mend = _mend_for_outside(written, database, path, settings.railway_volume_mount_path)
        raise SettingsError(f"DATABASE_URL names {database}, which is outside the data folder {path}: {mend}")
    inside = database.relative_to(path).parts
    if not inside or inside[0] in TAKEN or database.is_dir():
        raise SettingsError(
            f"DATABASE_URL names {database}, a place of the data folder that is taken: use sqlite:///{path / _DATABASE}"
        )
    return database


def _mend_for_outside(written: str, database: Path, path: Path, volume: Path | None) -> str:
    meant = Path("/", written)
    # sqlite:///app/data/x.db in a container with workdir /app is /app/app/data/x.db: off the volume, gone with the
    # next deployment, and nothing says so.
    if not written.startswith("/") and len(meant.parts) > 2 and Path(*meant.parts[:2]).is_dir():
        kept = path / meant.name if meant.parent == volume else meant  # a volume's root is not for us alone
        mend = f"three slashes begin a relative path; use sqlite:///{kept}"
        return mend if kept.is_relative_to(path) else f"{mend} together with NESCORD_DATA_DIR={kept.parent}"
    mend = f"use sqlite:///{path / database.name}"
    return mend if database.parent == volume else f"{mend}, or set NESCORD_DATA_DIR={database.parent}"


def _has_snapshot(folder: DataFolder) -> bool:
    try:
        return any((folder.backups / "snapshots").iterdir())
    except FileNotFoundError:
        return False


def _has_identity(state: Path) -> bool:
    try:
        return (state / _IDENTITY).exists()
    except OSError:  # a parent folder that we may not look into holds nothing of ours
        return False
