"""Which new file is which vanished note under a new name.

Equal content first; then, for a note that was moved and edited, the pair that shares the most chunks, when at least
60 % agree. One to one, the best pair first, so that an edited copy never takes what belongs to the real move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from nescord.catalog.notes import DraftNote, KnownNote
from nescord.decoding import DecodeError
from nescord.sources.vault import Content, FoundFile, UnreadableError

# Share of chunks that must agree before a vanished and a new note are taken for one.
AGREEMENT = 0.6


def renames(
    new: Sequence[FoundFile],
    vanished: Mapping[str, KnownNote],
    *,
    read: Callable[[FoundFile], Content],
    draft: Callable[[FoundFile, Content], DraftNote],
    hashes: Callable[[KnownNote], Sequence[bytes]],
) -> dict[str, KnownNote]:
    """Pair new files with vanished notes: raw path of the file -> the note it was.

    Files are read here and again when they are taken: a rename is rare, and keeping texts would cost their memory.
    """
    pairs: dict[str, KnownNote] = {}
    by_content: dict[bytes, list[KnownNote]] = {}
    for note in sorted(vanished.values(), key=lambda note: note.path, reverse=True):
        by_content.setdefault(note.content_hash, []).append(note)
    rest: list[tuple[FoundFile, Counter[bytes]]] = []
    for file in new:
        try:
            content = read(file)
            same = by_content.get(content.digest)
            if same:
                pairs[file.raw] = same.pop()
            else:
                rest.append((file, Counter(chunk.text_hash for chunk in draft(file, content).chunks)))
        except (UnreadableError, DecodeError):
            continue
    left = [note for notes in by_content.values() for note in notes]
    pairs.update(_moved_and_edited(rest, [(note, Counter(hashes(note))) for note in left]))
    return pairs


def _moved_and_edited(
    new: Sequence[tuple[FoundFile, Counter[bytes]]], old: Sequence[tuple[KnownNote, Counter[bytes]]]
) -> dict[str, KnownNote]:
    holders: dict[bytes, list[int]] = {}
    for index, (_, chunks) in enumerate(old):
        for text_hash in chunks:
            holders.setdefault(text_hash, []).append(index)
    scores = []
    for position, (file, chunks) in enumerate(new):
        for index in {index for text_hash in chunks for index in holders.get(text_hash, ())}:
            note, stored = old[index]
            agreement = (chunks & stored).total() / max(chunks.total(), stored.total())
            if agreement >= AGREEMENT:
                scores.append((-agreement, file.path, note.path, position, index))
    pairs: dict[str, KnownNote] = {}
    taken: set[int] = set()
    for _, _, _, position, index in sorted(scores):
        raw = new[position][0].raw
        if raw not in pairs and index not in taken:
            taken.add(index)
            pairs[raw] = old[index][0]
    return pairs
