"""Vector indexes over what SQLite holds: ChromaDB as a rebuildable index, and an exact scan that needs none.

Everything here is derived data. An index answers with chunk ids; each is resolved in SQLite, which decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import apsw

from nescord.embedding import Vectors


class VectorHit(NamedTuple):
    """A chunk near a query: cosine similarity in -1..1, and the language group whose collection it came from."""

    chunk: int
    score: float
    language_group: str


class VectorIndex(Protocol):
    """What answers a vector query. `kind` is `chroma-server`, `chroma` or `exact`."""

    @property
    def kind(self) -> str: ...

    def query(self, connection: apsw.Connection, vector: Vectors, k: int) -> Sequence[VectorHit]:
        """The `k` nearest chunks of each language group, best first within a group.

        `connection` is the caller's read transaction: what follows the log is brought up to date from it.
        """
        ...
