"""Keeps tests, and the Python processes that they start, off the network: only the loopback and Unix sockets work.

An audit hook sees every attempt, whatever library makes it. It raises, and writes the attempt down, because code that
"degrades" would swallow the error: the test that made the attempt fails afterwards (tests/conftest.py).
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

ATTEMPTS = "OFFLINE_GUARD_FILE"
_EVENTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_NAMES = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost"})


class OffLoopbackError(OSError):
    """A test reached for the network."""


def install() -> None:
    """Begin to watch; there is no way back in this process."""
    sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in _LOOKUPS:
        host = arguments[0]
    elif event in _EVENTS:
        sock, address = arguments[0], arguments[-1]
        if not isinstance(sock, socket.socket) or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        host = address[0] if isinstance(address, tuple) and address else None
    else:
        return
    if _is_here(host):
        return
    attempt = f"{event} {host!r} by {' '.join(sys.orig_argv)[:200]}"
    file = os.environ.get(ATTEMPTS)
    if file:
        with Path(file).open("a", encoding="utf-8", errors="replace") as attempts:
            attempts.write(f"{attempt}\n")
    raise OffLoopbackError(f"tests stay on this machine: {attempt}")


def _is_here(host: object) -> bool:
    import ipaddress

    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if name is None or name in _NAMES or name == socket.gethostname():
        return True
    try:
        address = ipaddress.ip_address(str(name).partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified
