"""A parsed note → chunks: pieces of its body along its structure, cut where the content says so.

Where a chunk begins depends on the blocks around that place alone, never on what stands at the top of the note, so
that an edit changes the few chunks around it and the rest keep their text, ids and embeddings. The rule is the local
extremum of Bjørner, Blass and Gurevich, "Content-dependent chunking for differential compression, the local maximum
approach" (2010), over blocks instead of bytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from zlib import crc32

from nescord.notes import Block, BlockKind, Chunk, ParsedNote
from nescord.words import CJK

MIN_TARGET = 32
_OVERLAP = 2
# Beyond so many units in a segment that is too long, comparing all ways to cut it costs more than it is worth.
_MOST_COMPARED = 400
# Seams closer than this are not worth a unit of their own (and 20 MB of "a! " would be 7 million of them).
_MIN_PIECE = 8

_SENTENCE = re.compile(r"(?:[。！？｡][」』）)】”’\"']*|[.!?][\"')\]”’]*(?=\s))\s*")
_LINE = re.compile(r"\n\s*(?=\S)")
_ITEM = re.compile(r"\n[ \t]*(?=(?:[-*+]|\d{1,9}[.)])[ \t])")
_LOOSE_ITEM = re.compile(r"\n[ \t]*\r?\n(?=(?:[-*+]|\d{1,9}[.)])[ \t])")
_SPACE = re.compile(r"[\s、，､]+(?=[^\s、，､])")
_SEAMS: dict[BlockKind, tuple[re.Pattern[str], ...]] = {
    "list": (_ITEM, _SENTENCE, _LINE),
    "code": (_LINE,),
    "table": (_LINE,),
    "html": (_LINE,),
    "quote": (_SENTENCE, _LINE),
    "paragraph": (_SENTENCE, _LINE),
}
_CJK = re.compile(f"[{CJK}\u3099\u309a\uff66-\uff9f]")
_FIRST_OF_BLOCK = 7 << 32  # heading levels come before it, seams inside a block after it
_SEAM = 8 << 32

Unit = tuple[int, int, int]
"""start, end and key: what is never cut; the lower its key, the better a chunk begins there."""


def chunk(note: ParsedNote, *, target: int, maximum: int) -> list[Chunk]:
    """Cut a note into chunks of about `target` and at most `maximum` characters.

    Every chunk is `body[start:end]` without outer whitespace, in order; together they hold every other character,
    once, save that a cut forced inside a run of Japanese, Chinese or Korean repeats two of its characters.
    """
    if not MIN_TARGET <= target <= maximum:
        raise ValueError(f"chunk target {target} and maximum {maximum}: {MIN_TARGET} ≤ target ≤ maximum is needed")
    cutter = _Cutter(note.body, target, maximum)
    units = list(cutter.units(note.blocks))
    if not units:
        return []
    chunks: list[Chunk] = []
    path: list[Block] = []
    headings = [block for block in note.blocks if block.level]
    passed = 0
    for start, end in cutter.segments(units):
        while passed < len(headings) and headings[passed].start <= start:
            heading = headings[passed]
            path = [one for one in path if one.level < heading.level]
            path.append(heading)
            passed += 1
        text = note.body[start:end]
        digest = blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
        chunks.append(
            Chunk(len(chunks), " > ".join(one.heading for one in path if one.heading), text, start, end, digest)
        )
    return chunks


class _Cutter:
    def __init__(self, body: str, target: int, maximum: int) -> None:
        self.body = body
        self.target = target
        self.maximum = maximum
        self.window = target // 2
        self.large = maximum // 2

    # --- blocks to units -------------------------------------------------------------------------------------------

    def units(self, blocks: tuple[Block, ...]) -> Iterator[Unit]:
        """A block is a unit, together with the headings right above it; one that is too long is several."""
        above: list[Block] = []
        for block in blocks:
            if block.kind == "heading" and block.end - block.start <= self.maximum:
                above.append(block)
                continue
            # An outline without text: a heading that sticks to the next hundred would make them one.
            if above and above[-1].end - above[0].start > self.window:
                yield from map(self._heading_unit, above)
                above = []
            for part in self._parts(block):
                yield from self._block_units(part, above)
                above = []
        if above and above[-1].end - above[0].start <= self.window:
            yield from self._unit(above[0].start, above[-1].end, above[0].level << 32)
        else:
            yield from map(self._heading_unit, above)

    def _parts(self, block: Block) -> Iterator[Block]:
        """Markdown makes one list of two with only blank lines between: they stay two, as when a text parted them."""
        start = block.start
        if block.kind == "list":
            for match in _LOOSE_ITEM.finditer(self.body, block.start, block.end):
                yield Block("list", start, match.end())
                start = match.end()
        yield block if start == block.start else Block("list", start, block.end)

    def _heading_unit(self, heading: Block) -> Unit:
        return next(self._unit(heading.start, heading.end, heading.level << 32))

    def _block_units(self, block: Block, above: list[Block]) -> Iterator[Unit]:
        start = above[0].start if above else block.start
        rank = above[0].level << 32 if above else _FIRST_OF_BLOCK
        if block.end - start <= self.maximum:
            yield from self._unit(start, block.end, rank)
            return
        # The headings go with the first piece, if that fits. A block that would fit without them is not cut for them:
        # an edit that brings a heading above it should not change all of it.
        for piece_start, piece_end in self._fitting(block.start, block.end, _SEAMS.get(block.kind, (_SENTENCE, _LINE))):
            if above and piece_end - start > self.maximum:
                yield from self._unit(start, above[-1].end, rank)
                rank = _FIRST_OF_BLOCK
            elif above:
                piece_start = start
            above = []
            yield from self._unit(piece_start, piece_end, rank)
            rank = _SEAM

    def _unit(self, start: int, end: int, rank: int) -> Iterator[Unit]:
        text = self.body[start:end]
        inner = text.strip()
        if inner:
            start += len(text) - len(text.lstrip()) if text[0] != inner[0] else 0
            yield start, start + len(inner), rank | crc32(inner.encode(errors="surrogatepass"))

    def _pieces(self, start: int, end: int, seams: tuple[re.Pattern[str], ...]) -> Iterator[tuple[int, int]]:
        """Cut `start:end` at the first kind of seam; what is still too long at the next; then wherever it must be."""
        if not seams:
            yield from self._forced(start, end)
            return
        last = start
        for match in seams[0].finditer(self.body, start, end):
            cut = match.end()
            if cut - last < _MIN_PIECE:
                continue
            yield from self._fitting(last, cut, seams[1:])
            last = cut
        yield from self._fitting(last, end, seams[1:])

    def _fitting(self, start: int, end: int, seams: tuple[re.Pattern[str], ...]) -> Iterator[tuple[int, int]]:
        if end - start <= self.maximum:
            yield start, end
        else:
            yield from self._pieces(start, end, seams)

    def _forced(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """No sentence, no line: at the last space or comma before `target`, or in the middle of a word."""
        while end - start > self.target:
            cut = 0
            for match in _SPACE.finditer(self.body, start + self.window, start + self.target):
                cut = match.end()
            if cut:
                yield start, cut
                start = cut
                continue
            cut = self._whole(start + self.target, start + 1)
            yield start, cut
            if _CJK.match(self.body, cut) and _CJK.match(self.body, cut - 1):
                # A search for the words at the cut finds them in one chunk or the other.
                back = _OVERLAP if _CJK.match(self.body, cut - _OVERLAP) else 1
                cut = self._whole(cut - back, start + 1)
            start = cut
        yield start, end

    def _whole(self, cut: int, lowest: int) -> int:
        """The nearest place at or before `cut` that is not inside a character as people see it."""
        for place in range(cut, max(lowest, cut - 32), -1):
            if not _joined(self.body, place, lowest - 1):
                return place
        return cut

    # --- units to segments -----------------------------------------------------------------------------------------

    def segments(self, units: list[Unit]) -> Iterator[tuple[int, int]]:
        """A unit that fills half a chunk is one; the units between such are cut on their own.

        Beside it there is so little room that where its neighbours go would depend on theirs, and so on: of 60,000
        random edits 3 changed four chunks instead of three, and 1 of 160,000 since such units stand alone.
        """
        run: list[Unit] = []
        for unit in units:
            start, end, _ = unit
            if end - start <= self.large:
                run.append(unit)
                continue
            yield from self._cut_run(run)
            run = []
            yield start, end
        yield from self._cut_run(run)

    def _cut_run(self, units: list[Unit]) -> Iterator[tuple[int, int]]:
        if not units:
            return
        first = 0
        for border in self._borders(units):
            yield from self._fit(units, first, border)
            first = border
        yield from self._fit(units, first, len(units))

    def _borders(self, units: list[Unit]) -> Iterator[int]:
        """Units whose key is lower than all that begin within the window before, and not above those within it after.

        So borders are more than a window apart, and an edit moves only those within a window of it: one before it and
        one after it, hence three chunks at most.
        """
        window = self.window
        count = len(units)
        lowest, highest = units[0][0] + window, units[-1][1] - window
        for i in range(1, count):
            start, _, key = units[i]
            if start <= lowest:
                continue
            if start >= highest:
                return
            j = i - 1
            while j >= 0 and start - units[j][0] <= window and units[j][2] > key:
                j -= 1
            if j >= 0 and start - units[j][0] <= window:
                continue
            j = i + 1
            while j < count and units[j][0] - start <= window and units[j][2] >= key:
                j += 1
            if j == count or units[j][0] - start > window:
                yield i

    def _fit(self, units: list[Unit], first: int, last: int) -> Iterator[tuple[int, int]]:
        """Units `first:last` as one segment, or as several if that is too long."""
        start, end = units[first][0], units[last - 1][1]
        length = end - start
        if length <= self.maximum:
            yield start, end
        elif length > 4 * self.maximum or last - first > _MOST_COMPARED:
            yield from self._filled(units, first, last)
        else:
            yield from self._fewest(units, first, last)

    def _fewest(self, units: list[Unit], first: int, last: int) -> Iterator[tuple[int, int]]:
        """The fewest pieces, then the fewest small ones, then the best places to begin: least is new after an edit."""
        least = self.window // 2
        # For every unit, the cheapest way to cut all before it: pieces, small ones, sum of keys, where the last begins.
        best: list[tuple[int, int, int, int]] = [(0, 0, 0, first)]
        for i in range(first + 1, last + 1):
            end = units[i - 1][1]
            ways: list[tuple[int, int, int, int]] = []
            for j in range(i - 1, first - 1, -1):
                start, _, key = units[j]
                if end - start > self.maximum:
                    break
                pieces, small, keys, _ = best[j - first]
                ways.append((pieces + 1, small + (end - start < least), keys + key, j))
            best.append(min(ways))
        cuts = [last]
        while cuts[-1] > first:
            cuts.append(best[cuts[-1] - first][3])
        cuts.reverse()
        for begin, stop in pairwise(cuts):
            yield units[begin][0], units[stop - 1][1]

    def _filled(self, units: list[Unit], first: int, last: int) -> Iterator[tuple[int, int]]:
        """So long without a border only where text repeats: fill chunk after chunk, which is linear."""
        start, end, _ = units[first]
        for unit_start, unit_end, _ in units[first + 1 : last]:
            if unit_end - start > self.target:
                yield start, end
                start = unit_start
            end = unit_end
        yield start, end


def _joined(text: str, place: int, first: int) -> bool:
    """Whether the characters before and at `place` are one to the eye: accents, emoji sequences, flags, CR LF.

    Flags are counted from `first`, which is a border between characters.
    """
    if place >= len(text):
        return False
    after, before = text[place], text[place - 1]
    if after.isascii():
        return after == "\n" and before == "\r"
    if before == "\u200d" or after == "\u200d" or unicodedata.category(after)[0] == "M":
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if "\U0001f1e6" <= after <= "\U0001f1ff":
        begin = place
        while begin > first and "\U0001f1e6" <= text[begin - 1] <= "\U0001f1ff":
            begin -= 1
        return (place - begin) % 2 == 1
    return False
