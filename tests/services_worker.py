"""`nescord services` without Prefect, for tests of what it does about Chroma: `python services_worker.py DATA_DIR`.

PREFECT_API_URL names a server of the test, and what is served is this file once more, which then only sleeps.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from nescord.errors import NescordError
from nescord.serving import serve
from nescord.settings import Settings


def main() -> int:
    if len(sys.argv) < 2:
        time.sleep(600)
    try:
        return serve(
            Settings(data_dir=Path(sys.argv[1])), lambda text: print(text, flush=True), module=Path(__file__).stem
        )
    except NescordError as error:
        print(error, flush=True)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
