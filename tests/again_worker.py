"""A process that answers one trigger: `python tests/again_worker.py DATA VAULT NAME [--hold]`

It writes a note NAME.md into the vault and ingests it by turns, as the flow does: plan, then commit. Prints a line for
each: `turn`, and at the end `done SECONDS`. `--hold` waits for a line on stdin after its first plan.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from nescord import KnowledgeManager, Settings


def main() -> None:
    data, vault, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    holds = "--hold" in sys.argv
    with KnowledgeManager.open(Settings(data_dir=data, lock_timeout=60)) as km:
        (vault / f"{name}.md").write_text(f"# {name}\n\nwritten just before its trigger\n", encoding="utf-8")
        begun = time.monotonic()
        with km.ingest_turns(vault) as turns:
            for _ in turns:
                found = km.plan(vault)
                print("turn", flush=True)
                if holds:
                    holds = False
                    sys.stdin.readline()
                km.commit(found)
                km.drain()
        print(f"done {time.monotonic() - begun}", flush=True)


if __name__ == "__main__":
    main()
