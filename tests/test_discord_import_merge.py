"""Exports that overlap, come late, in parts or out of order: every message is kept once, as it was last edited."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from discord_exports import CHANNEL, counts, export, message, notes, said
from hypothesis import given, settings
from hypothesis import strategies as st
from vaults import open_base

HERE = Path(__file__).parent


def test_a_later_export_adds_to_the_notes_that_there_are(tmp_path: Path) -> None:
    first = export(tmp_path / "1.json", [message(1, 0), message(2, 10), message(5, 300)])
    later = export(tmp_path / "2.json", [message(2, 10), message(3, 20), message(5, 300), message(6, 310)])
    with open_base(tmp_path / "kb") as km:
        assert counts(km.import_discord([first])) == (2, 0, 0)
        ids = {path: km.note(path).id for path in notes(km)}
        assert counts(km.import_discord([later])) == (0, 2, 0)
        assert sorted(said(km)) == [1, 2, 3, 5, 6]
        assert {path: km.note(path).id for path in notes(km)} == ids
        assert counts(km.import_discord([later])) == counts(km.import_discord([first])) == (0, 0, 2)


def test_an_edit_replaces_the_text_and_an_older_export_does_not_take_it_back(tmp_path: Path) -> None:
    old = export(tmp_path / "1.json", [message(1, 0, "frist"), message(2, 1)])
    new = export(tmp_path / "2.json", [message(1, 0, "first", edited=30)])
    with open_base(tmp_path / "kb") as km:
        km.import_discord([old])
        assert counts(km.import_discord([new])) == (0, 1, 0)
        assert said(km) == {1: "first", 2: "message 2"}
        assert counts(km.import_discord([old])) == (0, 0, 1)
        assert counts(km.import_discord([old, new])) == (0, 0, 1)
        (path,) = notes(km)
        assert km.note(path).updated_at == "2026-01-05T09:30:00Z"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_files_of_one_import_the_last_edit_counts_in_whatever_order(tmp_path: Path, order: tuple[int, int]) -> None:
    old = export(tmp_path / "1.json", [message(1, 0, "frist")])
    new = export(tmp_path / "2.json", [message(1, 0, "first", edited=30)])
    with open_base(tmp_path / "kb") as km:
        km.import_discord([(old, new)[at] for at in order])
        assert said(km) == {1: "first"}


def test_a_message_that_a_later_export_lacks_is_kept(tmp_path: Path) -> None:
    with open_base(tmp_path / "kb") as km:
        km.import_discord([export(tmp_path / "1.json", [message(1, 0), message(2, 1), message(3, 500)])])
        assert counts(km.import_discord([export(tmp_path / "2.json", [message(2, 1)])])) == (0, 0, 2)
        assert sorted(said(km)) == [1, 2, 3]


def test_a_new_name_of_a_person_or_channel_rewrites_no_history(tmp_path: Path) -> None:
    told = [message(1, 0), message(2, 1)]
    with open_base(tmp_path / "kb") as km:
        km.import_discord([export(tmp_path / "1.json", told)])
        for each in told:
            each["author"]["nickname"] = "renamed"
        later = export(tmp_path / "2.json", told, name="lobby")
        assert counts(km.import_discord([later])) == (0, 0, 1)
        told.append(message(3, 2, reference={"messageId": "1"}))
        assert counts(km.import_discord([export(tmp_path / "3.json", told, name="lobby")])) == (0, 1, 0)
        (body,) = notes(km).values()
    assert body.startswith("# #lobby · 2026-01-05 · message 1\n")
    assert body.count("**人1**") == 3
    assert "↩ [renamed](" in body


def test_another_time_zone_of_the_reader_changes_nothing_that_is_stored(tmp_path: Path) -> None:
    file = export(tmp_path / "1.json", [message(1, 0), message(2, 1)])
    with open_base(tmp_path / "kb") as km:
        km.import_discord([file])
    with open_base(tmp_path / "kb", timezone="America/New_York") as km:
        assert counts(km.import_discord([file])) == (0, 0, 1)


def test_what_is_too_long_is_cut_where_it_was_silent_longest(tmp_path: Path) -> None:
    told = [message(number, number + (30 if number > 40 else 0)) for number in range(1, 101)]
    with open_base(tmp_path / "kb") as km:
        assert counts(km.import_discord([export(tmp_path / "1.json", told)])) == (2, 0, 0)
        lengths = [text.count(f"/{CHANNEL}/") for _, text in sorted(notes(km).items())]
        assert sorted(lengths) == [40, 60]


def test_messages_between_stored_ones_make_a_note_too_long_and_move_to_a_new_one(tmp_path: Path) -> None:
    every_fourth = export(tmp_path / "1.json", [message(number, number) for number in range(1, 201, 4)])
    whole = export(tmp_path / "2.json", [message(number, number) for number in range(1, 201)])
    with open_base(tmp_path / "kb") as km:
        assert counts(km.import_discord([every_fourth])) == (1, 0, 0)
        km.import_discord([whole])
        assert sorted(said(km)) == list(range(1, 201))
        assert max(text.count(f"/{CHANNEL}/") for text in notes(km).values()) <= 60
        added, changed, unchanged = counts(km.import_discord([whole]))
        assert (added, changed, unchanged) == (0, 0, len(notes(km)))


@st.composite
def histories(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Some exports of one channel: parts of it, in any order, in which some messages were edited at some time."""
    number = draw(st.integers(1, 90))
    steps = st.sampled_from([0, 0.5, 1, 3, 59, 60, 61, 200])
    minutes, times = 0.0, []
    for _ in range(number):
        minutes += draw(steps)
        times.append(minutes)
    shuffled = draw(st.permutations(range(number)))
    exports = []
    for _ in range(draw(st.integers(1, 4))):
        low, high = sorted((draw(st.integers(0, number)), draw(st.integers(0, number))))
        edits = draw(st.dictionaries(st.integers(0, number - 1), st.integers(1, 3), max_size=5))
        exports.append(
            [
                message(
                    1000 + at,
                    times[at],
                    f"{at} v{version} {'長い' * (at % 7) * 300}",
                    edited=90_000 + version if version else 0,
                )
                for at in shuffled
                if low <= at < high
                for version in (edits.get(at, 0),)
            ]
        )
    return exports


