"""Files that come with a note: which of them are stored, and what is said of the others. Pure.

They lie in the database, so that transactions and backups cover them; hence they must not be large.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from nescord.catalog.attachments import DraftAttachment
from nescord.notes import Attachment

MOST_EACH = 8 * 2**20
MOST_OF_A_NOTE = 25 * 2**20
_LONGEST_NAME = 255


def drafted(attachments: Sequence[Attachment], *, is_limited: bool = True) -> list[DraftAttachment]:
    """Each file with its bytes, as far as they are stored, or with the reason why not. Equal bytes count once.

    What was stored once, and comes from a backup, has no limit: merged notes have the files of many.
    """
    drafts = []
    stored: dict[bytes, int] = {}
    for one in attachments:
        reason, sha256, content = one.reason, None, one.content
        if content is None:
            reason = reason or "it could not be fetched"
        elif is_limited and len(content) > MOST_EACH:
            reason = f"it is larger than {_mib(MOST_EACH)} ({len(content) / 2**20:.1f} MiB)"
        else:
            sha256 = hashlib.sha256(content).digest()
            new = 0 if sha256 in stored else len(content)
            if is_limited and sum(stored.values()) + new > MOST_OF_A_NOTE:
                reason, sha256 = f"with it the files of this note would be larger than {_mib(MOST_OF_A_NOTE)}", None
            else:
                stored[sha256], reason = len(content), ""
        size = one.size if content is None else len(content)
        kept = content if sha256 else None
        drafts.append(DraftAttachment(_line(one.name) or "file", _line(one.media_type), size, sha256, kept, reason))
    return drafts


def names(attachments: Sequence[Attachment]) -> str:
    """What a note says that has files and no text: by their names it can be found."""
    return "\n\n".join(_line(one.name) or "file" for one in attachments)


def _mib(size: int) -> str:
    return f"{size // 2**20} MiB"


def _line(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())[:_LONGEST_NAME]
