"""Send the digests that are due: the flow around the verb `send_due`.

Why: who asked for it is told once a day what is new, without having to come and look. When: every hour, for people live
in many time zones; one whose hour was missed is sent later the same day. Needs: the bot's token, and not the bot. A run
with nothing due asks nobody for anything. Being the flow that runs every hour, it also brings erasures of people to
their end that a kill has cut short.
"""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.common import DIGEST_LIMIT, Row, as_markdown, retried, settings_of
from flows.notify import on_completion, on_crashed, on_failure
from nescord import KnowledgeManager, Settings
from nescord.digests import SentDigests, send_due
from nescord.privacy import ErasureReport

FAILED_KEY = "digest-failed"

Summary = dict[str, int | str]


@retried
def send(settings: Settings, knowledge: KnowledgeManager) -> SentDigests:
    """Send what is due, each once."""
    return send_due(settings, knowledge)


@retried
def finish_erasures(knowledge: KnowledgeManager) -> list[ErasureReport]:
    """Bring to its end what was begun."""
    return knowledge.finish_erasures()


@flow(
    name="digest",
    timeout_seconds=DIGEST_LIMIT.total_seconds(),
    persist_result=False,
    on_failure=[on_failure],
    on_crashed=[on_crashed],
    on_completion=[on_completion],
)
def digest(data_dir: str | None = None) -> Summary:
    """Send the digests of notes whose hour has come to the people and channels that asked for them.

    Args:
        data_dir: The data folder of the knowledge base. Empty: the setting NESCORD_DATA_DIR and its defaults.
    """
    settings = settings_of(data_dir)
    with KnowledgeManager.open_existing(settings) as knowledge:
        # Tasks are for what there is to do: with nothing due the run is over at once.
        erasures = finish_erasures(knowledge) if knowledge.has_unfinished_erasures() else []
        is_due = settings.discord_token is not None and knowledge.digests.is_any_due()
        done = send(settings, knowledge) if is_due else SentDigests()
    if done.failed:
        rows: list[Row] = [{"digest": as_markdown(line)} for line in done.failed]
        create_table_artifact(rows, key=FAILED_KEY, description="Not tried again today. The others were sent.")
    return {
        "sent": done.sent,
        "found": done.found,
        "empty": done.empty,
        "failed": len(done.failed),
        "remark": done.remark,
        "erasures": sum(report.is_complete for report in erasures),
    }
