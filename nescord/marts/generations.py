"""`marts/` of the data folder: generations of Parquet files, and which of them is the current one.

marts/current.json          {generation, …}: renamed into place when all of it is on disk
marts/<generation>/mart.json   the same, written last: without it a generation is half built
marts/<generation>/NAME.parquet

A generation is built under its final name. Whoever sweeps the folder meanwhile (an erasure) takes it away whole, and
what is built from the past can never come to light afterwards by a rename.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nescord import durable
from nescord.errors import NoMartsError, UsageError
from nescord.marts.schema import FORMAT

KEPT = 2
_CURRENT, _MART = "current.json", "mart.json"
_STAMP = "%Y%m%dT%H%M%SZ"
_GENERATION = re.compile(r"[0-9]{8}T[0-9]{6}Z(-[0-9]+)?")


@dataclass(frozen=True, slots=True)
class ModelVectors:
    """A file of vectors: of which model (`model8` names the file), how many, of how many numbers, and whether it is the
    live one. `fingerprint` tells whether any vector is another one by now."""

    key: str
    model8: str
    dims: int
    vectors: int
    is_live: bool
    fingerprint: str

    @property
    def file(self) -> str:
        return f"embeddings-{self.model8}.parquet"


@dataclass(frozen=True, slots=True)
class Mart:
    """A generation: its folder, when it was built (UTC text), the rows of each table, the schema of the database and
    its epoch, whether it holds texts, the spaces it is limited to (None: all), and what a person should know of it."""

    generation: str
    folder: Path
    built_at: str
    counts: dict[str, int]
    schema: int
    epoch: str
    texts: bool
    spaces: tuple[str, ...] | None
    models: tuple[ModelVectors, ...] = ()
    remarks: tuple[str, ...] = ()
    format: int = field(default=FORMAT)

    def file(self, table: str) -> Path:
        return self.folder / f"{table}.parquet"

    @property
    def live(self) -> ModelVectors | None:
        """The vectors of the model that answers."""
        return next((each for each in self.models if each.is_live), None)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files it consists of."""
        return tuple(sorted(self.folder.glob("*.parquet")))


def current(folder: Path) -> Mart | None:
    """The generation to read; None where none was built, or it is gone. `folder` is `marts/`."""
    try:
        name = str(json.loads((folder / _CURRENT).read_bytes())["generation"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _read(folder / name) if _GENERATION.fullmatch(name) else None


def chosen(folder: Path, generation: str = "") -> Mart:
    """That generation, or the current one.

    Raises:
        UsageError: there is no such generation. NoMartsError: there is none at all, or of another version's.
    """
    if generation:
        mart = _read(folder / generation) if _GENERATION.fullmatch(generation) else None
        if mart is None:
            there = ", ".join(each.generation for each in complete(folder)) or "none"
            raise UsageError(f'there are no marts of the generation "{generation}" in {folder}; there are: {there}')
        return mart
    found = current(folder)
    if found is None:
        raise NoMartsError(f"there are no marts at {folder} yet: make them with nescord marts build")
    if found.format != FORMAT:
        raise NoMartsError(f"the marts at {folder} were made by another version: make them anew (nescord marts build)")
    return found


def complete(folder: Path) -> list[Mart]:
    """The generations that were built to their end, oldest first."""
    found = (_read(path) for path in sorted(_generations(folder), key=_order))
    return [mart for mart in found if mart is not None]


def begin(folder: Path, now: datetime) -> Path:
    """A new, empty folder for the next generation; its name is later than all that are there, whatever the clock says.

    What earlier builds have left half done goes: only one builds at a time.
    """
    durable.make_folder(folder)
    there = {mart.generation for mart in complete(folder)}
    for path in folder.iterdir():
        if (path.name not in there and path.name != _CURRENT and _GENERATION.fullmatch(path.name)) or (
            durable.is_temporary(path)
        ):
            remove(path)
    name = newest = max(there, default="", key=lambda each: _order(Path(each)))
    stamp = now.astimezone(UTC).strftime(_STAMP)
    name = stamp
    if newest and _order(Path(stamp)) <= _order(Path(newest)):
        base, _, number = newest.partition("-")
        name = f"{base}-{int(number or 1) + 1}"
    durable.make_folder(folder / name)
    return folder / name


def publish(mart: Mart) -> None:
    """Let it be the current one, for good, and older ones go. Its files are on disk by now.

    Raises:
        FileNotFoundError: somebody has removed it meanwhile.
    """
    text = json.dumps(_document(mart), ensure_ascii=False, indent=2).encode("utf-8")
    durable.write_file(mart.folder / _MART, text)
    room = mart.folder.parent
    durable.sync_folder(room)
    durable.write_file(room / _CURRENT, text)
    for old in complete(room)[:-KEPT]:
        remove(old.folder)


def remove(path: Path) -> None:
    """Remove a generation: first what says that it is one."""
    if path.is_dir() and not path.is_symlink():
        (path / _MART).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _generations(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if _GENERATION.fullmatch(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _order(path: Path) -> tuple[str, int]:
    stamp, _, number = path.name.partition("-")
    return stamp, int(number or 1)


def _document(mart: Mart) -> dict[str, object]:
    return {name: value for name, value in asdict(mart).items() if name != "folder"}


def _read(folder: Path) -> Mart | None:
    try:
        stored = json.loads((folder / _MART).read_bytes())
        # Asked of the stored format first: another one may have other fields.
        if stored["format"] != FORMAT:
            stored = {name: stored[name] for name in ("format", "generation", "built_at")}
            return Mart(folder=folder, counts={}, schema=0, epoch="", texts=False, spaces=None, **stored)
        spaces = None if stored["spaces"] is None else tuple(map(str, stored["spaces"]))
        models = tuple(ModelVectors(**each) for each in stored["models"])
        stored |= {"spaces": spaces, "models": models, "remarks": tuple(stored["remarks"])}
        mart = Mart(folder=folder, **stored)
        datetime.fromisoformat(mart.built_at)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return mart
