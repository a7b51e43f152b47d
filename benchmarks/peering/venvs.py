"""A virtual environment for each peer, made when it is first needed: its packages are never those of the product."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peering.measure import ROOT

PINS = Path(__file__).parent / "pins"
# Adapters whose pins have another name: that of the package, which a module beside it could not have.
PINNED = {
    "langchain_index": "langchain",
    "langchain_cached": "langchain",
    "llm_cli": "llm",
    "sqlite_utils_fts": "sqlite-utils",
    "txtai_index": "txtai",
}
FOLDER = ROOT / "data" / "peers" / "venvs"


def environment(name: str, folder: Path = FOLDER) -> Path:
    """The interpreter that the peer runs in: the project's own where no pins are.

    Made of pins/NAME.txt and pins/common.txt, and made anew where these have changed.

    Raises:
        subprocess.CalledProcessError: it could not be made; stderr tells why.
    """
    name = PINNED.get(name, name)
    pins = PINS / f"{name}.txt"
    if not pins.exists():
        return Path(sys.executable)
    place = folder / name
    stamp, wanted = place / ".pins", pins.read_text() + (PINS / "common.txt").read_text()
    python = place / "bin" / "python"
    if not (stamp.exists() and stamp.read_text() == wanted):
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
        folder.mkdir(parents=True, exist_ok=True)
        _quietly(uv, "venv", "--clear", "--python", sys.executable, str(place))
        # Compiled now, or the first step would pay for it.
        files = ("-r", str(pins), "-r", str(PINS / "common.txt"))
        _quietly(uv, "pip", "install", "--compile-bytecode", "--python", str(python), *files)
        stamp.write_text(wanted)
    return python


def _quietly(*command: str) -> None:
    # Where wheels lie at hand, pip is told so; uv asks another variable.
    found = {"UV_FIND_LINKS": links} if (links := os.environ.get("PIP_FIND_LINKS")) else {}
    subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **found})
