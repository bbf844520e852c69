"""A report as one page of HTML that needs nothing else: no scripts, no pictures, no fonts.

Whatever was captured is text here, on one line, with what would turn, hide or break it written out.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from indelible.events.model import Timestamp
from indelible.questions.retained import Retained
from indelible.reports import texts
from indelible.reports.access import Access, AccessReport, Gap, Noticed, OtherClient

MAX_TEXT: Final = 300
"""Characters of one captured text that are shown."""
MAX_RECORDS: Final = 1_000
MAX_REASONS: Final = 50
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
_STYLE: Final = """
:root { color-scheme: light; }
body { font: 11pt/1.45 "DejaVu Sans", Verdana, Arial, sans-serif; color: #111; background: #fff;
  max-width: 62em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.7em; } h2 { font-size: 1.2em; margin-top: 2em; }
bdi, dd, li, caption, tbody th, td.why { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3em 1.5em; }
dt { font-weight: bold; } dd { margin: 0; }
table { border-collapse: collapse; table-layout: fixed; width: 100%; margin: 1em 0; }
th.who { width: 17%; } th.time { width: 11%; } th.count { width: 9%; }
caption { text-align: left; padding: .3em 0; }
th, td { border: 1px solid #767676; padding: .35em .5em; text-align: left; vertical-align: top; }
thead th { background: #eee; }
td.count { text-align: right; }
ul.records { list-style: none; margin: 0; padding: 0; }
@page { size: A4 landscape; margin: 15mm 12mm; @bottom-right { content: "PAGE " counter(page) " / "
  counter(pages); font: 8pt "DejaVu Sans", sans-serif; } }
@media print { body { font-size: 9pt; max-width: none; margin: 0; padding: 0; }
  h2, caption { break-after: avoid; } thead { display: table-header-group; }
  dl { display: block; } dd { margin-bottom: .4em; } }
"""

_COLUMNS: Final = {
    texts.WHO: "who",
    texts.FIRST: "time",
    texts.LAST: "time",
    texts.READS: "count",
    texts.CHANGES: "count",
    texts.CONNECTED: "count",
}


def format_page(report: AccessReport) -> str:
    """The whole page, in UTF-8 without a lone surrogate or a control character."""
    title = f"{texts.TITLE}: {_plain(str(report.of))}"
    certain = [each for each in report.accesses if each.is_certain]
    possible = [each for each in report.accesses if not each.is_certain]
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="{texts.LANGUAGE}"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_escaped(_POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{_escaped(title)}</title>",
        f"<style>{_STYLE.replace('PAGE', texts.PAGE)}</style></head><body><main>",
        f"<h1>{_said(texts.TITLE)}</h1>",
        *_about(report),
        *_summary(report, certain, possible),
        *_section(texts.CERTAIN, _accesses(certain, texts.CERTAIN_WORDS, report)),
        *_section(texts.POSSIBLE, _accesses(possible, texts.POSSIBLE_WORDS, report)),
        *(_section(texts.OTHERS, _others(report.others)) if report.others else ()),
        *_section(texts.COVERAGE, _list(_coverage(report))),
        *_section(texts.LIMITS, _list(map(_said, texts.LIMITS_WORDS))),
        *_section(texts.HOW_TO_READ, _list(map(_said, texts.HOW_TO_READ_WORDS))),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


# -- parts ----------------------------------------------------------------------------------------


def _about(report: AccessReport) -> Iterator[str]:
    period = texts.PERIOD_WORDS.format(
        since=_time(report.since) if report.since else texts.BEGINNING,
        until=_time(report.until) if report.until else texts.END,
    )
    trail = texts.TRAIL_WORDS.format(origin=_plain(report.origin), size=report.size)
    yield from _section(
        texts.ABOUT,
        (
            "<dl>",
            f"<dt>{_said(texts.PERSON)}</dt><dd>{_given(str(report.of))}</dd>",
            f"<dt>{_said(texts.PERIOD)}</dt><dd>{_said(period)}</dd>",
            f"<dt>{_said(texts.MADE)}</dt><dd>{_said(_time(report.made))}</dd>",
            f"<dt>{_said(texts.TRAIL)}</dt><dd>{_said(trail)}</dd>",
            f"<dt>{_said(texts.ROOT)}</dt><dd>{_root(report)}</dd>",
            "</dl>",
            f"<p>{_said(texts.TIMES)}</p>",
        ),
    )


def _root(report: AccessReport) -> str:
    if report.signed is None:
        return _said(texts.NO_ROOT)
    words = texts.ROOT_WORDS.format(size=report.signed.size)
    return f"{_said(report.signed.root.hex())}<br>{_said(words)}"


def _summary(
    report: AccessReport, certain: Sequence[Access], possible: Sequence[Access]
) -> Iterator[str]:
    words = texts.SUMMARY_WORDS.format(certain=_how_many(certain), possible=_how_many(possible))
    said = [words] if report.is_known or report.accesses else [texts.NEVER_HEARD]
    if report.is_anonymous:
        said.append(texts.NOBODY_NAMED)
    yield from _section(texts.SUMMARY, (f"<p>{_said(each)}</p>" for each in said))


def _how_many(accesses: Sequence[Access]) -> str:
    count = len({each.who for each in accesses})
    return texts.NONE if not count else texts.ONE if count == 1 else texts.MANY.format(count=count)


def _accesses(accesses: Sequence[Access], words: str, report: AccessReport) -> Iterator[str]:
    if not accesses:
        yield f"<p>{_said(words)}</p><p>{_said(texts.NOTHING)}</p>"
        return
    columns = [texts.WHO, texts.FIRST, texts.LAST, texts.READS, texts.CHANGES, texts.RECORDS]
    is_certain = accesses[0].is_certain
    if not is_certain:
        columns.append(texts.WHY_POSSIBLE)
    if report.shows_reasons:
        columns.append(texts.REASONS)
    yield from _head(words, columns)
    for each in accesses:
        yield (
            f'<tr><th scope="row">{_given(each.who)}</th>'
            f'<td class="time">{_said(_when(each.first, each))}</td>'
            f'<td class="time">{_said(_when(each.last, each))}</td>'
            f'<td class="count">{each.reads}</td><td class="count">{each.changes}</td>'
            f"<td>{_records(each)}</td>"
            + ("" if is_certain else f"<td>{_doubts(each.doubts)}</td>")
            + (f"<td>{_reasons(each.reasons)}</td>" if report.shows_reasons else "")
            + "</tr>"
        )
    yield "</tbody></table>"


def _records(access: Access) -> str:
    """A line for what was done to records of one kind."""
    lines: dict[tuple[str, str], list[str]] = {}
    for each in access.records[:MAX_RECORDS]:
        how = texts.CHANGED if each.was_changed else texts.READ
        if each.was_read and each.was_changed:
            how = texts.READ_AND_CHANGED
        name = _said(texts.SOME) if each.id is None else _given(each.id)
        lines.setdefault((each.kind, how), []).append(name)
    shown = [
        f"{_given(kind)} ({_said(how)}): {', '.join(ids)}" for (kind, how), ids in lines.items()
    ]
    if access.by_day:
        return _said(texts.BY_DAY.format(count=access.untold))
    if access.untold:
        shown.append(_said(texts.UNTOLD.format(count=access.untold)))
    return _some(shown, len(access.records) - MAX_RECORDS, texts.NO_RECORDS)


def _doubts(doubts: Sequence[str]) -> str:
    words = dict.fromkeys(_words(doubt, texts.DOUBTS, texts.OTHER_DOUBT) for doubt in doubts)
    return _some([_said(each) for each in words], 0, texts.OTHER_DOUBT)


def _words(text: str, known: Mapping[str, str], other: str) -> str:
    return next((words for part, words in known.items() if part in text), other)


def _reasons(reasons: Sequence[str]) -> str:
    shown = [_given(each) for each in reasons[:MAX_REASONS]]
    return _some(shown, len(reasons) - MAX_REASONS, texts.NO_REASON)


def _some(shown: Sequence[str], more: int, nothing: str) -> str:
    if not shown:
        return _said(nothing)
    rest = [_said(texts.MORE.format(count=more))] if more > 0 else []
    return f'<ul class="records">{"".join(f"<li>{each}</li>" for each in [*shown, *rest])}</ul>'


def _others(others: Sequence[OtherClient]) -> Iterator[str]:
    columns = (texts.WHO, texts.FIRST, texts.LAST, texts.CONNECTED, texts.WHY)
    yield from _head(texts.OTHERS_WORDS, columns)
    for each in others:
        sessions = texts.UNKNOWN if each.sessions is None else str(each.sessions)
        yield (
            f'<tr><th scope="row">{_given(each.who or texts.NOT_SEEN)}</th>'
            f'<td class="time">{_said(_time(each.first))}</td>'
            f'<td class="time">{_said(_time(each.last))}</td>'
            f'<td class="count">{_said(sessions)}</td><td class="why">{_given(each.why)}</td></tr>'
        )
    yield "</tbody></table>"


def _coverage(report: AccessReport) -> Iterator[str]:
    yield _said(texts.SEARCHED.format(size=report.size))
    for tier in report.tiers:
        words = texts.HOT if tier.name == "hot" else texts.SEALED
        if tier.since:
            yield _said(words.format(since=_time(tier.since), until=_time(tier.until)))
    yield _said(_began(report))
    for kind, since in report.captured:
        words = texts.NOT_CAPTURED if since is None else texts.CAPTURED
        yield _said(words.format(kind=_plain(kind), since=_time(since) if since else ""))
    yield from (_said(texts.UNREAD.format(kind=_plain(kind))) for kind in report.unread)
    yield from (_said(texts.UNWRITTEN.format(kind=_plain(kind))) for kind in report.unwritten)
    if report.retained is not None:
        yield from map(_said, _retained(report.retained))
    if report.gaps:
        gaps = "".join(_list(map(_gap, report.gaps)))
        yield f"{_said(texts.WITH_GAPS)}{gaps}"
    elif report.complete_until is not None:
        yield _said(texts.COMPLETE.format(until=_time(report.complete_until)))
    if report.verified is not None:
        yield _said(texts.VERIFIED.format(verified=_time(report.verified)))
    else:
        yield _said(texts.NOT_VERIFIED)
    if report.noticed:
        yield f"{_said(texts.NOTICED)}{''.join(_list(map(_noticed, report.noticed)))}"
    else:
        yield _said(texts.NOTHING_NOTICED)


def _retained(retained: Retained) -> Iterator[str]:
    for words, before in (
        (texts.DETAIL_GONE, retained.access_detail),
        (texts.READS_GONE, retained.accesses),
        (texts.CHANGES_GONE, retained.changes),
    ):
        if before is not None:
            yield words.format(before=before[:10])
    if retained.access_detail is not None:
        yield texts.SELF_ATTESTED if retained.self_attested else texts.ATTESTED


def _when(time: Timestamp, access: Access) -> str:
    return time[:10] if access.by_day else _time(time)


def _began(report: AccessReport) -> str:
    if report.began is None:
        return texts.NO_ENTRIES
    is_later = report.since is not None and report.since < report.began
    words = texts.BEGAN_LATER if is_later else texts.BEGAN
    return words.format(began=_time(report.began))


def _gap(gap: Gap) -> str:
    since = _time(gap.since) if gap.since else texts.FROM_THE_FIRST
    said = []
    if gap.missing:
        said.append(texts.GAP.format(since=since, missing=gap.missing))
    if gap.lost:
        said.append(texts.GAP_LOST.format(lost=gap.lost))
    return _said(" ".join(said))


def _noticed(noticed: Noticed) -> str:
    return _said(
        texts.NOTICED_WORDS.format(
            what=_words(noticed.action, texts.NOTICES, texts.OTHER_NOTICE),
            count=noticed.times,
            first=_time(noticed.first),
            last=_time(noticed.last),
        )
    )


# -- HTML -----------------------------------------------------------------------------------------


def _section(title: str, content: Iterable[str]) -> Iterator[str]:
    yield f"<section><h2>{_said(title)}</h2>"
    yield from content
    yield "</section>"


def _head(caption: str, columns: Iterable[str]) -> Iterator[str]:
    """Columns have widths of their own: to fit them to long texts takes a printer minutes."""
    yield f"<table><caption>{_said(caption)}</caption><thead><tr>"
    yield from (
        f'<th scope="col" class="{_COLUMNS.get(column, "text")}">{_said(column)}</th>'
        for column in columns
    )
    yield "</tr></thead><tbody>"


def _list(items: Iterable[str]) -> Iterator[str]:
    yield "<ul>"
    yield from (f"<li>{item}</li>" for item in items)
    yield "</ul>"


def _said(text: str) -> str:
    """Words of ours, in which what was captured is `_plain`."""
    return _escaped(text)


def _given(text: str) -> str:
    """What was captured, set apart where its direction could turn what is around it."""
    shown = _escaped(_plain(text))
    return shown if shown.isascii() else f"<bdi>{shown}</bdi>"


def _plain(text: str) -> str:
    """`text` on one line, shortened; what can't be seen is written out with a backslash."""
    shown = text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)


def _time(time: Timestamp) -> str:
    """To the second, in UTC."""
    return f"{time[:10]} {time[11:19]}"
