"""Gemini's Generative Language REST API on the loopback, with errors, limits, blocked words and broken answers."""

from tests.fakes.gemini.faults import Fault
from tests.fakes.gemini.generating import Asked, Reply
from tests.fakes.gemini.reading import Call
from tests.fakes.gemini.server import FakeGemini
from tests.fakes.gemini.tokens import count_tokens

__all__ = ["Asked", "Call", "FakeGemini", "Fault", "Reply", "count_tokens"]
