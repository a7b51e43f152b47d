"""A process that maintains, in the smallest of steps, and is killed so many seconds after it has begun.

`python tests/maintain_worker.py DATA NOW SECONDS`
"""

from __future__ import annotations

import signal
import sys
from datetime import datetime
from pathlib import Path

from nescord import KnowledgeManager, Settings
from nescord.catalog import maintenance
from nescord.maintain import database, maintain


def main() -> None:
    database._BATCH_NOTES = database._BATCH_VECTORS = 1
    maintenance._MERGED_PAGES = 1
    with KnowledgeManager.open(Settings(data_dir=Path(sys.argv[1]), vector="exact")) as km:
        signal.setitimer(signal.ITIMER_REAL, float(sys.argv[3]))  # nobody handles it: the kernel ends the process
        report = maintain(km._base, now=datetime.fromisoformat(sys.argv[2]))
        assert report, report.failed


if __name__ == "__main__":
    main()
