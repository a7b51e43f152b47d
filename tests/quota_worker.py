"""A process in which a person and a guild do something as often as they may.

    python tests/quota_worker.py DATA PERSON GUILD QUOTA MOMENT

Says "ready", waits for a line on stdin, then counts searches until it is refused, and says how many went through.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from nescord import KnowledgeManager, Settings
from nescord.errors import QuotaError
from nescord.quotas import Quotas


def main() -> None:
    data, person, guild, quota, moment = sys.argv[1:]
    settings = Settings(data_dir=Path(data), embedder="none", vector="exact", quota_searches=quota)
    with KnowledgeManager.open_existing(settings) as km:
        quotas = Quotas(km._base.verb, settings, now=lambda: datetime.fromisoformat(moment))
        print("ready", flush=True)
        sys.stdin.readline()
        taken = 0
        while True:
            try:
                quotas.take("searches", person, guild)
            except QuotaError as error:
                print(taken, error.used_up, flush=True)
                return
            taken += 1


if __name__ == "__main__":
    main()
