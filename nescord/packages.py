"""Whether an optional package is there, without importing it."""

from __future__ import annotations

from collections.abc import Iterable

# Those of the extra `notebooks` that a report needs, and how to get them.
OF_REPORTS = ("duckdb", "ipykernel", "matplotlib", "nbconvert", "papermill", "pyarrow")
GET_NOTEBOOKS = "pip install 'nescordbot[notebooks]'"


def is_installed(module: str) -> bool:
    """Whether `module`, which may lie in a package that is not there itself, can be imported."""
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


def lacking(modules: Iterable[str]) -> list[str]:
    """Those of them that are not there."""
    return [module for module in modules if not is_installed(module)]
