"""Where a service may run: on a disk that outlives it, in a folder of its own, as the user who is meant.

What a platform forgets with the next deployment looks right until then. So before anything is written, `nescord up`
asks here, and refuses with the mend.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

from nescord import durable
from nescord.errors import UsageError
from nescord.home import TAKEN, DataFolder, drop_privileges
from nescord.persistence.mounts import Mounts
from nescord.persistence.volume import place_on_mount
from nescord.settings import Settings

_MOST_NAMED = 5
_ADD_A_VOLUME = (
    "add a volume with mount path /data (in the dashboard: right-click the service, Attach volume; or railway volume "
    "add --mount-path /data) and deploy again. NESCORD_EPHEMERAL=1 starts without one, for a trial: every note is lost "
    "with the next deployment"
)


def check_platform(settings: Settings, folder: DataFolder, mounts: Mounts | None) -> None:
    """Refuse what the next deployment on Railway would lose. NESCORD_EPHEMERAL allows it.

    Raises:
        UsageError: there is no volume, the data folder or the database is not on it, or is the whole of it.
    """
    if settings.railway_environment_id is None or settings.ephemeral:
        return
    volume = settings.railway_volume_mount_path
    if volume is None:
        raise UsageError(f"this service on Railway has no volume: {_ADD_A_VOLUME}")
    if folder.path == volume.resolve():
        # lost+found of the file system lies there, and whatever else is to be on the volume one day.
        raise UsageError(
            f"the data folder is the whole volume {volume}: give it a folder of its own there "
            f"(NESCORD_DATA_DIR={volume / 'nescord'}, or leave it unset)"
        )
    found = place_on_mount(settings, folder, mounts)
    if found.status == "fail":
        raise UsageError(f"{found.value}: {found.mend}")


def refuse_foreign(folder: DataFolder) -> None:
    """Neither begin a knowledge base among the files of something else, nor give those to another user.

    Raises:
        UsageError: the data folder holds other things, and no knowledge base.
    """
    strange = _strangers_in(folder)
    if strange:
        more = f" and {len(strange) - _MOST_NAMED} more" if len(strange) > _MOST_NAMED else ""
        raise UsageError(
            f"the data folder {folder.path} holds no knowledge base, but {', '.join(strange[:_MOST_NAMED])}{more}: "
            "attach the right volume, or name an empty folder (NESCORD_DATA_DIR)"
        )


def _strangers_in(folder: DataFolder) -> list[str]:
    """What lies in a folder without a knowledge base, is none of ours, and so tells that it is somebody else's."""
    ours = {*TAKEN, "lost+found", folder.database.relative_to(folder.path).parts[0]}
    try:
        if folder.identity_file.exists() or folder.database.exists():
            return []
        names = sorted(path.name for path in folder.path.iterdir())
    except (FileNotFoundError, PermissionError):
        return []
    except OSError as error:
        raise UsageError(f"the data folder {folder.path} cannot be read: {error.strerror}") from error
    return [name for name in names if name not in ours and not durable.is_temporary(Path(name))]


def become(settings: Settings, path: Path, say: Callable[[str], None]) -> None:
    """As root: give the data folder, and nothing else, to the user of NESCORD_UID, and be that user from then on.

    Without NESCORD_UID root becomes the owner of the folder, as with every other command.

    Raises:
        UsageError: the folder cannot be made, or not written by who we are then.
    """
    if os.geteuid() == 0 and settings.run_as is not None:
        try:
            changed = _hand_over(path, settings.run_as)
        except OSError as error:
            raise UsageError(
                f"the data folder {path} cannot be given to uid {settings.run_as}: {error.strerror}{_named(error)}; "
                "mount it for writing, or unset NESCORD_UID"
            ) from error
        if changed:
            say(f"{path}: given to uid {settings.run_as} ({changed:,} files and folders were not its own)")
    drop_privileges(path)
    _refuse_unwritable(path)


def _hand_over(path: Path, uid: int) -> int:
    """Make the folder, and give it and what is in it to the user; how much was another's. Parents stay root's."""
    for parent in reversed([each for each in path.parents if not each.exists()]):
        parent.mkdir(exist_ok=True)
        parent.chmod(0o755)  # whatever the umask: the user has to get through it
    path.mkdir(mode=0o700, exist_ok=True)
    try:
        gid = pwd.getpwuid(uid).pw_gid
    except KeyError:  # a container often has no name for a uid
        gid = uid
    top = path.lstat()
    changed = 0
    # By descriptors and never through a link: an old service that still runs could put one there meanwhile.
    for _, folders, files, fd in os.fwalk(path, follow_symlinks=False):
        for name in (*folders, *files):
            found = os.lstat(name, dir_fd=fd)
            if found.st_dev != top.st_dev:  # another disk is mounted there
                if name in folders:
                    folders.remove(name)
            elif found.st_uid != uid:
                os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
                changed += 1
    if top.st_uid != uid:  # last: cut short, it is done again
        os.chown(path, uid, gid, follow_symlinks=False)
        changed += 1
    return changed


def _refuse_unwritable(path: Path) -> None:
    place = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK, effective_ids=True):
        return
    if not place.is_dir():
        raise UsageError(f"the data folder cannot be {path}: {place} is no folder")
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        raise UsageError(f"the data folder {path} is on a disk that is mounted read-only: mount it for writing")
    uid = os.geteuid()
    raise UsageError(
        f"the data folder {path} cannot be written by uid {uid}: {place} belongs to uid {place.stat().st_uid}. On "
        "Railway set RAILWAY_RUN_UID=0 (root gives itself up at once); with Docker use a named volume, or "
        f"chown -R {uid} the folder"
    )


def _named(error: OSError) -> str:
    return f" ({error.filename})" if error.filename else ""
