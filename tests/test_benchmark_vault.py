"""The generated vault is what the figures stand on: repeatable to the byte, and shaped like a real one."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.vault import MAX_BYTES, MEAN_BYTES, edit, generate, lang_of, rename, sample_queries

N = 400


def contents(root: Path) -> dict[Path, bytes]:
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: tests that change a vault make their own."""
    root = tmp_path_factory.mktemp("vault")
    generate(root, N, seed=1)
    return root


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(vault: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", N, seed=1)
    generate(tmp_path / "other", N, seed=2)
    assert contents(tmp_path / "again") == contents(vault)
    assert contents(tmp_path / "other").keys() != contents(vault).keys()


def test_the_facts_are_those_of_the_files(tmp_path: Path) -> None:
    facts = generate(tmp_path, N, seed=3)
    files = contents(tmp_path)
    text = b"".join(files.values())
    assert facts.notes == len(files) == facts.japanese + facts.english + facts.mixed
    assert facts.bytes == len(text)
    assert facts.folders == len({path.parent for path in files})
    assert facts.front_matter == sum(content.startswith(b"---\n") for content in files.values())
    assert facts.links == text.count(b"[[")
    assert facts.boilerplate == text.count("## 定型事項".encode()) + text.count(b"## Standing notice")


def test_lengths_languages_folders_and_links_are_those_of_a_real_vault(vault: Path) -> None:
    files = {path: content.decode() for path, content in contents(vault).items()}
    sizes = [len(text.encode()) for text in files.values()]
    assert 0.8 * MEAN_BYTES < statistics.mean(sizes) < 1.25 * MEAN_BYTES
    assert statistics.median(sizes) < 0.75 * statistics.mean(sizes)
    assert max(sizes) < 1.1 * MAX_BYTES
    assert any(text.count("\n") == 1 for text in files.values())
    langs = Counter(lang_of(text) for text in files.values())
    assert 0.4 < langs["ja"] / N < 0.6
    assert {len(path.parts) for path in files} == {3, 4}
    assert len({path.stem for path in files}) == N
    stems = {path.stem for path in files}
    targets = [
        part.split("]]")[0].split("|")[0] for text in files.values() for part in text.split("[[")[1:] if "]]" in part
    ]
    dangling = sum(target not in stems for target in targets)
    assert 0.01 < dangling / len(targets) < 0.12


def test_an_edit_changes_exactly_the_notes_that_it_names(tmp_path: Path) -> None:
    generate(tmp_path, 100, seed=1)
    before = contents(tmp_path)
    edited = edit(tmp_path, 0.1, seed=1)
    after = contents(tmp_path)
    assert len(edited) == 10
    assert [path for path in sorted(before) if before[path] != after[path]] == edited


def test_a_rename_moves_notes_and_keeps_every_byte(tmp_path: Path) -> None:
    generate(tmp_path, 100, seed=1)
    before = contents(tmp_path)
    renamed = rename(tmp_path, 7, seed=1)
    after = contents(tmp_path)
    assert len(renamed) == 7
    assert before.keys() - after.keys() == {old for old, _ in renamed}
    assert all(after[new] == before[old] for old, new in renamed)


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_every_word_of_a_sampled_query_stands_in_a_note_of_its_language(vault: Path, lang: str) -> None:
    queries = sample_queries(vault, 40, seed=1, lang="ja" if lang == "ja" else "en")
    assert queries == sample_queries(vault, 40, seed=1, lang="ja" if lang == "ja" else "en")
    assert len(queries) == 40
    texts = [text for content in contents(vault).values() if lang_of(text := content.decode()) == lang]
    for query in queries:
        assert any(all(word in text for word in query.split()) for text in texts)


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text("mine", "utf-8")
    with pytest.raises(FileExistsError, match="not empty"):
        generate(tmp_path, 10, seed=1)
