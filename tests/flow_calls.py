"""Call flows one after the other, as told by a JSON list of [name of the flow, parameters]; print their states as JSON.

A process of its own: Prefect reads its settings at import, and imports much that pytest would judge by our rules.
"""

from __future__ import annotations

import importlib
import json
import sys

states = []
for name, parameters in json.loads(sys.argv[1]):
    room, _, function = name.rpartition(":")
    flow = getattr(importlib.import_module(room or f"flows.{function}"), function)
    state = flow(**parameters, return_state=True)
    states.append({"type": state.type.value, "message": state.message or ""})
print(json.dumps(states))
