"""`/metrics`: the figures in the text format of Prometheus. What is not known is left out, never made up as 0."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nescord.bot_state import BotState
from nescord.service_state import SupervisorState
from nescord.web.figures import Figures

CONTENT_TYPE = CONTENT_TYPE_LATEST


def metrics(state: SupervisorState | None, figures: Figures | None, bot: BotState | None = None) -> str:
    """All that is known now."""
    families = [*_of_services(state), *_of_bot(bot), *_of_figures(figures)]
    registry = CollectorRegistry()
    registry.register(_Found(families))
    return generate_latest(registry).decode("utf-8")


class _Found(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_services(state: SupervisorState | None) -> Iterator[Metric]:
    if state is None:
        return
    yield from _gauge("nescord_up_seconds", "Since the supervisor was started.", _age(state.started_at))
    up = GaugeMetricFamily("nescord_service_up", "Whether the service is ready.", labels=["service"])
    restarts = CounterMetricFamily(
        "nescord_service_restarts", "Lives of the service after the first.", labels=["service"]
    )
    for service in state.services:
        up.add_metric([service.name], service.state == "ready")
        restarts.add_metric([service.name], service.restarts)
    yield from (up, restarts)


def _of_bot(bot: BotState | None) -> Iterator[Metric]:
    if bot is None:
        return
    yield from _gauge("nescord_discord_up", "Whether the bot is connected to Discord.", bot.gateway == "ready")
    help_text = "Since Discord last answered a heartbeat."
    yield from _gauge("nescord_discord_last_ack_age_seconds", help_text, _age(bot.last_ack))
    latency = None if bot.latency is None else bot.latency / 1000
    yield from _gauge("nescord_discord_latency_seconds", "What that answer took.", latency)


def _of_figures(figures: Figures | None) -> Iterator[Metric]:
    if figures is None:
        return
    if stored := figures.stored:
        yield from _gauge("nescord_notes", "Notes, without those in the trash.", stored.notes)
        yield from _gauge("nescord_chunks", "Pieces that notes are searched by.", stored.chunks)
        yield from _gauge("nescord_pending", "Chunks that have no vector yet.", stored.pending)
        yield from _gauge("nescord_behind", "Changes that Chroma has not been told.", stored.behind)
        yield from _gauge("nescord_database_bytes", "Size of the database.", stored.bytes)
        budget = stored.budget
        yield from _gauge("nescord_tokens_used", "Tokens of models elsewhere, this month, settled.", budget.used)
        help_text = "Tokens that calls without a known end may have cost this month."
        yield from _gauge("nescord_tokens_reserved", help_text, budget.reserved)
        yield from _gauge("nescord_tokens_limit", "Tokens that the month may cost.", budget.limit)
        help_text = "Since an ingest last found something to store."
        yield from _gauge("nescord_last_ingest_age_seconds", help_text, _age(stored.last_change))
    if backups := figures.backups:
        yield from _gauge("nescord_last_backup_age_seconds", "Since the newest good backup.", _age(backups.newest))
        yield from _gauge("nescord_last_drill_age_seconds", "Since a restore was rehearsed.", _age(backups.drilled))
    if verified := figures.verified:
        yield from _gauge("nescord_last_verify_age_seconds", "Since the last verification.", _age(verified.at))
    memory = GaugeMetricFamily(
        "nescord_service_rss_bytes", "Resident memory of the service and all that it started.", labels=["service"]
    )
    for name, size in figures.memory.items():
        memory.add_metric([name], size)
    yield memory
    if volume := figures.volume:
        yield from _gauge("nescord_volume_free_bytes", "Free on the volume.", volume.free)
        yield from _gauge("nescord_volume_total_bytes", "Size of the volume.", volume.total)


def _gauge(name: str, documentation: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, documentation, value=value)


def _age(moment: str) -> float | None:
    """Seconds since then; None for never."""
    if not moment:
        return None
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
