"""Chroma's own server on the folder of a knowledge base: `python -m nescord.index.server CHROMA RUN PORT`.

Its program is started inside this process: so index.lock, taken here, is held exactly as long as somebody has the
folder open, also when whoever started this is killed. What was left damaged is moved aside first, and a server that was
stopped seals the folder, as everybody does who closes it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nescord.errors import NescordError
from nescord.index.seal import Folder
from nescord.locks import LockName, Locks
from nescord.parent import end_with_parent

HOST = "127.0.0.1"
STOP_GRACE = 8.0
# A process that works embedded has it for the length of a drain.
_PATIENCE = 60.0


def _serve(chroma: Path, run: Path, port: int) -> None:
    with Locks(run, timeout=_PATIENCE).exclusive(LockName.INDEX):
        place = Folder(chroma, run)
        damage, is_in_doubt = place.make_ready()
        if damage:
            sys.stderr.write(f"{chroma} was damaged ({damage}) and is begun anew\n")
        if is_in_doubt:
            place.cast_doubt()
        # Not its Python package, which costs seconds and 80 MB: the program is in here.
        import chromadb_rust_bindings  # type: ignore[import-untyped]  # it has no stubs

        arguments = ["--path", str(chroma), "--host", HOST, "--port", str(port)]
        chromadb_rust_bindings.cli(["chroma", "run", *arguments])  # returns after SIGTERM
        if not place.doubt() and not place.suspicion():
            place.put_seal()


if __name__ == "__main__":
    end_with_parent(STOP_GRACE)
    os.environ["ANONYMIZED_TELEMETRY"] = "False"
    try:
        _serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    except NescordError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
