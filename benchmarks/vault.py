"""A vault as a person might keep it, of any size, made from a seed: half Japanese, half English.

Real vaults cannot be committed, and figures about someone's own notes cannot be repeated. `generate` makes one with
the statistics that matter to ingest and search (lengths, folders, Zipf-distributed words, bursts of a note's own
terms, structure, links, repeated chunks); `edit` and `rename` change it as a day's work would; `sample_queries` asks
it what its owner might. The same seed gives the same bytes.

    python -m benchmarks.vault DIR --notes 8000 --seed 1
"""

from __future__ import annotations

import argparse
import math
import os
import random
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path

from benchmarks.lexicon import FUNCTION_WORDS, Lang, Pen, topic_words

MEAN_BYTES = 3_500
MAX_BYTES = 60_000
_SIGMA = 1.05
"""Of the logarithm of a note's length: a median of 2 KB, one note in a hundred beyond 20 KB."""
_LOCATION = math.log(MEAN_BYTES) - _SIGMA**2 / 2
_ONE_LINERS, _MIXED, _FRONT_MATTER, _DANGLING, _BOILERPLATE = 0.02, 0.04, 0.60, 0.05, 0.03
_TOPICS = 60
_BYTES_PER_CHUNK = 1_100
"""About what a chunk holds; turns "3 % of chunks" into sections per note."""

_TOP_FOLDERS = ("Projects", "仕事", "Journal", "読書", "Areas", "生活", "Archive", "学習")
_SUB_FOLDERS = ("meetings", "会議", "ideas", "記録", "reference", "資料", "drafts", "下書き")


