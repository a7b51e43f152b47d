"""Run the ingest flow once, loaded as a served deployment loads it; print what it returned as JSON."""

from __future__ import annotations

import json
import sys

from prefect.flows import load_flow_from_entrypoint

# `dask:N` starts processes that import this module again.
if __name__ == "__main__":
    ingest = load_flow_from_entrypoint("flows/ingest.py:ingest")
    print(json.dumps(ingest(**json.loads(sys.argv[1]))))
