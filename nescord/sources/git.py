"""A vault that lives in a git repository: pulled into a mirror of our own before each ingest.

The mirror is a shallow copy below `sources/git/` of the data folder, in one folder for each branch of each repository.
It holds nothing that is not in the repository, so whatever is wrong with it, it is made anew beside itself and swapped.
Whoever calls holds ingest.lock: nobody reads the files while they change.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from nescord import durable
from nescord.errors import DiskError, VaultError
from nescord.home import boot_id
from nescord.sources.git_cli import GitCommand
from nescord.sources.git_remote import (
    BRANCH,
    Access,
    DamagedMirrorError,
    ImpossibleNameError,
    Remote,
    Transport,
    access,
    unexplained,
)

# Which commit of which repository the files were made of last, and in which boot of the machine.
_STATE = Path(".git", "nescord.json")
# There to say that the mirror is to be made anew.
_OLD = Path(".git", "nescord-old")
_OBJECTS = Path(".git", "objects")
_PACKS = _OBJECTS / "pack"
_NAMED_BRANCHES = 10
_LONGEST_NAME = 100


def sync(remote: Remote, mirrors: Path) -> bool:
    """Make the mirror what the repository is now; whether it was another commit before.

    If nothing was pushed, that is one question to the host, and no file is touched.

    Raises:
        ServiceUnavailableError: the host is away; the mirror is as it was. VaultError: access is refused, or there is
            no such repository or branch. DiskError: the disk is full.
    """
    try:
        durable.make_folder(mirrors)
        _sweep(mirrors)
        try:
            return _sync(remote, mirrors)
        except BaseException:
            with suppress(OSError):
                _sweep(mirrors)
            raise
    except ImpossibleNameError as error:
        name = "".join(each if each.isprintable() else "?" for each in str(error))
        raise VaultError(
            f'{remote.url} holds a name that no file here can have, "{name[:_LONGEST_NAME]}'
            f'{"…" if len(name) > _LONGEST_NAME else ""}": rename it in the repository; the notes stay as they are'
        ) from None
    except OSError as error:
        raise DiskError(f"the copy of the vault in {mirrors} cannot be written: {error.strerror}") from error


def notes_in(remote: Remote, mirrors: Path) -> Path:
    """The folder of the mirror that holds the notes, as a real path.

    Raises:
        VaultError: nothing was fetched yet, or the repository has no such folder.
    """
    mirror = Path(os.path.realpath(mirrors / remote.mirror_name))
    root = Path(os.path.realpath(mirror / remote.folder))
    if not mirror.is_dir():
        raise VaultError(f"the vault {remote.url} was not fetched yet: nescord ingest does it")
    if not root.is_relative_to(mirror) or not root.is_dir():
        raise VaultError(
            f'there is no folder "{remote.folder}" in {remote.url}: mend NESCORD_VAULT_GIT_FOLDER; the notes stay (if '
            f'they are meant to go: nescord source remove "{remote.name}")'
        )
    return root


def is_of(remote: Remote, mirror: Path) -> bool:
    """Whether a mirror is one of this repository, of whatever branch."""
    return _state_of(mirror).get("place") == remote.place


def make_anew(mirror: Path) -> None:
    """Let the next sync make the mirror anew: it holds something that is to be nowhere."""
    durable.write_file(mirror / _OLD, b"")


def _sync(remote: Remote, mirrors: Path) -> bool:
    git = transport()
    with access(remote, mirrors) as way:
        ref, commit = wanted_ref(remote, git.refs(way))
        mirror = mirrors / remote.mirror_name
        before = _state_of(mirror)
        if (mirror / ".git").is_dir() and not (mirror / _OLD).exists():
            with suppress(DamagedMirrorError):
                return _update(git, way, mirror, ref, commit, before)
        _replace(git, way, mirror, ref, commit)
        return before.get("commit") != commit


def transport() -> Transport:
    """The machine's git, or dulwich where there is none."""
    command = GitCommand.find()
    if command:
        return command
    from nescord.sources.git_dulwich import Dulwich

    return Dulwich()


