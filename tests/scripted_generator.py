"""A model for tests that writes what it is told to: cites rightly or wrongly, obeys a note, breaks off."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from nescord import KnowledgeManager
from nescord.generation import Piece, Prompt, Usage
from nescord.generation.service import GenerationService
from nescord.remote.calls import Caller

Writes = Callable[[Prompt], "str | Sequence[str | Exception]"]
_REWRITING = re.compile(r"^Write the last question")


class ScriptedGenerator:
    """`writes` is given the prompt and says the text, or its pieces, where an exception ends it. `prompts` were asked
    for answers, `rewrites` for questions, which are given back as `rewritten` says."""

    model = "scripted"

    def __init__(self, writes: Writes, *, rewritten: Writes | None = None, is_cut: bool = False) -> None:
        self.prompts: list[Prompt] = []
        self.rewrites: list[Prompt] = []
        self._writes, self._rewritten, self._is_cut = writes, rewritten, is_cut

    def stream(self, prompt: Prompt) -> Iterator[Piece]:
        is_rewriting = _REWRITING.match(prompt.system) is not None
        (self.rewrites if is_rewriting else self.prompts).append(prompt)
        writes = self._rewritten if is_rewriting and self._rewritten is not None else self._writes
        written = writes(prompt)
        pieces = [written[at : at + 7] for at in range(0, len(written), 7)] if isinstance(written, str) else written
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield Piece(piece)
        yield Piece("", Usage(100, 20), is_cut=self._is_cut)


def let_write(km: KnowledgeManager, generator: ScriptedGenerator) -> ScriptedGenerator:
    """From now on the answers of that knowledge base are written by `generator`."""
    base = km._base
    base.generation = GenerationService(generator, Caller(base.settings, lambda: base.budget), base.settings)
    return generator


def number_of(prompt: Prompt, phrase: str) -> int:
    """The number of the passage that holds `phrase`, which a model would cite."""
    for number, text in re.findall(r"^\[(\d+)\](.*?)(?=^\[\d+\]|\Z)", prompt.text, re.DOTALL | re.MULTILINE):
        if phrase in text:
            return int(number)
    raise AssertionError(f"{phrase!r} is in no passage of {prompt.text}")
