"""The process that turns a snapshot into Parquet files: `python -m nescord.marts.child FOLDER`, see building.py.

It ends with its parent. It says on stderr, in one line, why it could not; in `result.json` what it has made.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from hashlib import sha256
from importlib.abc import MetaPathFinder
from pathlib import Path

import apsw

from nescord import durable
from nescord.catalog import marts as sql
from nescord.catalog.snapshot import open_snapshot
from nescord.marts import exporting, generations
from nescord.marts.generations import Mart, ModelVectors
from nescord.marts.job import JOB, RESULT, SNAPSHOT, Job
from nescord.marts.schema import CATALOG_TABLES, OUTSIDE_TABLES, Table
from nescord.parent import end_with_parent

_GRACE = 2.0
_THREADS = 2


class _NoPandas(MetaPathFinder):
    """pyarrow imports pandas, where it is installed, to see whether it is given something of its: a second of CPU time
    for nothing. In this process there is none."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def main(target: Path) -> int:
    """Make all files; 0, or 1 when that was not possible."""
    end_with_parent(_GRACE)
    sys.meta_path.insert(0, _NoPandas())
    try:
        job = Job(**json.loads((target / JOB).read_bytes()))
        result = export(job, target)
        durable.write_file(target / RESULT, json.dumps(result).encode("utf-8"))
    except (OSError, apsw.Error) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - the parent reads it
        return 1
    return 0


def export(job: Job, target: Path) -> dict[str, object]:
    """Write every table of a job to `target`; `{counts, models, remarks}`."""
    spaces = None if job.spaces is None else json.dumps(list(job.spaces))

    def export_table(table: Table) -> int:
        file = target / f"{table.name}.parquet"
        with open_snapshot(target / SNAPSHOT) as connection:
            count = exporting.export_catalog(connection, table, file, texts=job.texts, spaces=spaces)
        _sync(file)
        return count

    # SQLite, Arrow and the disk let each other work: two threads take two thirds of the time of one.
    with ThreadPoolExecutor(_THREADS) as pool:
        vectors = pool.submit(_export_vectors, job, target, spaces)
        exported = pool.map(export_table, CATALOG_TABLES)
        counts = dict(zip((table.name for table in CATALOG_TABLES), exported, strict=True))
        models, remarks = vectors.result()
    for table in OUTSIDE_TABLES:
        file = target / f"{table.name}.parquet"
        counts[table.name] = exporting.export_rows(table, job.outside.get(table.name, ()), file)
        _sync(file)
    counts["embeddings"] = sum(each.vectors for each in models)
    return {"counts": counts, "models": [asdict(each) for each in models], "remarks": remarks}


def _export_vectors(job: Job, target: Path, spaces: str | None) -> tuple[list[ModelVectors], list[str]]:
    with open_snapshot(target / SNAPSHOT) as connection:
        return _vectors_of(connection, _mart_of(job.before), target, spaces)


def _vectors_of(
    connection: apsw.Connection, before: Mart | None, target: Path, spaces: str | None
) -> tuple[list[ModelVectors], list[str]]:
    made, remarks = [], []
    for model in sql.models(connection, spaces):
        fingerprint, count = exporting.fingerprint(sql.all_vectors(connection, model, spaces))
        found = ModelVectors(
            key=model.key,
            model8=sha256(model.key.encode("utf-8")).hexdigest()[:8],
            dims=model.dims,
            vectors=count,
            is_live=model.is_live,
            fingerprint=fingerprint,
        )
        known = _linked(before, found, target)
        if known is None:
            written = exporting.export_vectors(connection, model, target / found.file, spaces)
            _sync(target / found.file)
            known = replace(found, vectors=written)
        if known.vectors != count:
            left = f"{count - known.vectors} vectors of {model.key} are not of {model.dims} numbers"
            remarks.append(f"{left} and are left out: nescord verify tells more")
        made.append(replace(known, is_live=model.is_live))
    return made, remarks


def _linked(before: Mart | None, wanted: ModelVectors, target: Path) -> ModelVectors | None:
    """Where the vectors are those of the generation before: its file gets a second name. They are by far the most of
    it, and most of the time none has changed."""
    last = next((each for each in before.models if each.model8 == wanted.model8), None) if before else None
    if before is None or last is None or (last.fingerprint, last.dims) != (wanted.fingerprint, wanted.dims):
        return None
    try:
        os.link(before.folder / last.file, target / wanted.file)
    except OSError:  # gone meanwhile, or a file system that knows no links
        return None
    return last


def _mart_of(folder: str) -> Mart | None:
    path = Path(folder)
    return next((each for each in generations.complete(path.parent) if each.folder == path), None) if folder else None


def _sync(file: Path) -> None:
    file.chmod(0o600)
    durable.sync_file(file)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
