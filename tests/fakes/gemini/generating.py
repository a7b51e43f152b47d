"""What the fake's generator says: what a test scripts, or a sentence of the first quoted note with its citation."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fakes.gemini.tokens import count_tokens

JsonObject = dict[str, Any]

# enum-encoding=int, as google-generativeai asks for, and what stands for each name.
FINISH_REASONS = {"STOP": 1, "MAX_TOKENS": 2, "SAFETY": 3, "RECITATION": 4, "OTHER": 5, "PROHIBITED_CONTENT": 8}
BLOCK_REASONS = {"SAFETY": 1, "OTHER": 2, "BLOCKLIST": 3, "PROHIBITED_CONTENT": 4}
_PIECE = 16
_NOTE = re.compile(r"\[(\d+)\][^\S\n]*(.*?)(?=\n\s*\[\d+\]|\Z)", re.DOTALL)
_SENTENCE = re.compile(r"[^。.!?\n]{4,}[。.!?]?")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for text: the system instruction, the turns as (role, text), and the limit of the answer."""

    model: str
    system: str
    turns: Sequence[tuple[str, str]]
    max_tokens: int | None

    @property
    def text(self) -> str:
        """All that a person, or a note quoted by us, says; without the system instruction."""
        return "\n".join(text for _, text in self.turns)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its pieces as they are streamed, why it ends ("": not said), and tokens thought and not written."""

    pieces: Sequence[str]
    finish: str = "STOP"
    thoughts: int = 0


Answers = Callable[[Asked], "str | Sequence[str] | Reply"]


def asked(model: str, body: JsonObject) -> Asked:
    turns = [(turn.get("role", "user"), _text(turn)) for turn in body.get("contents", ())]
    limit = body.get("generationConfig", {}).get("maxOutputTokens")
    return Asked(model, _text(body.get("systemInstruction", {})), turns, limit)


def reply_of(answer: str | Sequence[str] | Reply) -> Reply:
    if isinstance(answer, Reply):
        return answer
    if isinstance(answer, str):
        return Reply([answer[at : at + _PIECE] for at in range(0, len(answer), _PIECE)])
    return Reply(list(answer))


def by_itself(request: Asked) -> str:
    """The first sentence of the first quoted note, cited; without one, the question back."""
    for number, note in _NOTE.findall(request.text):
        quoted = "\n".join(line[2:] for line in note.splitlines() if line.startswith("> "))
        if sentence := _SENTENCE.search(quoted or note):
            return f"{sentence[0].strip()} [{number}]"
    last = request.turns[-1][1] if request.turns else ""
    return f"You asked: {last[-200:]}"


def chunks_of(reply: Reply, question: Asked, used: int, as_numbers: bool) -> list[JsonObject]:
    """The pieces of an answer as they are sent; each says what it has come to so far, the last one why it ends."""
    chunks: list[JsonObject] = []
    said = 0
    for number, piece in enumerate(reply.pieces or [""], 1):
        said += count_tokens(piece)
        is_last = number >= len(reply.pieces)
        candidate: JsonObject = {"content": {"role": "model", "parts": [{"text": piece}]}, "index": 0}
        if is_last and reply.finish:
            candidate["finishReason"] = FINISH_REASONS[reply.finish] if as_numbers else reply.finish
            if not piece:
                del candidate["content"]
        usage = {"promptTokenCount": used, "candidatesTokenCount": said}
        if reply.thoughts:
            usage["thoughtsTokenCount"] = reply.thoughts
        usage["totalTokenCount"] = used + said + reply.thoughts
        chunks.append({"candidates": [candidate], "usageMetadata": usage, "modelVersion": question.model})
    return chunks


def limited(reply: Reply, most: int | None, is_blocked: Callable[[str], bool]) -> Reply:
    """The reply as far as it is allowed: to the limit of tokens, or to the piece with a blocked word."""
    said = ""
    for number, piece in enumerate(reply.pieces):
        said += piece
        if is_blocked(said):
            return Reply(list(reply.pieces[:number]), "SAFETY", reply.thoughts)
        if most is not None and count_tokens(said) + reply.thoughts > most:
            return Reply(list(reply.pieces[:number]), "MAX_TOKENS", reply.thoughts)
    return reply


def feedback(used: int, as_numbers: bool) -> JsonObject:
    reason = "PROHIBITED_CONTENT"
    return {
        "promptFeedback": {"blockReason": BLOCK_REASONS[reason] if as_numbers else reason},
        "usageMetadata": {"promptTokenCount": used, "totalTokenCount": used},
    }


def joined(chunks: Sequence[JsonObject]) -> JsonObject:
    last = dict(chunks[-1])
    if "candidates" in last:
        text = "".join(
            part["text"] for chunk in chunks for part in chunk["candidates"][0].get("content", {}).get("parts", ())
        )
        last["candidates"] = [{**last["candidates"][0], "content": {"role": "model", "parts": [{"text": text}]}}]
    return last


def _text(turn: JsonObject) -> str:
    return "".join(part.get("text", "") for part in turn.get("parts", ()))
