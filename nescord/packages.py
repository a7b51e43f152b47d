"""Whether an optional package is there, without importing it."""

from __future__ import annotations


def is_installed(module: str) -> bool:
    """Whether `module`, which may lie in a package that is not there itself, can be imported."""
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even its parent
        return False
