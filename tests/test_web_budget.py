"""The tokens of the month on the status page and in its metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from web_world import TOKEN, WELL, Supervised, serving, wait_until

from nescord.budget import Purpose
from tests.budget_world import MODEL, spend
from tests.vaults import open_base


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """900 of 1,000 tokens are gone, 50 of them by a call without an end."""
    monkeypatch.setenv("GEMINI_MONTHLY_LIMIT", "1000")
    with open_base(tmp_path / "data") as km:
        km.capture("メモ")
        spend(km.budget, 850)
        km.budget.reserve(Purpose.EMBED_QUERY, MODEL, 50)
    return tmp_path / "data"


def test_the_page_and_the_metrics_say_what_the_month_has_cost(data: Path) -> None:
    word = Supervised(data)
    with word.running(), serving(data, NESCORD_STATUS_TOKEN=TOKEN) as web:
        word.says(*WELL)
        wait_until(web, "/healthz", 200)
        english, japanese = (web.ask_with_token(f"/?lang={language}").body for language in ("en", "ja"))
        public = web.ask("/?lang=en").body
        families = text_string_to_metric_families(web.ask_with_token("/metrics").body)
        found = {sample.name: sample.value for family in families for sample in family.samples}
    assert "900 of 1,000 (90.0%)" in english
    assert "1,000 中 900（90.0%）" in japanese
    assert "change of the model, summaries, suggested tags" in english
    assert "モデルの切り替え、要約、タグの提案" in japanese
    assert "900 of 1,000" not in public
    assert {name: value for name, value in found.items() if "tokens" in name} == {
        "nescord_tokens_used": 850,
        "nescord_tokens_reserved": 50,
        "nescord_tokens_limit": 1000,
    }
