"""The physical limit where nothing is embedded: its search is one scan for the text."""

from __future__ import annotations

from pathlib import Path

import apsw

from benchmarks.peering.adapters.limit import Limit
from benchmarks.peering.shared import Counting, Found, Mode, Search, main


class LimitOfWords(Limit):
    modes: tuple[Mode, ...] = ("keyword",)
    packages = ("apsw",)
    how = "as limit, without vectors; a search is a scan for the text as it is typed, without a rank"

    def _embed(self, database: apsw.Connection, embedder: Counting) -> None:
        pass

    def open(self, state: Path, embedder: Counting) -> Search:
        places = self.stored(state)

        def search(query: str, mode: str, limit: int) -> Found:
            found = []
            for place in places:
                if query in place[1]:
                    found.append(place)
                    if len(found) == limit:
                        break
            return found

        return search


adapter = LimitOfWords()

if __name__ == "__main__":
    main(adapter)