def wanted_ref(remote: Remote, refs: dict[str, str]) -> tuple[str, str]:
    """The ref to follow and its commit."""
    branches = sorted(name.removeprefix("refs/heads/") for name in refs if name.startswith("refs/heads/"))
    if not branches:
        raise VaultError(f"the repository {remote.url} is empty: push the notes, then ingest again; the notes stay")
    ref = "HEAD" if remote.branch is None else f"refs/heads/{remote.branch}"
    if ref in refs:
        return ref, refs[ref]
    what = "default branch" if remote.branch is None else f'branch "{remote.branch}"'
    named = ", ".join(branches[:_NAMED_BRANCHES]) + (", …" if len(branches) > _NAMED_BRANCHES else "")
    raise VaultError(
        f"{remote.url} has no {what} (any more): set NESCORD_VAULT_GIT_BRANCH to one of {named}; the notes stay"
    )


def _update(git: Transport, way: Access, mirror: Path, ref: str, commit: str, before: dict[str, str]) -> bool:
    # What was written before the machine went down may not have reached the disk: then every file is compared.
    is_trusted = before.get("boot") == boot_id()
    if before.get("commit") == commit and is_trusted:
        git.check_out(mirror, commit, is_trusted=True)
        return False
    packs = _packs_of(mirror)
    is_fetched = False
    try:
        if before.get("commit") != commit:
            commit = git.fetch(way, mirror, ref, commit)
            is_fetched = True
        git.check_out(mirror, commit, is_trusted=is_trusted)
    except DiskError:
        _give_room_back(git, mirror, packs, before.get("commit") if is_fetched else None)
        raise
    _remember(way.remote, mirror, commit)
    return before.get("commit") != commit


def _give_room_back(git: Transport, mirror: Path, packs: Set[str], commit: str | None) -> None:
    """Remove what a commit has brought that there was no room for; `commit`: what the files are to be again."""
    for name in _packs_of(mirror) - packs:
        (mirror / _PACKS / name).unlink()
    if commit:
        try:
            (mirror / ".git" / BRANCH).write_text(f"{commit}\n", encoding="ascii")
            git.check_out(mirror, commit, is_trusted=True)
        except (DiskError, DamagedMirrorError, ImpossibleNameError, OSError):
            # The files are of neither commit. They come again when there is room.
            shutil.rmtree(mirror, ignore_errors=True)


def _replace(git: Transport, way: Access, mirror: Path, ref: str, commit: str) -> None:
    """Make the mirror anew beside what is there, then swap. A kill at any moment leaves the old one, or none."""
    beside = mirror.with_name(f".{mirror.name}.{secrets.token_hex(4)}.tmp")
    try:
        durable.make_folder(beside)
        commit = git.fetch(way, beside, ref, commit)
        impossible = None
        try:
            git.check_out(beside, commit, is_trusted=False)
            _remember(way.remote, beside, commit)
        except ImpossibleNameError as error:
            # It takes the place all the same: nothing of it is to come again when the name is another one.
            impossible = error
        if mirror.exists():
            durable.rename(mirror, mirror.with_name(f"{beside.name}.old.tmp"))
        durable.rename(beside, mirror)
        if impossible:
            raise impossible
    except DamagedMirrorError as error:
        raise unexplained(way.remote, str(error)) from error
    finally:
        _sweep(mirror.parent)


def _state_of(mirror: Path) -> dict[str, str]:
    try:
        state = json.loads((mirror / _STATE).read_bytes())
        return {name: str(state[name]) for name in ("commit", "boot", "place")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _remember(remote: Remote, mirror: Path, commit: str) -> None:
    state = {"commit": commit, "boot": boot_id(), "place": remote.place}
    durable.write_file(mirror / _STATE, json.dumps(state).encode())


def _packs_of(mirror: Path) -> set[str]:
    try:
        return {path.name for path in (mirror / _PACKS).iterdir()}
    except OSError:
        return set()


def _sweep(mirrors: Path) -> None:
    """Remove what a sync that was killed or had no room has left: half a copy, a replaced one, the file of a key."""
    for each in mirrors.iterdir():
        if durable.is_temporary(each):
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each, ignore_errors=True)
            else:
                each.unlink(missing_ok=True)
        elif each.is_dir():
            _sweep_objects(each / _OBJECTS)


def _sweep_objects(folder: Path) -> None:
    """Remove what git and dulwich began to write there and did not bring to an end. They never do it themselves."""
    for path, _, names in os.walk(folder):
        for name in names:
            is_half_a_pack = name.endswith(".pack") and f"{name.removesuffix('.pack')}.idx" not in names
            if name.startswith(("tmp", ".tmp-")) or name.endswith((".keep", ".lock")) or is_half_a_pack:
                Path(path, name).unlink(missing_ok=True)
