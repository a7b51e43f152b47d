"""Git by the command of that name, with an environment of our own: nobody's settings, hooks or filters take part."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from nescord.errors import DiskError, ServiceUnavailableError
from nescord.sources.git_remote import (
    BRANCH,
    Access,
    DamagedMirrorError,
    ImpossibleNameError,
    explain,
    not_taken,
    object_format,
    unexplained,
)

# GIT_CONFIG_GLOBAL came with it, GIT_CONFIG_COUNT with the one before.
_OLDEST = (2, 32)
_ASKING_SECONDS = 60
_FETCHING_SECONDS = 900
_LOCAL_SECONDS = 300
_GRACE_SECONDS = 5
# How the host is reached, which is the machine's business.
_KEPT = re.compile(
    r"PATH|TMPDIR|SSH_AUTH_SOCK|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|GIT_SSL_CAINFO|CURL_CA_BUNDLE", re.IGNORECASE
)
_NO_ROOM = re.compile("No space left|quota exceeded|unable to write", re.IGNORECASE)
_IMPOSSIBLE_NAME = re.compile(
    r"invalid path '(.*)'$|unable to (?:create file|stat) (.*): (?:File name too long|Invalid .*)$", re.MULTILINE
)
_DEFAULT_BRANCH = re.compile(r"^ref: refs/heads/(.+)\tHEAD$", re.MULTILINE)
_REFUSED_PUSH = re.compile(r"^!\t[^\t]*\t(.*)$", re.MULTILINE)
# The files are what was committed, byte for byte, whatever the repository's own .gitattributes ask for.
_ATTRIBUTES = b"* -text -ident -filter -eol !working-tree-encoding\n"
_CONFIG = {
    "advice.detachedHead": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.autocrlf": "false",
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.logAllRefUpdates": "false",
    # Names that Windows could not have are good names here.
    "core.protectNTFS": "false",
    "core.symlinks": "true",
    "credential.helper": "",
    # One file for each fetch, so that it is known what one has left that came to nothing.
    "fetch.unpackLimit": "1",
    # Each fetch leaves what it replaces. It goes now and then, while we wait.
    "gc.auto": "2000",
    "gc.autoDetach": "false",
    "gc.pruneExpire": "now",
    # A token goes to the named host only.
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "init.defaultBranch": "main",
    "maintenance.autoDetach": "false",
    # A volume's owner may look like somebody else from within a container.
    "safe.directory": "*",
    "submodule.recurse": "false",
}


class GitCommand:
    """See `git_remote.Transport`."""

    def __init__(self, program: str) -> None:
        self._program = program

    @classmethod
    def find(cls) -> GitCommand | None:
        """The machine's git, unless there is none or it is too old to be told everything by the environment."""
        program = shutil.which("git")
        if program is None:
            return None
        with suppress(OSError, subprocess.SubprocessError):
            told = subprocess.run([program, "version"], capture_output=True, timeout=_ASKING_SECONDS, check=False)
            version = re.match(rb"git version (\d+)\.(\d+)", told.stdout)
            if version and (int(version[1]), int(version[2])) >= _OLDEST:
                return cls(program)
        return None

    def refs(self, access: Access) -> dict[str, str]:
        arguments = ["ls-remote", "--", access.remote.url, "HEAD", "refs/heads/*"]
        done = self._run(arguments, access=access, seconds=_ASKING_SECONDS)
        if done.returncode:
            raise explain(access.remote, done.stderr) or unexplained(access.remote, done.stderr)
        pairs = (line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
        return {name: commit for commit, name in pairs}

    def fetch(self, access: Access, mirror: Path, ref: str, expected: str) -> str:
        if not (mirror / ".git").exists():
            # Its own configuration stays what `init` writes: no remote, no credentials.
            self._local(mirror, "init", "--quiet", f"--object-format={object_format(expected)}")
        options = ["--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--force"]
        arguments = [*_in(mirror), "fetch", *options, "--", access.remote.url, f"+{ref}:{BRANCH}"]
        done = self._run(arguments, access=access, seconds=_FETCHING_SECONDS)
        if done.returncode:
            known = explain(access.remote, done.stderr)
            # "not a git repository" may be said of either.
            if known and (str(mirror) not in done.stderr or isinstance(known, DiskError)):
                raise known
            raise DamagedMirrorError(done.stderr)
        return self._local(mirror, "rev-parse", "--verify", "--quiet", f"{BRANCH}^{{commit}}").strip()

    def check_out(self, mirror: Path, commit: str, *, is_trusted: bool) -> None:
        _set_attributes(mirror / ".git" / "info")
        if not is_trusted:
            # An index without times: then every file is compared, and what is right is left alone.
            (mirror / ".git" / "index").unlink(missing_ok=True)
            self._local(mirror, "read-tree", commit)
            self._local(mirror, "update-index", "-q", "--refresh", may_fail=True)
        # First, for what is in the way may be what has filled the disk.
        self._local(mirror, "clean", "-ffdxq")
        self._local(mirror, "reset", "--hard", "--quiet", commit)

    def default_branch(self, access: Access) -> str:
        done = self._run(
            ["ls-remote", "--symref", "--", access.remote.url, "HEAD"], access=access, seconds=_ASKING_SECONDS
        )
        if done.returncode:
            raise explain(access.remote, done.stderr) or unexplained(access.remote, done.stderr)
        named = _DEFAULT_BRANCH.search(done.stdout)
        return named[1] if named else ""

    def push(self, access: Access, mirror: Path, commit: str, branch: str, parent: str) -> None:
        options = ["--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no"]
        arguments = [*_in(mirror), "push", *options, "--", access.remote.url, f"{commit}:refs/heads/{branch}"]
        done = self._run(arguments, access=access, seconds=_FETCHING_SECONDS)
        if not done.returncode:
            return
        if refused := _REFUSED_PUSH.search(done.stdout):
            raise not_taken(access.remote, branch, refused[1])
        known = explain(access.remote, done.stderr)
        if known and (str(mirror) not in done.stderr or isinstance(known, DiskError)):
            raise known
        raise DamagedMirrorError(done.stderr)

    def _local(self, mirror: Path, *arguments: str, may_fail: bool = False) -> str:
        done = self._run([*_in(mirror), *arguments], access=None, seconds=_LOCAL_SECONDS)
        if done.returncode and not may_fail:
            if _NO_ROOM.search(done.stderr):
                raise DiskError(f"no room for the copy of the vault in {mirror.parent}")
            if name := _IMPOSSIBLE_NAME.search(done.stderr):
                raise ImpossibleNameError(name[1] or name[2])
            raise DamagedMirrorError(done.stderr)
        return done.stdout

    def _run(self, arguments: list[str], *, access: Access | None, seconds: float) -> subprocess.CompletedProcess[str]:
        """Run git, and end it with all that it has started when the time is over or somebody stops us."""
        command = [self._program, *arguments]
        with subprocess.Popen(
            command,
            env=_environment(access),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
        ) as process:
            try:
                output, errors = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                _end(process)
                where = access.remote.url if access else "the copy of the vault"
                verb = next(each for each in arguments if not each.startswith("-"))
                raise ServiceUnavailableError(
                    f"git {verb} took longer than {seconds:g} s on {where}; the notes stay"
                ) from None
            except BaseException:
                _end(process)
                raise
        return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _in(mirror: Path) -> list[str]:
    """Named outright: where the mirror's .git is gone, git would look for one in the folders above."""
    return [f"--git-dir={mirror / '.git'}", f"--work-tree={mirror}"]


def _set_attributes(folder: Path) -> None:
    path = folder / "attributes"
    try:
        if not path.is_file() or path.read_bytes() != _ATTRIBUTES:
            folder.mkdir(exist_ok=True)
            path.write_bytes(_ATTRIBUTES)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DamagedMirrorError(str(error)) from error


def _end(process: subprocess.Popen[str]) -> None:
    """Git passes a SIGTERM on to what it has started. It is in our process group: who kills that gets it as well."""
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _environment(access: Access | None) -> dict[str, str]:
    config = dict(_CONFIG)
    allowed = ""
    ssh_command = "false"
    if access:
        allowed = access.remote.scheme
        ssh_command = access.ssh_command
        if access.header:
            config["http.extraHeader"] = access.header
    settings = {f"GIT_CONFIG_KEY_{number}": key for number, key in enumerate(config)}
    settings |= {f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(config.values())}
    return {
        **{name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)},
        **settings,
        "GIT_CONFIG_COUNT": str(len(config)),
        "GIT_CONFIG_GLOBAL": access.config if access else os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": allowed,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_SSH_COMMAND": ssh_command,
        "GIT_SSH_VARIANT": "ssh",
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": os.devnull,
        "LC_ALL": "C.UTF-8",
    }
