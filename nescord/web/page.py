"""The page `/`: what runs, for anybody; and with the token everything that is known, one small table for each topic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from nescord.budget import BudgetState
from nescord.service_state import Finding, SupervisorState
from nescord.settings import Settings
from nescord.web.condition import Condition, Part
from nescord.web.figures import Backups, Figures, LatestReport, Stored
from nescord.web.markup import Markup, element, joined
from nescord.web.runs import FlowRun
from nescord.web.style import CSS
from nescord.web.texts import Texts

Colour = Literal["good", "busy", "bad"]
Fact = tuple[str, str]

_OF_LEVEL: dict[str, Colour] = {"good": "good", "away": "bad"}
_OF_STATE: dict[str, Colour] = {
    "ready": "good",
    "degraded": "bad",
    "stopped": "bad",
    "failed": "bad",
    "fail": "bad",
    "COMPLETED": "good",
    "FAILED": "bad",
    "CRASHED": "bad",
}
# Parts whose states have words of their own.
_OWN_STATES = {"database": "database", "discord": "discord"}
_TONGUES = {"en": "English", "ja": "日本語"}


@dataclass(frozen=True, slots=True)
class Private:
    """What only whoever has the token sees; None is what could not be found out in time."""

    state: SupervisorState | None
    figures: Figures | None
    runs: tuple[FlowRun, ...] | None


class Page:
    """One page for one reader."""

    def __init__(self, texts: Texts, settings: Settings) -> None:
        self._texts = texts
        self._settings = settings
        self._zone = ZoneInfo(settings.timezone)
        self._now = datetime.now(UTC)

    def html(self, condition: Condition, private: Private | None) -> str:
        """All of it."""
        texts = self._texts
        # With the token, failed checks are told with all that was found.
        parts = [part for part in condition.parts if private is None or part.state != "failed"]
        content = [self._header(), self._whole(condition), self._parts(parts, is_private=private is not None)]
        if private is not None:
            content += self._private(private)
        head = element(
            "head",
            Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="robots" content="noindex">'),
            element("title", texts("title")),
            Markup(f"<style>{CSS}</style>"),
        )
        main = element("main", *content, self._footer(is_public=private is None))
        return "<!doctype html>\n" + element("html", head, element("body", main), lang=texts.language) + "\n"

    def _header(self) -> Markup:
        here = self._texts.language
        english, japanese = (
            element("span", tongue, lang=one)
            if one == here
            else element("a", tongue, href=f"?lang={one}", lang=one, hreflang=one)
            for one, tongue in _TONGUES.items()
        )
        nav = element("nav", english, " · ", japanese, class_="tongues")
        return element("header", element("h1", "NescordBot"), nav)

    def _whole(self, condition: Condition) -> Markup:
        texts = self._texts
        said = [texts.reason(condition.problem)] if condition.problem else []
        if condition.level == "degraded":
            said += self._missing(condition.parts)
        if condition.is_ready and condition.ready_since:
            said.append(texts("ready_since", when=self._local(condition.ready_since)))
        return element(
            "section",
            element("p", texts(f"level.{condition.level}"), class_="verdict"),
            *(element("p", each, class_="soft") for each in said),
            class_=f"card whole {_OF_LEVEL.get(condition.level, 'busy')}",
        )

    def _missing(self, parts: Iterable[Part]) -> list[str]:
        texts = self._texts
        failed = [part.name for part in parts if part.state == "failed"]
        away = [texts.or_plain("part", part.name) for part in parts if not part.is_well and part.name not in failed]
        said = [texts("missing", parts=texts("and").join(away))] if away else []
        return [*said, texts("failed", checks=texts("and").join(failed))] if failed else said

    def _parts(self, parts: Iterable[Part], *, is_private: bool) -> Markup:
        rows = [
            element(
                "tr",
                element("td", self._name(part), self._under(part, is_private=is_private)),
                element("td", self._state(_OWN_STATES.get(part.name, "state"), part.state), class_="number"),
            )
            for part in parts
        ]
        return self._card("parts", _table(rows))

    def _name(self, part: Part) -> str:
        if part.state == "failed":
            return self._texts("check", name=part.name)
        return self._texts.or_plain("part", part.name)

    def _under(self, part: Part, *, is_private: bool) -> Markup:
        """What is worth knowing about a part beside its state."""
        texts = self._texts
        said = [texts.reason(part.reason)] if part.reason else []
        if part.detail and is_private:
            said.append(part.detail)
        if part.last_ack:
            said.append(texts("last_ack", when=self._local(part.last_ack)))
        if part.since and not part.is_well:
            said.append(texts("since", when=self._local(part.since)))
        if part.restarts:
            said.append(texts("restarts", count=part.restarts))
        if part.state == "degraded":
            said.append(texts("tried_again"))
        if not said:
            return Markup()
        return element("span", texts("and").join(said), class_="soft under")

    def _private(self, private: Private) -> list[Markup]:
        figures = private.figures
        findings = self._findings(private.state.findings) if private.state else Markup()
        return [
            findings,
            self._knowledge(figures.stored if figures else None),
            self._runs(private.runs),
            self._report(figures.report if figures else None),
            self._safety(figures),
            self._machine(figures),
        ]

    def _findings(self, findings: Iterable[Finding]) -> Markup:
        rows = [
            element(
                "tr",
                element(
                    "td",
                    finding.name,
                    element("span", finding.value, class_="soft under"),
                    element("span", f"→ {finding.mend}", class_="soft under") if finding.mend else Markup(),
                ),
                element("td", self._state("finding", finding.status), class_="number"),
            )
            for finding in findings
            if finding.status in ("warn", "fail")
        ]
        return self._card("findings", _table(rows)) if rows else Markup()

    def _knowledge(self, stored: Stored | None) -> Markup:
        texts = self._texts
        if stored is None:
            return self._card("knowledge", element("p", texts("not_read"), class_="soft note"))
        facts = [
            (texts("notes"), f"{stored.notes:,}"),
            (texts("chunks"), f"{stored.chunks:,}"),
            (texts("pending"), f"{stored.pending:,}"),
            (texts("behind"), f"{stored.behind:,}"),
            (texts("last_change"), self._ago(stored.last_change)),
            (texts("budget"), self._spent(stored.budget)),
        ]
        notes = list(stored.degraded)
        if stored.budget.off and stored.budget.limit:
            purposes = texts("and").join(texts(f"purpose.{purpose}") for purpose in sorted(stored.budget.off))
            notes.append(texts("budget.off", what=purposes, when=self._local(stored.budget.returns_at.isoformat())))
        if stored.paused:
            notes.append(texts("paused", snapshot=stored.paused))
        return self._card("knowledge", _facts(facts), *(element("p", each, class_="soft note") for each in notes))

    def _spent(self, budget: BudgetState) -> str:
        numbers = {"used": f"{budget.total:,}", "limit": f"{budget.limit:,}", "share": f"{budget.share:.1%}"}
        return self._texts("budget.used", **numbers)

    def _runs(self, runs: tuple[FlowRun, ...] | None) -> Markup:
        texts = self._texts
        if not runs:
            return self._card(
                "runs", element("p", texts("runs_away" if runs is None else "no_runs"), class_="soft note")
            )
        names = ("run.flow", "run.began", "run.took", "run.state")
        head = element("tr", *(element("th", texts(name), **_numeric(name == "run.state")) for name in names))
        rows = [
            element(
                "tr",
                element("td", run.flow),
                element("td", self._local(run.began) if run.began else texts("not_yet")),
                element("td", self._took(run.seconds) if run.began else ""),
                element("td", self._state("run", run.state), class_="number"),
            )
            for run in runs
        ]
        return self._card("runs", element("table", element("thead", head), element("tbody", *rows)))

    def _report(self, report: LatestReport | None) -> Markup:
        texts = self._texts
        if report is None:
            return self._card("reports", element("p", texts("no_report"), class_="soft note"))
        failed = self._chip("bad", texts("report.failed", count=len(report.failed))) if report.failed else Markup()
        link = element("a", texts("report.open"), href=f"reports/{report.stamp}/index.html")
        every = element("a", texts("report.all"), href="reports/")
        space = joined(" · ", texts("report.space", space=report.space)) if report.space else Markup()
        facts = [(texts("report.latest"), joined(self._ago(report.at), space, " ", failed)), (link, every)]
        return self._card("reports", _facts(facts))

    def _safety(self, figures: Figures | None) -> Markup:
        texts = self._texts
        backups = figures.backups if figures else None
        facts = self._of_backups(backups) if backups else [(texts("backup"), texts("not_known"))]
        verified = figures.verified if figures else None
        if verified is None:
            facts.append((texts("verify"), texts("not_yet" if figures else "not_known")))
        else:
            result = self._chip("good", texts("passed"))
            if verified.failed:
                result = self._chip("bad", f"{texts('finding.fail')}: {', '.join(verified.failed)}")
            elif verified.warned:
                result = self._chip("busy", texts("warned", count=len(verified.warned)))
            facts.append((texts("verify"), joined(self._ago(verified.at), " ", result)))
            facts.append((texts("verify.deep"), self._ago(verified.deep_at)))
        return self._card("safety", _facts(facts))

    def _of_backups(self, backups: Backups) -> list[Fact]:
        texts = self._texts
        bad = self._chip("bad", texts("bad_backups", count=backups.bad)) if backups.bad else Markup()
        drill = self._ago(backups.drilled)
        if backups.drilled and not backups.is_drill_good:
            drill = joined(drill, " ", self._chip("bad", texts("finding.fail")))
        elsewhere = texts("yes" if backups.is_newest_off_site else "no")
        if not (backups.is_newest_off_site or self._settings.off_site):
            elsewhere = texts("off_site.unused")
        return [
            (texts("backup"), self._ago(backups.newest)),
            (texts("backups"), joined(f"{backups.good:,} ", bad)),
            (texts("off_site"), elsewhere),
            (texts("drill"), drill),
        ]

    def _machine(self, figures: Figures | None) -> Markup:
        texts = self._texts
        if figures is None:
            return self._card("machine", element("p", texts("not_known"), class_="soft note"))
        facts: list[Fact] = []
        if figures.memory:
            for name, size in figures.memory.items():
                facts.append((texts("memory", part=texts.or_plain("part", name)), _bytes(size)))
            facts.append((texts("memory.all"), _bytes(sum(figures.memory.values()))))
        if figures.stored:
            facts.append((texts("database_size"), _bytes(figures.stored.bytes)))
        if disk := figures.volume:
            said = texts("volume.of", free=_bytes(disk.free), total=_bytes(disk.total))
            used = element(
                "meter",
                said,
                min="0",
                max=str(disk.total),
                high=str(int(disk.total * 0.85)),
                low="0",
                optimum="0",
                value=str(disk.total - disk.free),
            )
            facts.append((texts("volume"), joined(said, used)))
        return self._card("machine", _facts(facts))

    def _footer(self, *, is_public: bool) -> Markup:
        texts = self._texts
        said = [element("p", texts("as_of", when=self._local(self._now.isoformat()), zone=self._zone.key))]
        if is_public and self._settings.status_token is None:
            said.append(element("p", texts("no_token")))
        elif is_public:
            said.append(element("p", element("a", texts("details"), href=f"details?lang={texts.language}")))
        return element("footer", *said)

    def _card(self, title: str, *content: str) -> Markup:
        return element("section", element("h2", self._texts(title)), *content, class_="card")

    def _state(self, group: str, state: str) -> Markup:
        return self._chip(_OF_STATE.get(state, "busy"), self._texts.or_plain(group, state))

    def _chip(self, colour: Colour, word: str) -> Markup:
        return element("span", word, class_=f"state {colour}")

    def _local(self, moment: str) -> str:
        """A moment on the clock of NESCORD_TZ."""
        there = datetime.fromisoformat(moment).astimezone(self._zone)
        return there.strftime("%m-%d %H:%M" if there.year == self._now.year else "%Y-%m-%d %H:%M")

    def _ago(self, moment: str) -> Markup:
        """How long ago, and when."""
        if not moment:
            return joined(self._texts("not_yet"))
        seconds = (self._now - datetime.fromisoformat(moment)).total_seconds()
        unit, size = next((each for each in _UNITS if seconds >= each[1]), ("seconds", 1))
        said = self._texts(f"ago.{unit}", count=int(seconds // size))
        return joined(said, " ", element("span", self._local(moment), class_="soft"))

    def _took(self, seconds: float) -> str:
        if seconds < 100:
            return self._texts("took.seconds", count=f"{seconds:.0f}")
        return self._texts("took.minutes", count=f"{seconds / 60:.0f}")


# A day counts as such from the second on: "30 h ago" says more than "1 day ago".
_UNITS = (("days", 86_400), ("hours", 3600), ("minutes", 60))


def _facts(facts: Iterable[Fact]) -> Markup:
    rows = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in facts]
    return element("table", element("tbody", *rows), class_="facts")


def _table(rows: Iterable[Markup]) -> Markup:
    return element("table", element("tbody", *rows))


def _numeric(is_number: bool) -> dict[str, str]:
    return {"class_": "number"} if is_number else {}


def _bytes(size: int) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:,.{0 if size >= 100 * unit or name == 'MB' else 1}f} {name}"
    return f"{size / 1e3:,.0f} kB"
