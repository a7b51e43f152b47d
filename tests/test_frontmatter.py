"""Front matter is taken in as it was written, and none can hurt: not by depth, size, aliases or broken YAML."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nescord import frontmatter
from nescord.frontmatter import read


def values(yaml: str) -> object:
    front = read(f"---\n{yaml}\n---\nbody")
    assert not front.problem
    return dict(front.values)


def test_it_ends_after_the_closing_line() -> None:
    text = "---\r\ntitle: x\r\n---\r\nbody"
    assert text[read(text).end :] == "body"


@pytest.mark.parametrize("text", ["", "---", "--- \nnever closed\n", "\n---\na: b\n---\n", "----\na: b\n----\n"])
def test_what_is_not_front_matter_is_text(text: str) -> None:
    assert read(text) == frontmatter.FrontMatter()


def test_a_text_between_two_rules_is_a_text() -> None:
    assert read("---\n\nHello: this: is [a text\n\n---\nmore") == frontmatter.FrontMatter()


def test_an_empty_front_matter_is_one() -> None:
    assert read("---\n---\nbody").end == 8


def test_values_that_would_not_read_back_stay_as_they_were_written() -> None:
    assert values("a: 1\nb: -2.5\nc: 007\nd: 1.10\ne: no\nf: 12:30\ng: 2024-03-01\nh: .nan\ni: '3'\nj: 1e5") == {
        "a": 1,
        "b": -2.5,
        "c": "007",
        "d": "1.10",
        "e": "no",
        "f": "12:30",
        "g": "2024-03-01",
        "h": ".nan",
        "i": "3",
        "j": "1e5",
    }
    assert values("a: true\nb: ~\nc:\nd: [x, {y: z}]\n1: !odd k") == {
        "a": True,
        "b": None,
        "c": None,
        "d": ["x", {"y": "z"}],
        "1": "k",
    }


def test_aliases_repeat_their_value() -> None:
    assert values("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}


def test_a_key_that_is_there_twice_is_said() -> None:
    front = read("---\na: 1\nb: 2\na: 3\n---\n")
    assert front.values["a"] == 3
    assert front.warnings == ('front matter, line 4: "a" is there twice; the last one counts',)


@pytest.mark.parametrize(
    ("yaml", "problem"),
    [
        ("ok: 1\ntitle: a: b", "line 3: mapping values are not allowed"),
        ("tags: [a, b", "line 2: did not find expected"),
        ("just words", "line 2: expected lines like"),
        ("- a\n- b", "line 2: expected lines like"),
        ("a: 1\nb: \0", "line 3: character U+0000 is not allowed"),
        ("date: {{date}}", "line 2: a list or mapping stands where a key is expected"),
        ("a: *b", r"line 2: \*b refers to nothing"),
        ("a: &a [*a]", r"line 2: \*a refers to nothing"),
        ("x: " + "[" * 60_000, "line 2: nested more than 50 deep"),
        ("- " * 30_000 + "x", "line 2: nested more than 50 deep"),
        ("{a: " * 15_000, "line 2: nested more than 50 deep"),
        ("a: &a [" + "x, " * 99 + "]\nb: [" + "*a, " * 999 + "]", "line 3: it unfolds to more than 10,000"),
        ('a: &a "' + "x" * 40_000 + '"\nb: [' + "*a, " * 999 + "]", "line 3: it unfolds to more than 10,000"),
        ("a: |\n" + " x\n" * 30_000, "line 1: it is longer than 64 KiB"),
    ],
)
def test_what_cannot_be_used_names_line_and_problem_and_the_mend(yaml: str, problem: str) -> None:
    begin = time.process_time()
    front = read(f"---\n{yaml}\n---\nbody")
    assert time.process_time() - begin < 1
    assert problem.replace("\\", "") in front.problem
    assert "mend that line" in front.problem
    assert front.values == {}


@settings(deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@#,? \n\t\r01é", max_size=80))
def test_any_front_matter_is_json_or_a_problem(yaml: str) -> None:
    front = read(f"---\n{yaml}\n---\n")
    assert front.problem or json.loads(json.dumps(front.values, allow_nan=False)) == front.values


@pytest.mark.parametrize(
    ("yaml", "tags"),
    [
        ("tags: [日記, Work/Projects, '#Go', machine learning]", ["日記", "work/projects", "go", "machine-learning"]),
        ("tags: 'a b #c'", ["a", "b", "c"]),
        ("tags: machine learning, ai", ["machine-learning", "ai"]),
        ("tag: ＡＢＣ、二", ["abc", "二"]),
        ("Tags:\n- 2024\n- \n- {x: y}", ["2024"]),
    ],
)
def test_tags_come_as_list_or_string(yaml: str, tags: list[str]) -> None:
    assert list(frontmatter.tags(read(f"---\n{yaml}\n---\n").values)) == tags


@pytest.mark.parametrize(
    ("written", "iso"),
    [
        ("2024-03-01", "2024-03-01"),
        ("2024/3/1", "2024-03-01"),
        ("2024年3月1日", "2024-03-01"),
        ("20240301", "2024-03-01"),
        ("2024-03-01 9:05", "2024-03-01T09:05:00"),
        ("2024-03-01T09:05:10.5Z", "2024-03-01T09:05:10.500000+00:00"),
        ("2024-03-01T09:05:10+0900", "2024-03-01T09:05:10+09:00"),
        ("2024-02-30", ""),
        ("yesterday", ""),
        ("", ""),
    ],
)
def test_dates_become_iso_8601(written: str, iso: str) -> None:
    front = read(f"---\ncreated_at: {written}\nLast Modified: {written}\n---\n").values
    assert frontmatter.created(front) == iso
    assert frontmatter.updated(front) == iso