@dataclass(frozen=True, slots=True)
class VaultFacts:
    """What was generated. `boilerplate` counts sections that equal a section of other notes."""

    notes: int
    bytes: int
    folders: int
    japanese: int
    english: int
    mixed: int
    front_matter: int
    links: int
    dangling: int
    boilerplate: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a note will be, settled before any text so that notes can link to each other."""

    folder: str
    title: str
    langs: tuple[Lang, ...]
    topic: int
    terms: tuple[str, ...]
    size: int
    written: datetime


@dataclass(slots=True)
class _Counts:
    front_matter: int = 0
    links: int = 0
    dangling: int = 0
    boilerplate: int = 0


def generate(root: Path, notes: int, seed: int) -> VaultFacts:
    """Write a vault of `notes` notes into `root`, which must be empty or missing."""
    if root.is_dir() and any(root.iterdir()):
        raise FileExistsError(f"{root} is not empty: choose a new folder for the vault")
    plans = _plans(notes, random.Random(f"plans {seed}"))
    titles = [plan.title for plan in plans]
    counts = _Counts()
    written = 0
    for number, plan in enumerate(plans):
        text = _Writer(plan, titles, counts, random.Random(f"note {seed} {number}")).note()
        content = text.encode()
        written += len(content)
        path = root / plan.folder / f"{plan.title}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (plan.written.timestamp(),) * 2)
    return VaultFacts(
        notes=notes,
        bytes=written,
        folders=len({plan.folder for plan in plans}),
        japanese=sum(plan.langs == ("ja",) for plan in plans),
        english=sum(plan.langs == ("en",) for plan in plans),
        mixed=sum(len(plan.langs) == 2 for plan in plans),
        front_matter=counts.front_matter,
        links=counts.links,
        dangling=counts.dangling,
        boilerplate=counts.boilerplate,
    )


def edit(root: Path, fraction: float, seed: int) -> list[Path]:
    """Append, alter or delete one block in this share of the notes; returns their paths within `root`."""
    rng = random.Random(f"edit {seed}")
    paths = _paths(root)
    chosen = sorted(rng.sample(paths, round(fraction * len(paths))))
    for path in chosen:
        text = (root / path).read_text("utf-8")
        pen = Pen(lang_of(text), rng, topic=rng.randrange(_TOPICS), terms=(), size=600)
        blocks = text.rstrip("\n").split("\n\n")
        first = 1 if text.startswith("---\n") else 0  # front matter is no block of the text
        change = rng.choice(("append", "alter", "delete"))
        if change == "append" or len(blocks) - first < 2:
            blocks.append(pen.paragraph())
        else:
            at = rng.randrange(first, len(blocks))
            blocks[at : at + 1] = [pen.paragraph()] if change == "alter" else []
        (root / path).write_text("\n\n".join(blocks) + "\n", "utf-8", newline="\n")
    return chosen


def rename(root: Path, count: int, seed: int) -> list[tuple[Path, Path]]:
    """Give `count` notes another name, half of them another folder too; returns (old, new) within `root`."""
    rng = random.Random(f"rename {seed}")
    paths = _paths(root)
    folders = sorted({path.parent for path in paths})
    renamed: list[tuple[Path, Path]] = []
    for old in sorted(rng.sample(paths, count)):
        folder = rng.choice(folders) if rng.random() < 0.5 else old.parent
        new = folder / f"{old.stem} ({seed}-{len(renamed)}).md"
        (root / old).rename(root / new)
        renamed.append((old, new))
    return renamed


def sample_queries(root: Path, count: int, seed: int, lang: Lang) -> list[str]:
    """Queries of one to three words (Japanese: compounds or loanwords) that stand together in a note of `lang`."""
    rng = random.Random(f"queries {seed} {lang}")
    term = re.compile(r"[一-鿿々]{2,6}|[ァ-ヺー]{3,}" if lang == "ja" else r"[A-Za-z]{4,}")
    paths = _paths(root)
    queries: list[str] = []
    for _ in range(50 * count):
        if len(queries) == count:
            break
        text = (root / rng.choice(paths)).read_text("utf-8")
        if lang_of(text) != lang:
            continue
        blocks = [block for block in text.split("\n\n") if not block.startswith(("---\n", "```", "|"))]
        found = dict.fromkeys(term.findall(rng.choice(blocks) if blocks else ""))
        terms = [word for word in found if word.lower() not in FUNCTION_WORDS]
        if terms:
            at = rng.randrange(len(terms))
            queries.append(" ".join(terms[at : at + rng.choice((1, 1, 2, 2, 3))]))
    return queries


def lang_of(text: str) -> Lang:
    kana = sum("぀" <= character <= "ヿ" for character in text)
    return "ja" if kana * 10 > len(text) else "en"


def _paths(root: Path) -> list[Path]:
    return sorted(path.relative_to(root) for path in root.rglob("*.md"))


@cache
def _boilerplate(lang: Lang) -> tuple[str, ...]:
    """Sections that people paste into many notes: templates, notices, checklists."""
    rng = random.Random(f"boilerplate {lang}")
    sections = []
    for number in range(14):
        pen = Pen(lang, rng, topic=number, terms=(), size=1_500)
        heading = "## 定型事項" if lang == "ja" else "## Standing notice"
        sections.append("\n\n".join([f"{heading} {number + 1}", *(pen.paragraph(4) for _ in range(3))]))
    return tuple(sections)


def _plans(notes: int, rng: random.Random) -> list[_Plan]:
    folders = _folders(rng)
    weights = list(accumulate(1 / (rank + 4) for rank in range(len(folders))))
    taken: set[str] = set()
    plans = []
    for number in range(notes):
        lang: Lang = "ja" if number % 2 else "en"
        folder = rng.choices(folders, cum_weights=weights)[0]
        topic = folders.index(folder) % _TOPICS if rng.random() < 0.7 else rng.randrange(_TOPICS)
        terms = tuple(rng.sample(topic_words(lang, topic), rng.randint(3, 6)))
        written = datetime(2019, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(60 * 24 * 365 * 6))
        title = _title(lang, terms, written, rng)
        if title.casefold() in taken:
            title = f"{title} {number}"
        taken.add(title.casefold())
        other: Lang = "en" if lang == "ja" else "ja"
        langs = (lang, other) if rng.random() < _MIXED else (lang,)
        size = 0 if rng.random() < _ONE_LINERS else min(MAX_BYTES, int(rng.lognormvariate(_LOCATION, _SIGMA)))
        plans.append(_Plan(folder, title, langs, topic, terms, size, written))
    return plans


def _folders(rng: random.Random) -> list[str]:
    """Some sixty folders, two or three levels deep."""
    folders = []
    for top in _TOP_FOLDERS:
        for sub in rng.sample(_SUB_FOLDERS, 5):
            folders.append(f"{top}/{sub}")
            if rng.random() < 0.5:
                folders.append(f"{top}/{sub}/{rng.randint(2019, 2024)}")
    rng.shuffle(folders)
    return folders


def _title(lang: Lang, terms: tuple[str, ...], written: datetime, rng: random.Random) -> str:
    a, b, c = terms[:3]
    day = f"{written:%Y-%m-%d}"
    if lang == "ja":
        return rng.choice((f"{a}と{b}の{c}", f"{a}の{b}", f"{day} {a}会議", f"{a}{b}メモ", f"{b}のための{a}"))
    plain = (f"{a} and {b}".capitalize(), f"{a.title()} {b} {c}")
    return rng.choice((*plain, f"How to keep {a} {b}", f"Notes on {a}", f"{day} {a} meeting"))


class _Writer:
    """Writes one note: front matter, title, then blocks until its size is reached."""

    def __init__(self, plan: _Plan, titles: list[str], counts: _Counts, rng: random.Random) -> None:
        self._plan = plan
        self._titles = titles
        self._counts = counts
        self._rng = rng
        self._pens = [
            Pen(lang, rng, topic=plan.topic, terms=plan.terms if lang == plan.langs[0] else (), size=plan.size)
            for lang in plan.langs
        ]
        self._pen = self._pens[0]

    def note(self) -> str:
        plan, rng = self._plan, self._rng
        if not plan.size:
            return self._pen.sentence() + "\n"
        blocks = [self._front_matter()] if rng.random() < _FRONT_MATTER else []
        if rng.random() < 0.7:
            blocks.append(f"# {plan.title}")
        paste_at = -1.0
        if rng.random() < _BOILERPLATE * plan.size / _BYTES_PER_CHUNK:
            paste_at = rng.random() * 0.8 * plan.size
        size = sum(len(block.encode()) + 2 for block in blocks)
        while size < plan.size or not blocks:
            self._pen = rng.choice(self._pens)
            if 0 <= paste_at <= size:
                block, paste_at = rng.choice(_boilerplate(self._pen.lang)), -1.0
                self._counts.boilerplate += 1
            else:
                block = self._block(plan.size - size)
            blocks.append(block)
            size += len(block.encode()) + 2
        return "\n\n".join(blocks) + "\n"

    def _front_matter(self) -> str:
        self._counts.front_matter += 1
        rng, plan = self._rng, self._plan
        tags = [plan.terms[0], *rng.sample(topic_words(plan.langs[0], plan.topic)[:12], rng.randint(0, 3))]
        lines = ["---"]
        if rng.random() < 0.5:
            lines.append(f'title: "{plan.title}"')
        match rng.randrange(4):
            case 0:
                lines.append(f"tags: {tags[0]}")
            case 1:
                lines.append(f"tags: [{', '.join(tags)}]")
            case 2:
                lines += ["tags:", *(f"  - {tag}" for tag in tags)]
            case _:
                pass
        lines.append(f"{rng.choice(('created', 'date'))}: {plan.written:%Y-%m-%d}")
        if rng.random() < 0.3:
            lines.append(f"updated: {plan.written + timedelta(days=rng.randrange(90)):%Y-%m-%dT%H:%M:%S}")
        if rng.random() < 0.15:
            lines.append(f"aliases: [{self._pen.phrase()}]")
        return "\n".join([*lines, "---"])

    def _block(self, room: int) -> str:
        rng, pen = self._rng, self._pen
        kind = rng.random()
        if room < 160:
            return pen.sentence()
        if kind < 0.16:
            return f"{'#' * rng.choice((2, 2, 2, 3, 3, 4))} {pen.phrase()}"
        if kind < 0.28:
            return "\n".join(f"{'  ' * (rng.random() < 0.2)}- {pen.sentence()}" for _ in range(rng.randint(2, 7)))
        if kind < 0.33:
            return "\n".join(f"- [{rng.choice(' x')}] {pen.phrase()}" for _ in range(rng.randint(2, 6)))
        if kind < 0.36:
            return self._table()
        if kind < 0.39:
            return self._code()
        if kind < 0.41:
            return f"> {pen.sentence()}"
        return self._adorned(pen.paragraph())

    def _adorned(self, paragraph: str) -> str:
        """The paragraph, perhaps with a link, a tag, code or a URL at its end."""
        rng, pen = self._rng, self._pen
        kind = rng.random()
        if kind < 0.16:
            return f"{paragraph} {self._link()}"
        if kind < 0.22:
            return f"{paragraph} #{pen.word()}"
        if kind < 0.24:
            return f"{paragraph} #{pen.word()}/{pen.word()}"
        if kind < 0.29:
            return f"{paragraph} **{pen.word()}** `{pen.word()}()`"
        if kind < 0.31:
            return f"{paragraph} [{pen.word()}](https://example.org/{rng.randrange(9999)}#section)"
        return paragraph

    def _link(self) -> str:
        self._counts.links += 1
        if self._rng.random() < _DANGLING:
            self._counts.dangling += 1
            return f"[[{self._pen.phrase()} {self._rng.randrange(10_000)}?]]"  # no title has a question mark
        target = self._rng.choice(self._titles)
        return f"[[{target}|{self._pen.word()}]]" if self._rng.random() < 0.2 else f"[[{target}]]"

    def _table(self) -> str:
        word = self._pen.word
        rows = [f"| {word()} | {word()} | {self._rng.randrange(1000)} |" for _ in range(self._rng.randint(2, 8))]
        return "\n".join([f"| {word()} | {word()} | {word()} |", "| --- | --- | ---: |", *rows])

    def _code(self) -> str:
        word, rng = self._pen.word, self._rng
        lines = [f"{word()} = fetch({word()!r}, limit={rng.randrange(100)})" for _ in range(rng.randint(2, 9))]
        return "\n".join([f"```{rng.choice(('python', 'sh', ''))}", *lines, f"# {word()} #not-a-tag", "```"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vault", description="generate a vault")
    parser.add_argument("root", type=Path, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--notes", type=int, default=8_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for name, value in asdict(generate(options.root, options.notes, options.seed)).items():
        print(f"{name:>12}  {value:,}")


if __name__ == "__main__":
    main()
