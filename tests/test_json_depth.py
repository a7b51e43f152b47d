"""Levels of JSON are counted outside its strings, in whatever parts it is read."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord.sources.json_depth import MOST_LEVELS, Shallow, TooDeepError

TEXT = st.text('[]{}"\\a字', max_size=20)


def read(content: bytes, sizes: list[int]) -> bytes:
    file, got, turn = Shallow(io.BytesIO(content)), b"", 0
    while part := file.read(sizes[turn % len(sizes)]):
        got, turn = got + part, turn + 1
    return got


@given(TEXT, st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_as_many_levels_as_may_be_are_read_as_they_are_and_one_more_is_refused(text: str, sizes: list[int]) -> None:
    around = json.dumps({text: [text, {"a": text}], "b": text}, ensure_ascii=False)[:-1]
    inner = "[" * (MOST_LEVELS - 1) + json.dumps(text) + "]" * (MOST_LEVELS - 1)
    content = f'{around}, "deep": {inner}}}'.encode()
    assert read(content, sizes) == content
    with pytest.raises(TooDeepError, match="500 levels"):
        read(f'{around}, "deep": [{inner}]}}'.encode(), sizes)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("content", [b'"\\' * 500_000, b'"' * 1_000_001, b'"' + b"\\" * 1_000_000], ids=["a", "b", "c"])
def test_a_string_that_never_ends_takes_no_longer_than_another(content: bytes) -> None:
    assert read(content, [65_536]) == content
