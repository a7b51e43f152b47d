"""A process that sends the digests that are due, and kills itself when it is about to commit for the so-manieth time.

`python tests/digest_worker.py DATA API_BASE TOKEN COMMITS` (0: never)
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nescord import KnowledgeManager, Settings
from nescord.digests import send_due


def main() -> None:
    left = int(sys.argv[4])

    def about_to_commit() -> bool:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    settings = Settings(
        data_dir=Path(sys.argv[1]), embedder="none", discord_api_base=sys.argv[2], discord_token=sys.argv[3]
    )
    with KnowledgeManager.open_existing(settings) as km:
        km._base._catalog._writer.set_commit_hook(about_to_commit)
        send_due(settings, km, datetime.now(UTC) + timedelta(seconds=2))


if __name__ == "__main__":
    main()
