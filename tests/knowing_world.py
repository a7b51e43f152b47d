"""A small vault that is linked, tagged and partly there twice, in Japanese and English, for tests of what is known."""

from __future__ import annotations

from pathlib import Path

from hashing_embedder import HashingEmbedder
from vaults import open_base, write_notes

from nescord import KnowledgeManager

TEA = """---
tags: [drink, kitchen]
---
# Green tea

Green tea wants water of seventy degrees. Boiling water burns the leaves of green tea and makes it bitter.
Steep the leaves for one minute and pour everything out. The second infusion of the leaves is shorter.
"""
UMEBOSHI = """---
tags: [保存食, 台所]
---
# 梅干し

梅干しの塩分は十八パーセント。土用干しは三日三晩つづける。塩分を減らすと梅干しにカビが出る。
赤紫蘇は塩で揉んでから入れる。
"""
COFFEE = """---
tags: [drink, kitchen]
---
# Cold brew

Coffee steeps in cold water over night. Unlike Green tea the leaves stay out of it. See [[Grinder]] and [[Nowhere]].
"""
GRINDER = """---
tags: [kitchen]
---
# Grinder

The grinder grinds coffee for the cold brew. A coarse grind for water that is cold. [[Home]]

- [ ] clean the burrs
- [x] buy beans
"""
SHISO = """---
tags: [保存食]
---
# 赤紫蘇

赤紫蘇は六月に出回る。梅干しの色は赤紫蘇の色。[[Home]]

- [ ] 苗を植える
"""
VAULT = {
    "Kitchen/Green tea.md": TEA,
    "Kitchen/Green tea (copy).md": TEA.replace("seventy", "eighty"),
    "Kitchen/Cold brew.md": COFFEE,
    "Kitchen/Grinder.md": GRINDER,
    "台所/梅干し.md": UMEBOSHI,
    "台所/梅干し 写し.md": UMEBOSHI.replace("十八", "十七").replace(", 台所", ""),
    "台所/赤紫蘇.md": SHISO,
    "Home.md": "# Home\n\n[[Cold brew]] and [[赤紫蘇]] begin here. ![[picture.png]]\n",
    "Alone.md": "# Alone\n\nNothing leads here, and nothing leads away.\n",
}


# The pace of calls is that of the whole process: one test would wait for what another has sent.
FAST = {"gemini_requests_per_minute": 1_000_000, "gemini_tokens_per_minute": 1_000_000_000}


def grown(folder: Path, *, embed: bool = True, notes: dict[str, str] | None = None) -> KnowledgeManager:
    """A knowledge base of VAULT (or other notes), with vectors by the test's own model or with none."""
    write_notes(folder / "vault", VAULT if notes is None else notes)
    embedder = HashingEmbedder() if embed else "none"
    km = open_base(folder / "state", embedder=embedder, vector="exact", **FAST)
    km.ingest(folder / "vault")
    return km
