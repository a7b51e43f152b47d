"""Preferences: what is chosen is kept, what cannot be is refused with the mend, and "" takes a choice back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nescord import KnowledgeManager
from nescord.errors import UsageError
from nescord.frontmatter import fold_tag
from nescord.preferences import MOST_TAGS, Preference
from tests.maintain_world import raw
from tests.vaults import open_base


@pytest.fixture
def km(tmp_path: Path) -> Iterator[KnowledgeManager]:
    with open_base(tmp_path / "data", vector="exact") as made:
        yield made


def test_nothing_is_preferred_before_anybody_has_chosen(km: KnowledgeManager) -> None:
    assert km.preferences.get("user:42") == Preference("", "", (), "")


def test_what_is_not_given_stays_as_it_is(km: KnowledgeManager) -> None:
    km.preferences.set("user:42", language="ja", timezone="Europe/Berlin")
    changed = km.preferences.set("user:42", visibility="server")
    assert changed == Preference("ja", "Europe/Berlin", (), "server")
    assert km.preferences.get("user:42") == changed
    assert km.preferences.get("user:43") == km.preferences.get("guild:42") == Preference()
    assert km.preferences.set("user:42") == changed


def test_an_empty_choice_is_taken_back_and_leaves_nothing_behind(km: KnowledgeManager, tmp_path: Path) -> None:
    km.preferences.set("guild:7", language="en", timezone="UTC", tags=["a"], visibility="me")
    assert km.preferences.set("guild:7", language="", timezone=" ", tags=(), visibility="") == Preference()
    assert raw(tmp_path / "data", "SELECT count(*) FROM preference") == [(0,)]


def test_tags_are_folded_like_those_of_notes_and_each_is_kept_once(km: KnowledgeManager) -> None:
    wanted = ["#Ｉｄｅａ", "Machine Learning", "idea", "設計/図"]
    assert km.preferences.set("user:42", tags=wanted).tags == ("idea", "machine-learning", "設計/図")
    assert km.preferences.set("user:42", tags="Machine Learning、設計 ,, #x").tags == ("machine-learning", "設計", "x")
    assert km.preferences.set("user:42", tags=" #a  #b ").tags == ("a", "b")
    assert km.preferences.set("user:42", tags="").tags == ()


@pytest.mark.parametrize(
    ("wrong", "mend"),
    [
        ({"timezone": "Tokyo"}, "name one such as Asia/Tokyo, Europe/Berlin or UTC"),
        ({"timezone": "Asia"}, "name one such as"),
        ({"timezone": "../../etc/passwd"}, "name one such as"),
        ({"timezone": "/etc/localtime"}, "name one such as"),
        ({"timezone": "x" * 5000}, "name one such as"),
        ({"timezone": "UTC\0"}, "name one such as"),
        ({"language": "de"}, "it is ja or en, or empty"),
        ({"visibility": "all"}, "it is me or server, or empty"),
        ({"tags": ["#"]}, "a tag has 1 to 100 characters"),
        ({"tags": ["x" * 101]}, "a tag has 1 to 100 characters"),
        ({"tags": ["a,b"]}, "without commas"),
        ({"tags": ["a\x07b"]}, "cannot be a tag"),
        ({"tags": ["half \ud83d"]}, "cannot be a tag"),
        ({"tags": [f"t{number}" for number in range(MOST_TAGS + 1)]}, f"at most {MOST_TAGS}"),
    ],
)
def test_what_cannot_be_is_refused_with_the_mend_and_changes_nothing(
    km: KnowledgeManager, wrong: dict[str, Any], mend: str
) -> None:
    before = km.preferences.set("user:42", language="ja", timezone="UTC", tags=["a"], visibility="me")
    with pytest.raises(UsageError, match=mend):
        km.preferences.set("user:42", **{"language": "en", **wrong})
    assert km.preferences.get("user:42") == before


@pytest.mark.parametrize("who", ["personal", "", "user:", "user:x", "channel:9", "user:1 "])
def test_only_people_and_guilds_have_preferences(km: KnowledgeManager, who: str) -> None:
    with pytest.raises(UsageError, match="user:<id> or guild:<id>"):
        km.preferences.set(who, language="ja")


def test_a_zone_that_is_not_known_any_more_counts_as_none(km: KnowledgeManager) -> None:
    km.preferences.set("user:42", timezone="Europe/Berlin")
    assert km.preferences.zone("user:42").key == "Europe/Berlin"
    raw(km.folder.path, "UPDATE preference SET value = 'Europe/Atlantis'")
    assert km.preferences.get("user:42").timezone == ""
    assert km.preferences.zone("user:42").key == km._base.settings.timezone


@given(st.lists(st.text(max_size=12), max_size=MOST_TAGS))
@settings(max_examples=100)
def test_tags_are_kept_folded_or_refused_as_a_whole(tags: list[str]) -> None:
    with TemporaryDirectory() as folder, open_base(Path(folder) / "data", vector="exact") as km:
        try:
            kept = km.preferences.set("user:42", tags=tags).tags
        except UsageError:
            assert km.preferences.get("user:42").tags == ()
            return
        assert kept == tuple(dict.fromkeys(fold_tag(tag) for tag in tags))
        assert km.preferences.set("user:42", tags=kept).tags == kept == km.preferences.get("user:42").tags
