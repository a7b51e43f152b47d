"""What embedding will cost is said before a call is made, and is what it then costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import nescord

from nescord import KnowledgeManager, Settings
from nescord.embedding import remote
from nescord.ingest import IngestOptions
from tests.fakes.gemini import FakeGemini
from tests.vaults import open_base, write_notes

VAULT = Path(__file__).parent.parent / "data" / "sample" / "vault"
DRY = IngestOptions(dry_run=True)


@pytest.fixture(scope="module")
def gemini() -> Iterator[FakeGemini]:
    with FakeGemini() as running:
        yield running


@pytest.fixture
def km(tmp_path: Path, gemini: FakeGemini) -> Iterator[KnowledgeManager]:
    gemini.forget()
    reach = {"gemini_endpoint": gemini.url, "gemini_api_key": gemini.key, "gemini_tokens_per_minute": 10**9}
    with open_base(tmp_path / "data", embedder="gemini", vector="exact", **reach) as made:
        yield made


def test_the_sample_vault_cold_and_warm(km: KnowledgeManager, gemini: FakeGemini) -> None:
    cost = km.ingest(VAULT, options=DRY).cost
    assert cost is not None
    assert cost.model_key.startswith("gemini|gemini-embedding-001|768|")
    assert cost.cold == cost.warm
    assert cost.cold.usd == pytest.approx(cost.cold.tokens * 0.15 / 1e6, abs=1e-6)
    assert cost.left == 1_000_000
    assert gemini.calls == []
    assert km.budget.state().total == 0
    report = km.ingest(VAULT)
    assert report.embedded == cost.warm.texts == len(gemini.texts_embedded)
    assert km.budget.state().total == cost.warm.tokens
    assert cost.warm.tokens / gemini.tokens_billed == pytest.approx(1.05, abs=0.15)
    warm = km.ingest(VAULT, options=DRY).cost
    assert warm is not None
    assert (warm.warm.texts, warm.warm.tokens, warm.warm.usd) == (0, 0, 0)
    assert warm.cold == cost.cold
    assert warm.left == 1_000_000 - cost.warm.tokens


def test_only_what_changed_is_paid_for(km: KnowledgeManager, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    write_notes(
        vault, {"a.md": "# A\n\n同じ文章です。\n", "b.md": "# B\n\nanother text\n", "c.md": "# A\n\n同じ文章です。\n"}
    )
    cost = km.ingest(vault, options=DRY).cost
    assert cost is not None
    assert km.ingest(vault).embedded == cost.warm.texts == 2  # equal text once
    write_notes(vault, {"b.md": "# B\n\nchanged text\n"})
    changed = km.ingest(vault, options=DRY).cost
    assert changed is not None
    assert (changed.warm.texts, changed.cold.texts) == (1, 3)  # the old text still has its vector
    assert km.ingest(vault).embedded == 1


def test_what_a_newer_model_is_told_in_front_of_each_text_is_paid_for_and_counted(tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {f"{number}.md": f"味噌汁{number}は温かい。" for number in range(50)})
    with FakeGemini() as gemini:
        reach = {"gemini_endpoint": gemini.url, "gemini_api_key": gemini.key, "gemini_tokens_per_minute": 10**9}
        model = {"embedder": "gemini", "gemini_embedding_model": "gemini-embedding-2"}
        with open_base(tmp_path / "data", vector="exact", **reach, **model) as km:
            cost = km.ingest(tmp_path / "vault", options=DRY).cost
            assert cost is not None
            assert km.ingest(tmp_path / "vault").embedded == 50
            notes = km.budget.state().total
            assert notes == cost.warm.tokens
            assert gemini.tokens_billed <= notes <= 1.25 * gemini.tokens_billed
            gemini.forget()
            assert km.search("豆腐の出汁", mode="vector").degraded == ()
            assert gemini.tokens_billed <= km.budget.state().total - notes <= 1.5 * gemini.tokens_billed


def test_requests_are_small_enough_with_what_is_told_in_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_MOST_TOKENS", 100)
    texts = ["cat"] * 50
    tokens = {}
    for model in ("gemini-embedding-001", "gemini-embedding-2"):
        key = remote.model_key(model, 768)
        opened = remote.open_remote(key, Settings(data_dir=tmp_path, gemini_api_key="k"), None)
        tokens[model] = opened.tokens_of("cat")
        for request in opened.requests(texts):
            assert sum(map(opened.tokens_of, texts[request])) <= 100
    assert tokens["gemini-embedding-001"] + 7 == tokens["gemini-embedding-2"]


@pytest.mark.parametrize("embedder", ["none", "local"])
def test_a_model_in_this_process_costs_nothing(embedder: str, tmp_path: Path) -> None:
    write_notes(tmp_path / "vault", {"a.md": "# A\n\ntext\n"})
    with open_base(tmp_path / "data", embedder=embedder, vector="exact") as km:
        assert km.ingest(tmp_path / "vault", options=DRY).cost is None


def test_the_command_says_it(tmp_path: Path, gemini: FakeGemini, monkeypatch: pytest.MonkeyPatch) -> None:
    gemini.forget()
    for name, value in {
        "NESCORD_EMBEDDER": "gemini",
        "GEMINI_API_KEY": gemini.key,
        "NESCORD_GEMINI_ENDPOINT": gemini.url,
        "GEMINI_MONTHLY_LIMIT": "50",
    }.items():
        monkeypatch.setenv(name, value)
    write_notes(tmp_path / "vault", {"a.md": "# 題\n\n" + "長い文章が続きます。" * 20 + "\n"})
    shown = nescord("--data-dir", tmp_path / "data", "ingest", tmp_path / "vault", "--dry-run")
    assert shown.code == 0
    assert "to embed with gemini-embedding-001: 1 texts, about " in shown.out
    assert "all notes, from nothing: 1 texts" in shown.out
    assert "budget has 50 tokens left: what does not fit waits" in shown.out
    document = json.loads(
        nescord("--data-dir", tmp_path / "data", "ingest", tmp_path / "vault", "--dry-run", "--json").out
    )
    assert document["cost"]["warm"] == document["cost"]["cold"]
    assert gemini.calls == []
