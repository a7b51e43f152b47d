"""What the flows do, without Prefect: one call from settings and parameters, for scripts, cron and when no server runs.

The parameters have the names of the flows' own (a test compares them). What a flow adds is left out here: records,
retries, events and messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nescord.backup.manager import BackupManager
from nescord.errors import BackupError, DamagedBackupError, NescordError, UsageError
from nescord.settings import Settings

Document = Mapping[str, object]
_TEXT = {"type": "string"}
_MAY_BE_TEXT = {"type": ["string", "null"]}
_YES_OR_NO = {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class LocalFlow:
    """A verb under a flow's name: what it takes (JSON Schema) and what it does; a document, and whether all is well."""

    properties: Mapping[str, Mapping[str, object]]
    run: Callable[[Settings, Mapping[str, Any]], tuple[Document, bool]]  # Any: of the types that the schema says
    required: tuple[str, ...] = ()

    @property
    def schema(self) -> dict[str, object]:
        return {"properties": {**self.properties, "data_dir": _MAY_BE_TEXT}, "required": self.required}


def run(name: str, settings: Settings, parameters: Mapping[str, Any]) -> tuple[Document, bool]:
    """Do what the flow of that name does; its report, and whether what it looked at is well.

    Raises:
        NescordError: what the verb raises.
    """
    return LOCAL[name].run(settings, parameters)


def named(name: str) -> LocalFlow:
    """The flow of that name.

    Raises:
        UsageError: it is not one that can be run without a server.
    """
    if name not in LOCAL:
        raise UsageError(f'there is no flow "{name}" to run without a server; there are {", ".join(LOCAL)}')
    return LOCAL[name]


def _ingest(settings: Settings, given: Mapping[str, Any]) -> tuple[Document, bool]:
    from nescord.ingest import IngestOptions
    from nescord.knowledge import KnowledgeManager

    options = IngestOptions(allow_mass_delete=given.get("allow_mass_delete", False))
    with KnowledgeManager.open(settings) as knowledge:
        return asdict(knowledge.ingest(given.get("vault"), options=options)), True


def _verify(settings: Settings, given: Mapping[str, Any]) -> tuple[Document, bool]:
    from nescord.persistence.verb import repaired, verified

    deep: bool = given.get("deep", False)
    report = verified(settings, deep=deep)
    done: list[str] = []
    if given.get("repair", False):
        done = repaired(settings, report)
        report = verified(settings, deep=deep)
    return {**report.document(), "repaired": done}, bool(report)


def _backup(settings: Settings, given: Mapping[str, Any]) -> tuple[Document, bool]:
    from nescord.backup.prune import prune
    from nescord.backup.replicate import replicate
    from nescord.backup.retention import NIGHTLY

    manager = BackupManager(settings)
    made = manager.create(trigger=given.get("trigger", "manual"))
    _checked(manager, made.id)
    document: dict[str, object] = asdict(made)
    missed: NescordError | None = None
    if given.get("replicate", True) and settings.off_site is not None:
        try:
            with manager.opened() as base:
                document["copied"] = replicate(base).sent
        except NescordError as error:  # the backup here is good, and its disk must not fill up meanwhile
            missed = error
    if given.get("prune", True):
        document["dropped"] = prune(settings, NIGHTLY).dropped
    if missed is not None:
        raise missed
    return document, True


def _drill(settings: Settings, given: Mapping[str, Any]) -> tuple[Document, bool]:
    from nescord.backup.drill import drill

    with BackupManager(settings).opened() as base:
        done = drill(base, given.get("snapshot"))
    if not done.ok:
        raise BackupError(f"the drill of {done.id} has failed: {'; '.join(done.problems)}")
    return {"id": done.id, "probes": done.probes, "chunks": done.chunks, "seconds": done.seconds}, True


def _maintain(settings: Settings, given: Mapping[str, Any]) -> tuple[Document, bool]:
    from nescord.knowledge import KnowledgeManager

    with KnowledgeManager.open_existing(settings) as knowledge:
        report = knowledge.maintain()
    return report.document(), bool(report)


def _report(settings: Settings, given: Mapping[str, Any]) -> tuple[Document, bool]:
    from nescord.reports.build import build

    report = build(settings, language=given.get("language"))
    return report.document(), bool(report)


def _digest(settings: Settings, given: Mapping[str, Any]) -> tuple[Document, bool]:
    from nescord.digests import send_due
    from nescord.knowledge import KnowledgeManager

    with KnowledgeManager.open_existing(settings) as knowledge:
        erasures = knowledge.finish_erasures() if knowledge.has_unfinished_erasures() else []
        done = send_due(settings, knowledge)
    return {**asdict(done), "erasures": sum(report.is_complete for report in erasures)}, True


def _restore(settings: Settings, given: Mapping[str, Any]) -> tuple[Document, bool]:
    if given["confirm"] != given["snapshot"]:
        raise UsageError(f'nothing has changed: "confirm" must repeat the id {given["snapshot"]}')
    manager = BackupManager(settings)
    _checked(manager, given["snapshot"])
    done = manager.restored(given["snapshot"])
    checks, is_well = _verify(settings, {})
    return {**asdict(done), "verified": checks["ok"]}, is_well


def _checked(manager: BackupManager, snapshot: str) -> None:
    (checked,) = manager.checked([snapshot])
    if not checked.ok:
        raise DamagedBackupError(f"the snapshot {snapshot} is damaged: {'; '.join(checked.problems)}")


def settings_for(settings: Settings, given: Mapping[str, Any]) -> Settings:
    """The settings with the parameter `data_dir` in them, which every flow has."""
    folder = given.get("data_dir")
    if not folder:
        return settings
    set_ones = {name: getattr(settings, name) for name in settings.model_fields_set}
    return Settings(**{**set_ones, "data_dir": Path(folder)})


LOCAL: Mapping[str, LocalFlow] = {
    "ingest": LocalFlow({"vault": _MAY_BE_TEXT, "allow_mass_delete": _YES_OR_NO}, _ingest),
    "verify": LocalFlow({"deep": _YES_OR_NO, "repair": _YES_OR_NO}, _verify),
    "backup": LocalFlow(
        {
            "replicate": _YES_OR_NO,
            "prune": _YES_OR_NO,
            "trigger": {"enum": ["manual", "nightly"]},
        },
        _backup,
    ),
    "drill": LocalFlow({"snapshot": _MAY_BE_TEXT}, _drill),
    "maintain": LocalFlow({}, _maintain),
    "digest": LocalFlow({}, _digest),
    "report": LocalFlow({"language": {"enum": ["ja", "en"]}}, _report),
    "restore": LocalFlow({"snapshot": _TEXT, "confirm": _TEXT}, _restore, required=("snapshot", "confirm")),
}
