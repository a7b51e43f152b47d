"""What a new snapshot builds on: the packs of its generation, unless one of them cannot be trusted."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from nescord.backup.create import create
from tests.backup_world import (
    Days,
    assert_sound,
    assert_tidy,
    back_up,
    checked,
    flip,
    opened,
    store_of,
    text_of,
    vault_of,
)
from tests.survival import new_rng
from tests.vaults import write_notes


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    return Days.made(tmp_path_factory.mktemp("days"))


def test_a_new_page_size_begins_a_new_generation(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    with closing(apsw.Connection(str(data / "nescordbot.db"))) as connection:
        connection.pragma("journal_mode", "delete")
        connection.pragma("page_size", 16_384)
        connection.execute("VACUUM")
    made = store_of(data).manifest(back_up(data).id)
    assert made.page_size == 16_384
    assert (made.generation, len(made.packs)) == (made.id, 1)
    assert set(checked(data).values()) == {()}
    assert_sound(data, tmp_path / "restored.db")


def test_when_most_is_new_a_new_generation_begins(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    vault = vault_of(tmp_path / "vault", 120)
    write_notes(vault, {f"note {number}.md": text_of(number, version=7) for number in range(120)})
    with opened(data) as km:
        km.ingest(vault, name="anew")
    made = store_of(data).manifest(back_up(data).id)
    assert (made.generation, len(made.packs)) == (made.id, 1)
    again = store_of(data).manifest(back_up(data).id)
    assert again.generation == made.id
    assert set(checked(data).values()) == {()}


def test_changes_that_outweigh_their_base_begin_a_new_generation(days: Days, tmp_path: Path) -> None:
    data, vault = days.copy(tmp_path / "data"), vault_of(tmp_path / "vault", 120)
    generations = []
    for day in range(40):
        write_notes(vault, {f"note {day}.md": text_of(day, version=day + 9), "x.md": text_of(day)})
        with opened(data) as km:
            km.ingest(vault, name="again")
            generations.append(store_of(data).manifest(create(km._base).id).generation)
        if len(set(generations)) > 1:
            break
    assert len(set(generations)) > 1
    assert set(checked(data).values()) == {()}


def test_nothing_is_built_on_packs_of_which_one_is_known_to_be_bad(days: Days, tmp_path: Path) -> None:
    data = days.copy(tmp_path / "data")
    store_of(data).set_status(days.ids[1], state="bad")
    made = store_of(data).manifest(back_up(data).id)
    assert (made.generation, len(made.packs)) == (made.id, 1)


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove", "same length"])
def test_a_rotten_base_is_noticed_by_the_next_backup_which_does_without_it(
    days: Days, tmp_path: Path, harm: str
) -> None:
    data, rng = days.copy(tmp_path / "data"), new_rng("rotten base")
    base = store_of(data).packs / f"{days.ids[0]}.pack"
    if harm == "flip":
        flip(base, rng)
    elif harm == "truncate":
        base.write_bytes(base.read_bytes()[: rng.randrange(base.stat().st_size)])
    elif harm == "same length":
        base.write_bytes(bytes(base.stat().st_size))
    else:
        base.unlink()
    made = back_up(data)
    manifest = store_of(data).manifest(made.id)
    assert manifest.generation == made.id
    assert [pack.id for pack in manifest.packs] == [made.id]
    # Those that are bad are known to be so once anything was built on them and read back; all of them after a check.
    found = checked(data)
    assert [each for each, problems in found.items() if not problems] == [made.id]
    assert all(base.stem in found[each][0] for each in days.ids)
    again = store_of(data).manifest(back_up(data).id)
    assert again.generation == made.id
    assert_tidy(data)
