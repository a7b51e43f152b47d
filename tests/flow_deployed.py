"""Serve one flow, named as an argument, without a schedule: as a deployment named `by-hand`."""

from __future__ import annotations

import importlib
import json
import sys

# Each run is a spawned process, which imports this module again.
if __name__ == "__main__":
    name = json.loads(sys.argv[1])
    getattr(importlib.import_module(f"flows.{name}"), name).serve(name="by-hand", pause_on_shutdown=False)
