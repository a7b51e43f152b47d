"""Open a Chroma folder for the first time after an unclean end: a child process, because it may be its last act.

A garbled data_level0.bin ends the whole process with SIGSEGV on first use. So somebody else looks first:
`python -m nescord.index.probe FOLDER` opens every collection and asks it for all its rows. It prints what it found
as JSON; being killed by SIGSEGV is an answer, too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from nescord.errors import NescordError, ServiceUnavailableError

# Seconds for a look into a folder, and the signals that a damaged one ends a process with.
PATIENCE = 900
CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})


def find_damage(folder: Path) -> str:
    """What is wrong with the folder, in words; "" when every collection gives all its rows.

    Raises:
        ServiceUnavailableError: it could not be found out.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told,
        subprocess.Popen(
            [sys.executable, "-m", "nescord.index.probe", str(folder)],
            stdin=subprocess.PIPE,  # stays open as long as we live: the child ends with us
            stdout=told,
            stderr=subprocess.STDOUT,
        ) as child,
    ):
        try:
            status = child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        finally:
            child.kill()
        told.seek(0)
        answer = told.read()
    if status < 0 and -status in CRASHES:
        return f"opening it ends the process with {signal.Signals(-status).name}"
    if status != 0:
        raise ServiceUnavailableError(
            f"whether Chroma's folder {folder} is sound could not be found out (status {status}): {answer[-500:]}"
        )
    return str(json.loads(answer.splitlines()[-1])["damage"])


def _look(folder: Path) -> str:
    import numpy as np  # by the child only: whoever keeps a server's folder should not pay for it
    from chromadb.errors import ChromaError

    from nescord.index.embedded import EmbeddedStore

    try:
        store = EmbeddedStore(folder)
        for name, metadata in store.collections().items():
            rows = store.count(name)
            dims = metadata.get("dims")
            if not rows or not isinstance(dims, int):
                continue
            found, _ = store.query(name, np.full(dims, dims**-0.5, dtype=np.float32), rows)
            # A sound graph may not reach a few; whether these are lost, the comparison with SQLite will tell.
            if len(found) < rows * 0.9:
                return f"collection {name} counts {rows} rows but finds {len(found)}"
        store.close()
    except (NescordError, ChromaError) as error:
        # Nothing is asked here that a sound folder does not answer, whatever kind of error Chroma takes it for.
        return str(error)
    return ""


def end_with_parent() -> None:
    """End this process when standard input does: its other end is the parent's alone."""
    sys.stdin.read()
    os._exit(3)


def _main() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.stdout.write("\n" + json.dumps({"damage": _look(Path(sys.argv[1]))}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a damaged store may hang or crash when it is taken down


if __name__ == "__main__":
    _main()
