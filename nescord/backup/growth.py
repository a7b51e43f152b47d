"""How a folder of backups has grown: the bytes of the packs that its snapshots need, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from nescord.backup.store import BackupStore

_BARS = "▁▂▃▄▅▆▇█"


def growth(store: BackupStore) -> list[tuple[str, int]]:
    """Each snapshot that can be read, oldest first, and how many bytes of packs it and all before it need."""
    seen: dict[str, int] = {}
    grown = []
    for each in store.snapshots():
        if each.manifest is not None:
            seen |= {pack.id: pack.bytes for pack in each.manifest.packs}
            grown.append((each.id, sum(seen.values())))
    return grown


def sparkline(sizes: Sequence[int]) -> str:
    """One bar for each size, from nothing to the largest of them."""
    most = max(sizes, default=0) or 1
    return "".join(_BARS[min(len(_BARS) - 1, size * len(_BARS) // most)] for size in sizes)
