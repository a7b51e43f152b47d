"""The fake in a process of its own: `python -m tests.fakes.gemini [PORT]` from the root of the repository.

The first line of its output is its URL; it ends with its input. `GET /fake/counts` tells what it was asked, and
`POST /fake/fail` takes the arguments of `FakeGemini.fail` as JSON.
"""

from __future__ import annotations

import sys

from tests.fakes.gemini.server import FakeGemini

with FakeGemini(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as gemini:
    print(gemini.url, flush=True)
    sys.stdin.read()
