"""Which spaces an answer may come from: one function, and one place that holds the whole knowledge base."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soaking.outside import Clock
from bot.request import Request
from bot.scope import scope_of
from tests.bot_requests import HERE, ME, request_of

BOT = Path(__file__).resolve().parents[1] / "bot"
OWNER = ME


@pytest.mark.parametrize(
    ("context", "is_shared", "owners", "expected"),
    [
        ("guild", False, set(), {"user:42", "guild:7"}),
        ("guild", False, {OWNER}, {"user:42", "guild:7", "personal"}),
        ("guild", True, set(), {"guild:7"}),
        ("guild", True, {OWNER}, {"guild:7"}),
        ("dm", False, set(), {"user:42"}),
        ("dm", False, {OWNER}, {"user:42", "personal"}),
        ("dm", True, set(), {"user:42"}),
        ("dm", True, {OWNER}, {"user:42", "personal"}),
        ("private", False, set(), {"user:42"}),
        ("private", True, set(), {"user:42"}),
        ("private", True, {OWNER}, {"user:42", "personal"}),
    ],
)
def test_a_scope_is_what_the_design_says(context: str, is_shared: bool, owners: set[int], expected: set[str]) -> None:
    guild = HERE if context == "guild" else None
    request = request_of(context=context, is_shared=is_shared, guild=guild, is_manager=True)
    assert scope_of(request, frozenset(owners)) == expected


@given(
    st.sampled_from(["guild", "dm", "private"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 5),
    st.integers(1, 5),
    st.frozensets(st.integers(1, 5)),
)
def test_nobody_elses_space_is_ever_in_a_scope(
    context: str, is_shared: bool, is_manager: bool, user: int, guild: int, owners: frozenset[int]
) -> None:
    here = guild if context == "guild" else None
    request = request_of(context=context, is_shared=is_shared, is_manager=is_manager, user=user, guild=here)
    scope = scope_of(request, owners)
    assert scope <= {f"user:{user}", f"guild:{guild}", "personal"}
    assert scope
    assert "" not in scope
    assert "personal" not in scope or user in owners
    if context == "guild" and is_shared:
        assert scope == {f"guild:{guild}"}
    if context != "guild":
        assert f"guild:{guild}" not in scope


def test_a_request_comes_out_of_the_inbox_as_it_went_in() -> None:
    request = request_of(file_limit=123)
    row = request.to_accepted()
    assert json.loads(json.dumps(dict(row.payload))) == dict(row.payload)
    assert (row.id, row.kind, row.who, row.note_id) == ("1001", "search", "user:42", request.note_id)
    assert (row.expires_at - row.accepted_at).total_seconds() == 900
    assert Request.of_accepted(row) == request
    # The token stands in its own column, which is emptied when it is done, with the payload.
    assert "tok" not in json.dumps(dict(row.payload))


def test_how_long_can_be_answered_is_cut_to_what_discord_gives() -> None:
    """A row that was written before the clock was set back lies in the future."""
    now = datetime.now(UTC)
    assert request_of(accepted_at=now + timedelta(hours=1)).seconds_left <= 900
    assert 590 < request_of(accepted_at=now - timedelta(minutes=5)).seconds_left <= 600
    assert request_of(accepted_at=now - timedelta(minutes=16)).seconds_left < 0


_JUMPING = """
import sys
from datetime import UTC, datetime
from tests.bot_requests import request_of
request = request_of(accepted_at=datetime.now(UTC))
print("made", flush=True)
sys.stdin.readline()
print((datetime.now(UTC) - request.accepted_at).total_seconds(), request.seconds_left)
"""


@pytest.mark.parametrize("jump", [3600, -3600])
def test_a_clock_that_jumps_takes_nobody_the_time_to_be_answered(tmp_path: Path, jump: int) -> None:
    clock = Clock(tmp_path)
    if not clock.works:
        pytest.skip("the clock of another process is set by a small library, and there is no C compiler here")
    command = [sys.executable, "-c", _JUMPING]
    with subprocess.Popen(
        command, env=dict(os.environ) | clock.settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        clock.jump(jump)
        told = process.communicate("\n", timeout=60)[0]
    passed, left = map(float, told.split())
    assert abs(passed - jump) < 60  # it did jump
    assert 840 < left <= 900


def test_options_are_asked_for_by_type() -> None:
    request = request_of(options={"text": "x", "number": 3, "yes": True, "no": False})
    assert (request.string("text"), request.string("number"), request.string("gone", "d")) == ("x", "", "d")
    assert (request.number("number"), request.number("yes", 9), request.number("gone", 5)) == (3, 9, 5)
    assert (request.flag("yes"), request.flag("no"), request.flag("text"), request.flag("gone")) == (
        True,
        False,
        False,
        False,
    )


def test_only_one_place_of_the_bot_holds_the_whole_knowledge_base() -> None:
    naming = {
        str(path.relative_to(BOT))
        for path in BOT.rglob("*.py")
        if re.search(r"\bKnowledgeManager\b|nescord\.knowledge\b|\bOpenBase\b|\b_km\b", path.read_text("utf-8"))
    }
    assert naming == {"knowledge.py"}


def test_only_the_scope_adds_a_space_to_a_view() -> None:
    """A view is made by a visit from `scope_of`, and by nothing else."""
    making = {
        str(path.relative_to(BOT)): re.findall(r"\.(?:view|scoped)\(", path.read_text("utf-8"))
        for path in BOT.rglob("*.py")
    }
    assert {name: len(calls) for name, calls in making.items() if calls} == {"knowledge.py": 1, "visit.py": 1}
    naming = [path.name for path in BOT.rglob("*.py") if re.search(r"[\"']personal[\"']", path.read_text("utf-8"))]
    assert naming == ["scope.py"]