@settings(max_examples=15)
@given(histories())
def test_every_message_is_kept_once_with_its_last_text(exports: list[list[dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder, open_base(Path(folder) / "kb") as km:
        expected: dict[int, tuple[int, str]] = {}
        for number, told in enumerate(exports):
            file = export(Path(folder) / f"{number}.json", told)
            km.import_discord([file])
            for each in told:
                version = int(each["content"].split()[1][1:])
                now = (version, each["content"].strip())
                expected[int(each["id"])] = max(expected.get(int(each["id"]), now), now)
            assert said(km) == {key: text for key, (_, text) in expected.items()}
            assert all(text.count(f"/{CHANNEL}/") <= 60 for text in notes(km).values())
        files = [Path(folder) / f"{number}.json" for number in range(len(exports))]
        before = notes(km)
        added, changed, _ = counts(km.import_discord(files))
        assert (added, changed) == (0, 0)
        assert notes(km) == before


@pytest.mark.parametrize("transaction", [1, 2, 3, 4, 5, 6])
def test_an_import_that_is_killed_loses_no_message_and_is_finished_by_the_next(
    tmp_path: Path, transaction: int
) -> None:
    # Messages move from a stored note into new ones, and the second export alone does not have them.
    every_fourth = export(tmp_path / "1.json", [message(number, number) for number in range(1, 201, 4)])
    others = export(tmp_path / "2.json", [message(number, number) for number in range(1, 201) if number % 4 != 1])
    with open_base(tmp_path / "kb") as km:
        km.import_discord([every_fourth])
    command = [
        sys.executable,
        str(HERE / "discord_import_worker.py"),
        str(tmp_path / "kb"),
        str(transaction),
        str(others),
    ]
    killed = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with open_base(tmp_path / "kb") as km:
        stored = {line for text in notes(km).values() for line in text.splitlines()}
        assert {f"message {number}" for number in range(1, 201, 4)} <= stored
        km.import_discord([others])
        assert sorted(said(km)) == list(range(1, 201))
        assert counts(km.import_discord([others]))[:2] == (0, 0)
