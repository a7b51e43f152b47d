"""What lies beside the backups for somebody who has lost this program: how to get the database back without it."""

from __future__ import annotations

SCRIPT = b'''\
"""Put a snapshot together: python3 restore.py [ID] OUTPUT. Needs Python 3 and the command zstd, nothing else."""

import hashlib, json, pathlib, subprocess, sys

here = pathlib.Path(__file__).resolve().parent
unpack = lambda path: subprocess.run(["zstd", "-dcq", str(path)], check=True, stdout=subprocess.PIPE).stdout
wanted = f"{sys.argv[1]}.json.zst" if len(sys.argv) > 2 else "*.json.zst"
manifest = json.loads(unpack(sorted((here / "snapshots").glob(wanted))[-1]))
size, packs = manifest["page_size"], {}
digest = hashlib.sha256()
with open(sys.argv[-1], "xb") as database:
    for pack, first, length in manifest["runs"]:
        name = manifest["packs"][pack]["id"]
        if name not in packs:
            packs[name] = unpack(here / "packs" / f"{name}.pack")
        pages = packs[name][first * size : (first + length) * size]
        database.write(pages)
        digest.update(pages)
if digest.hexdigest() != manifest["sha256"]:
    sys.exit("NOT the database that was backed up: try an earlier snapshot")
print(f"{manifest['id']}: {manifest['counts']} restored to {sys.argv[-1]}")
'''

README = b"""\
# How to restore without NescordBot

These are backups of a NescordBot knowledge base, a SQLite database. `snapshots/` holds one manifest a snapshot,
`packs/` the pages of the database. With Python 3 and the command `zstd`:

    python3 restore.py nescordbot.db                              # the newest snapshot
    python3 restore.py 000012-20260131T033000Z nescordbot.db      # a certain one

It says so when what it wrote is not what was backed up. Notes are in the tables `note` and `note_text`:

    sqlite3 nescordbot.db "SELECT path, body FROM note JOIN note_text ON note_text.note = note.key"

Files that were kept with notes are in `attachment`, their bytes in `blob`:

    sqlite3 nescordbot.db "SELECT writefile(ordinal || '-' || name, content) FROM attachment JOIN blob USING (sha256)"

By hand: a manifest is JSON (`zstd -dc snapshots/ID.json.zst`); `zstd -dc packs/ID.pack` gives the pages of a pack, each
of `page_size` bytes; `runs` lists in order which pages of which pack make up the database; `sha256` is that of all.

With NescordBot: `nescord backup restore ID`.
"""
