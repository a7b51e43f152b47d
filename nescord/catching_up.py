"""Compare the running Chroma server with SQLite and mend it: `python -m nescord.catching_up`, by `nescord services`.

A process of its own, since the supervisor has neither the database nor numpy in memory. Nothing is embedded.
"""

from __future__ import annotations

import sys

from nescord.errors import NescordError
from nescord.knowledge import KnowledgeManager
from nescord.parent import end_with_parent

_GRACE = 5.0


def _main() -> int:
    end_with_parent(_GRACE)
    try:
        with KnowledgeManager.open_existing() as knowledge:
            report = knowledge.drain()
    except NescordError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stderr.write("".join(f"{reason}\n" for reason in report.degraded))
    sys.stderr.write(f"{report.indexed} vectors were put into Chroma\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
