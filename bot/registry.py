"""Which function answers which kind of interaction, and what is to be known of it before it is asked.

Command modules register with `@handles` and `@opens`; the desk looks a kind up, also after a restart, when all that is
left of an interaction is its row in the inbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bot.render import Modal, Reply
    from bot.visit import Visit

Quota = Literal["", "searches", "answers", "notes", "flows"]
Answering = Callable[["Visit"], Awaitable["Reply"]]
Opening = Callable[["Visit"], Awaitable["Modal | Reply"]]


@dataclass(frozen=True, slots=True)
class Handler:
    """How a kind is answered.

    `is_capture`: it keeps a note, so it is tried until it is done, also by the next process. `quota` is counted once
    before the function is called. `updates`: a button changes the message that it is on, instead of answering with a
    new one. `managers_only`: refused to others (`Visit.is_manager`). `is_form`: what a modal of that kind was filled in
    with comes here; other kinds are reached by no modal, whatever it says that it is of.
    """

    kind: str
    function: Answering
    is_capture: bool = False
    quota: Quota = ""
    updates: bool = False
    managers_only: bool = False
    is_form: bool = False


@dataclass(frozen=True, slots=True)
class Opener:
    """What a kind opens: a function that makes a modal from what is stored, within two seconds."""

    kind: str
    function: Opening
    managers_only: bool = False


_handlers: dict[str, Handler] = {}
_openers: dict[str, Opener] = {}


def handles(
    kind: str,
    *,
    is_capture: bool = False,
    quota: Quota = "",
    updates: bool = False,
    managers_only: bool = False,
    is_form: bool = False,
) -> Callable[[Answering], Answering]:
    """Decorator: the function answers interactions of that kind. A button's kind is `button.<action>`; a modal's is
    that of the `Modal`, with `is_form`."""

    def register(function: Answering) -> Answering:
        if kind in _handlers:
            raise ValueError(f'"{kind}" is answered twice: by {_handlers[kind].function!r} and by {function!r}')
        _handlers[kind] = Handler(kind, function, is_capture, quota, updates, managers_only, is_form)
        return function

    return register


def opens(kind: str, *, managers_only: bool = False) -> Callable[[Opening], Opening]:
    """Decorator: the function makes the modal of that kind (for `desk.open`; a button's is `button.<action>`).

    A Reply instead of a modal is shown to the person alone.
    """

    def register(function: Opening) -> Opening:
        if kind in _openers:
            raise ValueError(f'"{kind}" is opened twice: by {_openers[kind].function!r} and by {function!r}')
        _openers[kind] = Opener(kind, function, managers_only)
        return function

    return register


def handler_of(kind: str) -> Handler | None:
    """Who answers that kind, if anybody does."""
    return _handlers.get(kind)


def opener_of(kind: str) -> Opener | None:
    """Who makes the modal of that kind, if anybody does."""
    return _openers.get(kind)
