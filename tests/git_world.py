"""What the tests of a vault in git share: a repository, a server that speaks git over HTTP, and a program named ssh."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from nescord.errors import VaultError, is_transient
from nescord.settings import Settings
from nescord.sources import git_cli
from nescord.sources.git import sync
from nescord.sources.git_remote import Remote

GIT = shutil.which("git") or ""
needs_git = pytest.mark.skipif(not GIT, reason="the repositories of the tests are made with git, which is not here")
_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", ""),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.org",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.org",
    "LC_ALL": "C.UTF-8",
}


# What a process of its own runs to be killed in it.
SYNC = """
import sys
from pathlib import Path
from nescord.settings import Settings
from nescord.sources.git import sync
from nescord.sources.git_remote import Remote
print("begun", flush=True)
sync(Remote.of(Settings(vault_git_url=sys.argv[1])), Path(sys.argv[2]))
"""


# Both speak git: the command, and dulwich where the command is not to be found.
@pytest.fixture(params=("git", "dulwich"), autouse=True)
def _spoken_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if request.param == "dulwich":
        # Programs that a test puts here are found all the same.
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        assert git_cli.GitCommand.find() is None


class Repository:
    """A bare repository that is written to through a clone of its own."""

    def __init__(self, folder: Path, name: str = "notes", options: Sequence[str] = ()) -> None:
        self.path = folder / f"{name}.git"
        self.work = folder / f"{name}-work"
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", *options, str(self.path))
        git(folder, "init", "--quiet", "--initial-branch=main", *options, str(self.work))

    def push(self, files: Mapping[str, str | bytes | None] = {}, *, amend: bool = False) -> str:
        """Commit files (None: removed) and push them, whatever is there; the commit."""
        for name, content in files.items():
            path = self.work / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--allow-empty", "--message=x", *(["--amend"] if amend else []))
        git(self.work, "push", "--quiet", "--force", str(self.path), "HEAD")
        return git(self.work, "rev-parse", "HEAD").strip()

    def push_name(self, name: str, *, is_folder: bool = False) -> None:
        """Push a commit with a name beside a.md that no working copy could hold."""
        good = git(self.work, "hash-object", "-w", "--stdin", said="text").strip()
        entry = f"100644 blob {good}\t{name}\n"
        if is_folder:
            inner = git(self.work, "mktree", said=f"100644 blob {good}\tconfig\n").strip()
            entry = f"040000 tree {inner}\t{name}\n"
        tree = git(self.work, "mktree", said=f"{entry}100644 blob {good}\ta.md\n").strip()
        commit = git(self.work, "commit-tree", "-m", "x", tree).strip()
        git(self.work, "push", "--quiet", "--force", str(self.path), f"{commit}:refs/heads/main")


def git(folder: Path, *arguments: str, said: str = "") -> str:
    done = subprocess.run(
        [GIT, "-c", "gc.auto=0", *arguments],
        cwd=folder,
        env=_ENVIRONMENT,
        input=said,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Asked:
    """A request that the server got."""

    method: str
    path: str
    authorization: str | None
    body: bytes


@dataclass
class Host:
    """A server of all repositories below a folder. Its answers can be made worse."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    password: str = ""  # what it wants to hear as USER:PASSWORD
    status: int = 0  # answered to everything
    location: str = ""  # of a redirection
    cut_after: int | None = None  # so many bytes of a pack are sent, then the line breaks
    takes_pushes: bool = True
    drips: bytes | None = None  # answers that hold it come byte by byte
    stalls: threading.Event = field(default_factory=threading.Event)  # no more is sent until `released`
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def git_host(root: Path) -> Iterator[Host]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            if self.headers.get("Transfer-Encoding") != "chunked":
                self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                return
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            self.answer(body)

        def answer(self, body: bytes) -> None:
            host.asked.append(Asked(self.command, self.path, self.headers.get("Authorization"), body))
            wanted = "Basic " + base64.b64encode(host.password.encode()).decode()
            if host.status:
                self.say(host.status, {"Location": host.location + self.path} if host.location else {}, b"")
            elif host.password and self.headers.get("Authorization") != wanted:
                self.say(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
            else:
                self.run_backend(body)

        def run_backend(self, body: bytes) -> None:
            parts = urlsplit(self.path)
            done = subprocess.run(
                [GIT, "http-backend"],
                input=body,
                env=_ENVIRONMENT
                | {
                    "GIT_PROJECT_ROOT": str(root),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                    "REQUEST_METHOD": self.command,
                    "PATH_INFO": unquote(parts.path),
                    "QUERY_STRING": parts.query,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "REMOTE_ADDR": "127.0.0.1",
                }
                # Whoever has a name may push.
                | ({"REMOTE_USER": "somebody"} if host.takes_pushes else {}),
                capture_output=True,
                check=True,
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.say(int(headers.pop("Status", "200").split()[0]), headers, content)

        def say(self, status: int, headers: dict[str, str], content: bytes) -> None:
            is_pack = b"PACK" in content
            does_drip = host.drips is not None and host.drips in content
            with suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if is_pack and host.cut_after is not None:
                    self.wfile.write(content[: host.cut_after])
                    self.wfile.flush()
                    host.stalls.set()
                    host.released.wait(60)
                    self.close_connection = True
                    self.connection.close()
                elif does_drip:
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        host.stalls.set()
                        host.released.wait(0.05)
                else:
                    self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        host = Host(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield host
        finally:
            host.released.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path)
    repository.push({"a.md": "one", "b/c.md": "two", "b/日本 語.md": "三"})
    return repository


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with git_host(tmp_path) as host:
        yield host


def put_program(folder: Path, name: str, script: str) -> Path:
    """A shell script that is found by its name in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
    path.chmod(0o755)
    return path


def all_bytes(folder: Path) -> bytes:
    """Everything that lies in a folder, for a search for what must not be there."""
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def remote_of(url: str | Path, **settings: str) -> Remote:
    given = {f"vault_git_{name}": value for name, value in settings.items()}
    remote = Remote.of(Settings(vault_git_url=str(url), **given))
    assert remote is not None
    return remote


def files_in(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".git" not in path.parts
    }


def marks_in(root: Path) -> dict[str, tuple[int, int, int]]:
    """What tells that a file was not touched."""
    stats = {path: path.lstat() for path in root.rglob("*") if ".git" not in path.parts and path.is_file()}
    return {str(path.relative_to(root)): (at.st_ino, at.st_mtime_ns, at.st_ctime_ns) for path, at in stats.items()}


def began_in(mirrors: Path) -> list[str]:
    """What git or dulwich began to write among the objects and did not bring to an end."""
    files = [path for path in mirrors.rglob("*") if path.is_file() and "objects" in path.parts]
    return [path.name for path in files if "tmp" in path.name or path.suffix in (".keep", ".lock")]


def refusal(remote: Remote, mirrors: Path, kind: type[Exception] = VaultError) -> str:
    with pytest.raises(kind) as caught:
        sync(remote, mirrors)
    assert is_transient(caught.value) == (kind is not VaultError)
    return str(caught.value)
