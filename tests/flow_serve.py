"""Serve the ingest flow every few seconds, as a deployment named `scheduled`, with the parameters given as JSON."""

from __future__ import annotations

import json
import sys

from flows.ingest import ingest

# Each run is a spawned process, which imports this module again.
if __name__ == "__main__":
    ingest.serve(name="scheduled", interval=5, parameters=json.loads(sys.argv[1]), pause_on_shutdown=False)
