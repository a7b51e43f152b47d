"""What was erased for good, elsewhere: copies of the list that lies beside the backups (`erasures.py`).

An older copy holds what was erased since. Without the list beside it, a restore after the loss of this machine would
bring that back. Each version of the list is an object of its own, which has the SHA-256 of its bytes as its name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

from nescord.backup import erasures
from nescord.backup.encryption import decrypt
from nescord.backup.off_site import OffSite
from nescord.backup.off_site_copies import AGE
from nescord.errors import BackupError, DamagedBackupError

_NAME = re.compile(r"erasures/([0-9a-f]{64})\.jsonl(?:\.age)?")


def erasures_name(sha256: str, recipients: str) -> str:
    """The name of a version whose bytes have that hash as they are stored there."""
    return f"erasures/{sha256}.jsonl{AGE if recipients else ''}"


def versions(names: Iterable[str]) -> list[str]:
    """Those of the names that are versions of the list."""
    return sorted(name for name in names if _NAME.fullmatch(name))


def problems(off_site: OffSite, sizes: Mapping[str, int]) -> list[str]:
    """What is wrong with the versions there; needs no key.

    Raises:
        ServiceUnavailableError, BackupError: they cannot be read.
    """
    found = []
    for name in versions(sizes):
        try:
            _content(off_site, name, sizes[name])
        except DamagedBackupError as error:
            found.append(str(error))
    return found


def fetch_erasures(off_site: OffSite, sizes: Mapping[str, int], backups: Path, identities: Sequence[object]) -> int:
    """Remember here, too, what any of the versions there says; how many erasures were not known here.

    Raises:
        BackupError: one of them is damaged or encrypted to another key, so nobody knows what a restore must leave out.
        ServiceUnavailableError: the place does not answer. OSError: it cannot be written here.
    """
    added = 0
    for name in versions(sizes):
        try:
            content = _content(off_site, name, sizes[name])
            if name.endswith(AGE):
                plain = bytearray()
                decrypt(BytesIO(content), plain.extend, identities, f"{off_site.target}/{name}")
                content = bytes(plain)
        except DamagedBackupError as error:
            raise BackupError(
                f"{error}: it lists what was erased for good, and a restore must not bring that back. Move it away "
                "there to do without it"
            ) from error
        added += erasures.add(backups, content)
    return added


def _content(off_site: OffSite, name: str, size: int) -> bytes:
    content = off_site.read(name, size)
    if erasures_name(hashlib.sha256(content).hexdigest(), "") != name.removesuffix(AGE):
        raise DamagedBackupError(f"{off_site.target}/{name} is damaged: its hash is another")
    return content
