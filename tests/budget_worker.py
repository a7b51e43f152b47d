"""A process that calls a model elsewhere, as far as the budget knows.

    python tests/budget_worker.py DATA LIMIT TOKENS SECONDS

Reserves up to TOKENS, says {"reserved": tokens} before the call and {"settled": tokens} after it. When it is refused it
wants less, until a single token is refused ({"refused": …}). A call takes SECONDS. A line on stdin begins it.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

from nescord import KnowledgeManager, Settings
from nescord.budget import Purpose
from nescord.errors import BudgetError


def say(**line: object) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def main() -> None:
    data, limit, most, seconds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    settings = Settings(data_dir=data, gemini_monthly_limit=limit, embedder="none", vector="exact")
    with KnowledgeManager.open_existing(settings) as km:
        say(ready=os.getpid())
        sys.stdin.readline()
        while True:
            wanted = random.randint(1, most)
            try:
                reservation = km.budget.reserve(Purpose.EMBED_NEW, "gemini-embedding-001", wanted)
            except BudgetError as error:
                if wanted == 1:
                    say(refused=str(error))
                    return
                most = wanted // 2
                continue
            say(reserved=wanted)
            time.sleep(seconds)
            reservation.settle(wanted)
            say(settled=wanted)


if __name__ == "__main__":
    main()
