"""The pages that lead to the others: `index.html` of one report, and the one of all that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

from nescord.reports.page import framed
from nescord.reports.retention import INDEX, Report, ReportPage
from nescord.web.markup import Markup, element, joined

_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "report": "Report of {when}",
        "reports": "Reports",
        "all": "← All reports",
        "of": "Made from the marts {generation}.",
        "space": "Only of {space}.",
        "name": "Report",
        "size": "Size",
        "took": "Took",
        "state": "Result",
        "good": "complete",
        "partial": "incomplete: {failure}",
        "none": "no page: {failure}",
        "cell": "cell {cell}: {error}",
        "in_all": "{count} pages, {size}, made in {took}.",
        "failed": "{count} of them failed: what there was before that is shown.",
        "when": "Made",
        "pages": "Pages",
        "some": "{failed} of {count} incomplete",
        "seconds": "{count} s",
        "nothing": "There is no report yet.",
    },
    "ja": {
        "report": "{when} のレポート",
        "reports": "レポート",
        "all": "← レポート一覧",
        "of": "データマート {generation} から作成しました。",
        "space": "{space} のみを対象としています。",
        "name": "レポート",
        "size": "サイズ",
        "took": "所要",
        "state": "結果",
        "good": "完了",
        "partial": "途中まで: {failure}",
        "none": "ページなし: {failure}",
        "cell": "セル {cell}: {error}",
        "in_all": "全 {count} ページ、{size}、作成時間 {took}。",
        "failed": "うち {count} 件でエラーが発生しました。エラーの手前までを表示します。",
        "when": "作成日時",
        "pages": "ページ数",
        "some": "{count} 件中 {failed} 件が途中まで",
        "seconds": "{count} 秒",
        "nothing": "レポートはまだありません。",
    },
}


def index_of(report: Report, timezone: str) -> str:
    """The page that leads to the pages of one report. What notebooks said is escaped."""
    words = _WORDS.get(report.language, _WORDS["en"])
    when = _local(report.built_at, timezone)
    title = words["report"].format(when=when)
    took = _took(words, report.seconds)
    said = [words["in_all"].format(count=len(report.pages), size=_size(report.bytes), took=took)]
    said.append(words["of"].format(generation=report.generation))
    if report.space:
        said.append(words["space"].format(space=report.space))
    failed = words["failed"].format(count=len(report.failed))
    content = joined(
        element("nav", element("a", words["all"], href=f"../{INDEX}")),
        element("h1", title),
        element("p", " ".join(said), class_="soft"),
        element("p", failed, class_="bad") if report.failed else Markup(),
        _table(
            [words["name"], words["size"], words["took"], words["state"]],
            [_row(words, page) for page in report.pages],
        ),
        *(element("p", remark, class_="soft") for remark in report.remarks),
    )
    return framed(content, title=title, language=report.language)


def index_of_all(reports: Sequence[Report], timezone: str, language: str) -> str:
    """The page that leads to all reports, given oldest first."""
    words = _WORDS.get(language, _WORDS["en"])
    rows = [
        joined(
            element("td", element("a", _local(report.built_at, timezone), href=f"{report.stamp}/{INDEX}")),
            element("td", f"{len(report.pages)}", class_="number"),
            element("td", _size(report.bytes), class_="number"),
            element("td", _whole(words, report)),
        )
        for report in reversed(reports)
    ]
    table = _table([words["when"], words["pages"], words["size"], words["state"]], rows)
    content = joined(element("h1", words["reports"]), table if rows else element("p", words["nothing"]))
    return framed(content, title=words["reports"], language=language)


def _whole(words: Mapping[str, str], report: Report) -> Markup:
    space = Markup() if not report.space else joined(" · ", words["space"].format(space=report.space))
    if report:
        return joined(element("span", words["good"], class_="good"), space)
    said = words["some"].format(failed=len(report.failed), count=len(report.pages))
    return joined(element("span", said, class_="bad"), space)


def _row(words: Mapping[str, str], page: ReportPage) -> Markup:
    link = element("a", page.title, href=quote(page.file)) if page.file else page.title
    state = element("span", words["good"], class_="good")
    if page.failure is not None:
        cell, error = page.failure.cell, page.failure.error
        failure = words["cell"].format(cell=cell, error=error) if cell else error
        said = words["partial" if page.file else "none"].format(failure=failure)
        state = element("span", said, class_="bad")
    return joined(
        element("td", link),
        element("td", _size(page.bytes), class_="number"),
        element("td", _took(words, page.seconds), class_="number"),
        element("td", state),
    )


def _table(names: Sequence[str], rows: Sequence[Markup]) -> Markup:
    # The two in the middle are numbers.
    head = [
        element("th", name, scope="col", **({"class_": "number"} if place in (1, 2) else {}))
        for place, name in enumerate(names)
    ]
    body = element("tbody", *(element("tr", row) for row in rows))
    return element("div", element("table", element("thead", element("tr", *head)), body), class_="wide")


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"


def _took(words: Mapping[str, str], seconds: float) -> str:
    return words["seconds"].format(count=f"{seconds:,.0f}")


def _local(moment: str, timezone: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M}"
