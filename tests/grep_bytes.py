"""Say `word: file` of each word (a JSON list of hex on stdin) that is in a file of a data folder, its backups but for.

`python tests/grep_bytes.py FOLDER`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

folder = Path(sys.argv[1])
words = [bytes.fromhex(word) for word in json.load(sys.stdin)]
for path in sorted(folder.rglob("*")):
    place = path.relative_to(folder)
    if path.is_file() and place.parts[0] != "backups":
        content = path.read_bytes()
        for word in words:
            if word in content:
                print(f"{word[:24].decode('utf-8', 'replace')}: {place}")
