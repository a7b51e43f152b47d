"""The guards of conftest.py: a test that does what it must not is a failed test, even if it hides it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAUGHTY = """
import os, socket, subprocess, sys
from contextlib import suppress

def test_connects_out():
    with suppress(Exception):
        socket.create_connection(("192.0.2.1", 80), timeout=1)

def test_sends_a_datagram():
    with suppress(Exception), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", ("192.0.2.1", 53))

def test_asks_for_a_name():
    with suppress(Exception):
        socket.getaddrinfo("example.invalid", 80)

def test_lets_a_child_connect_out():
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    assert b"OffLoopbackError" in subprocess.run([sys.executable, "-c", code], capture_output=True).stderr

def test_leaves_a_child(tmp_path):
    child = subprocess.Popen(["sleep", "60"])
    child.returncode = 0  # so that its destructor has nothing to warn about

def test_leaves_a_grandchild():
    subprocess.run(["sh", "-c", "sleep 61 >/dev/null 2>&1 &"], check=True)

def test_behaves():
    ours = {name: value for name, value in os.environ.items() if name.startswith(("NESCORD_", "GEMINI_"))}
    assert ours.pop("NESCORD_EMBEDDER") == "none"
    assert not ours.keys() - {"NESCORD_SOAK"}
    assert os.listdir() == []
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each naughty test in a pytest of its own, with this conftest as a plugin."""
    folder = tmp_path_factory.mktemp("naughty")
    (folder / "test_naughty.py").write_text(NAUGHTY, encoding="utf-8")
    command = (sys.executable, "-m", "pytest", "-q", "-rA", "-p", "conftest", "-c", "/dev/null", "--rootdir", ".")
    done = subprocess.run(
        (*command, "-p", "no:cacheprovider", "test_naughty.py"),
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(HERE),
            "NESCORD_VAULT": "elsewhere",
            "GEMINI_API_KEY": "k",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, str] = {}
    for outcome, name in re.findall(r"^(PASSED|FAILED|ERROR) test_naughty\.py::(\w+)", done.stdout, re.MULTILINE):
        found[name] = outcome if found.get(name) != "ERROR" else "ERROR"
    assert found, done.stdout + done.stderr
    return found


@pytest.mark.parametrize(
    "name",
    [
        "test_connects_out",
        "test_sends_a_datagram",
        "test_asks_for_a_name",
        "test_lets_a_child_connect_out",
        "test_leaves_a_child",
        "test_leaves_a_grandchild",
    ],
)
def test_a_test_that_misbehaves_fails(outcomes: dict[str, str], name: str) -> None:
    assert outcomes[name] == "ERROR"


def test_a_test_that_behaves_passes_with_no_setting_from_outside(outcomes: dict[str, str]) -> None:
    assert outcomes["test_behaves"] == "PASSED"


def test_the_loopback_and_unix_sockets_work() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, port), timeout=5).close()
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"hello")
        assert right.recv(5) == b"hello"
