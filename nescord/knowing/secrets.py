"""Which notes hold secrets (keys, tokens, passwords), and where: never the secret itself.

They are masked before any text leaves the machine; here is told what somebody may want to take out of the notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apsw

from nescord.catalog import knowing as sql
from nescord.knowing import NoteRef
from nescord.masking import masked
from nescord.notes import Scope


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """A kind of secret and the line of the note's text that it begins in; line 0 is the front matter."""

    kind: str
    line: int


@dataclass(frozen=True, slots=True)
class NoteWithSecrets:
    """A note and what stands in it."""

    note: NoteRef
    found: tuple[SecretPlace, ...]


def find(connection: apsw.Connection, scope: Scope) -> Iterator[NoteWithSecrets]:
    """The notes that hold any, in the order in which they came."""
    front = dict(sql.front_matters(connection, scope))
    for note, body in sql.texts(connection, scope):
        places = [SecretPlace(found.kind, 0) for found in masked(front.get(note.key, ""))[1]]
        places += [SecretPlace(found.kind, found.line) for found in masked(body)[1]]
        if places:
            yield NoteWithSecrets(NoteRef.of(note), tuple(places))
