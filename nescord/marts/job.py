"""What the parent tells the child that builds marts, and where: files in the folder of the generation.

The child is told all that is not in the database, so that it imports little: it is started anew for every build.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SNAPSHOT, JOB, RESULT = "snapshot.db", "job.json", "result.json"


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be built: the limits, the rows of the tables that lie outside of the database, and the folder of the
    generation before ("" for none)."""

    texts: bool
    spaces: tuple[str, ...] | None
    before: str
    outside: Mapping[str, Sequence[Mapping[str, Any]]]  # Any: JSON
