"""`nescord up` without Prefect, for tests: `python up_worker.py DATA_DIR [PATIENCE]`.

PREFECT_API_URL names a server of the test; what is served is this file once more, which then only sleeps. The page is
that of the module NESCORD_TEST_WEB, or a toy.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from nescord.errors import NescordError
from nescord.settings import Settings
from nescord.supervise import Policy
from nescord.up import up

QUICK = Policy(first_pause=0.05, longest_pause=0.1, watch_pause=0.2, probe_pause=0.05, queue=20)


def main() -> int:
    if len(sys.argv) < 2:
        time.sleep(600)
    settings = Settings(data_dir=Path(sys.argv[1]))
    patience = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0

    def sink(name: str, line: str) -> None:
        print(f"{name}| {line}", flush=True)

    try:
        web = os.environ.get("NESCORD_TEST_WEB", "toy_web")
        return up(settings, sink, serve=Path(__file__).stem, web=web, policy=QUICK, patience=patience)
    except NescordError as error:
        print(error, flush=True)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
