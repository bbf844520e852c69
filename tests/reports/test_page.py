"""A page is the same page whatever was captured: text stays text, in HTML and in PDF."""

from __future__ import annotations

import io
import re
from pathlib import Path
from xml.etree.ElementTree import Element

import msgspec
import pytest
import tinyhtml5
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from indelible.events.model import Subject, Timestamp
from indelible.reports.access import Access, AccessReport, Noticed, OtherClient, Record
from indelible.reports.page import MAX_RECORDS, MAX_TEXT, format_page
from indelible.reports.pdf import format_pdf

TIME = Timestamp("2026-11-30T20:00:00.000000Z")
HOSTILE = {
    "script": "<script>alert(1)</script>",
    "comment": "--><!-- <b>",
    "attribute": "\"><img src=x onerror='alert(1)'>",
    "style": "</style></title></table><style>body{display:none}</style>",
    "resource": "<link rel=stylesheet href=file:///etc/passwd><img src=//evil.example/x>",
    "entity": "&lt;b&gt; &amp &#0; &nbsp",
    "turned": "moc.live\u202e\u2066gnp.exe\u200f",
    "null": "zara\x00\x07\x1b[31m",
    "lines": "one\ntwo\r\nthree\u2028four\u0085five",
    "long": "w" * 50_000,
    "surrogate": "a\ud800b",
    "format": "{origin} {0} %s %(x)s PAGE",
    "combining": "Z" + "\u0301" * 5_000,
    "arabic": "زارا",
    "chinese": "薩拉",
    "emoji": "👩🏽\u200d💻",
}


def page_of(text: str, *, reasons: bool = True) -> AccessReport:
    """A report in which `text` stands wherever anything captured can."""
    access = Access(
        who=text,
        is_certain=True,
        first=TIME,
        last=TIME,
        reads=1,
        changes=1,
        records=(Record(text, text, True, False), Record(text, None, False, True)),
        doubts=(),
        reasons=(text,) if reasons else (),
    )
    return AccessReport(
        of=Subject(text, text),
        is_known=True,
        made=TIME,
        since=None,
        until=None,
        origin=text,
        size=1,
        signed=None,
        verified=None,
        accesses=(access, msgspec.structs.replace(access, is_certain=False, doubts=(text,))),
        others=(OtherClient(who=text, first=TIME, last=TIME, sessions=None, why=text),),
        is_anonymous=False,
        shows_reasons=reasons,
        tiers=(),
        began=TIME,
        captured=((text, TIME), (text, None)),
        complete_until=TIME,
        gaps=(),
        retained=None,
        noticed=(Noticed(text, 1, TIME, TIME),),
        unread=(text,),
        unwritten=(text,),
    )


_OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What a browser or a reader's eye would take for something else than text."""


def tree(page: str) -> Element:
    return tinyhtml5.parse(page, namespace_html_elements=False)


def shape(element: Element) -> object:
    """Every element and attribute, but for the text, and what sets it apart."""
    attributes = sorted(element.attrib.items())
    for each in element.iter("bdi"):
        assert not each.attrib and not list(each)
    return element.tag, attributes, [shape(each) for each in element if each.tag != "bdi"]


PLAIN = shape(tree(format_page(page_of("x"))))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_was_captured_makes_no_markup(text: str) -> None:
    """An HTML5 parser sees the same elements and attributes as for a harmless name."""
    page = format_page(page_of(text))
    page.encode()
    assert shape(tree(page)) == PLAIN
    assert not _OBEYED.search(page)


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_no_text_makes_markup(text: str) -> None:
    page = format_page(page_of(text))
    page.encode()
    assert shape(tree(page)) == PLAIN


def test_what_is_shown_is_what_was_captured() -> None:
    """A parser reads the name back, letter for letter."""
    name = 'O\'Brien & <Söhne> "زارا"'
    shown = [each.text for each in tree(format_page(page_of(name))).iter("bdi")]
    assert shown.count(name) >= 3


def test_it_needs_nothing_and_runs_nothing() -> None:
    """No script, picture, link or form; a policy in the page forbids them, too."""
    root = tree(format_page(page_of("زارا")))
    assert {each.tag for each in root.iter()} == {
        *("html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2"),
        *("dl", "dt", "dd", "p", "table", "caption", "thead", "tbody", "tr", "th", "td"),
        *("ul", "li", "bdi"),
    }
    for element in root.iter():
        assert not {"src", "href", "style", "action", "background"} & set(element.attrib)
        assert not any(name.startswith("on") for name in element.attrib)
    (style,) = root.iter("style")
    assert "url(" not in (style.text or "") and "@import" not in (style.text or "")
    policies = [each.get("content") for each in root.iter("meta") if each.get("http-equiv")]
    assert policies and str(policies[0]).startswith("default-src 'none'")


def test_a_screen_reader_finds_its_way() -> None:
    """A language, one title, headings in order, tables with captions and headers."""
    root = tree(format_page(page_of("x")))
    assert root.get("lang") == "en"
    assert len(list(root.iter("h1"))) == 1 and len(list(root.iter("main"))) == 1
    for table in root.iter("table"):
        assert table.find("caption") is not None
        columns = table.findall("thead/tr/th")
        assert all(each.get("scope") == "col" for each in columns)
        for row in table.findall("tbody/tr"):
            assert len(row) == len(columns)
            assert row[0].tag == "th" and row[0].get("scope") == "row"


def test_no_name_is_longer_than_a_page_bears() -> None:
    page = format_page(page_of("w" * 50_000))
    assert len(page) < 40_000 and "w" * (MAX_TEXT - 1) + "…" in page


def test_many_records_are_counted() -> None:
    """The rest is said to be there."""
    report = page_of("x")
    many = tuple(Record("invoice", str(n), True, False) for n in range(MAX_RECORDS + 5))
    (access, _) = report.accesses
    changed = msgspec.structs.replace(access, records=many)
    page = format_page(msgspec.structs.replace(report, accesses=(changed,)))
    assert f", {MAX_RECORDS - 1}</li><li>and 5 more</li>" in page


# -- PDF ------------------------------------------------------------------------------------------


def words_of(reader: PdfReader) -> str:
    text = " ".join(page.extract_text() for page in reader.pages)
    # Where a font lacks a glyph the extractor takes each character of all the rest for two.
    return re.sub(r"\s+", " ", text.replace("\0", ""))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_pdf_holds_text_alone(text: str) -> None:
    """No action, link, script or attachment in it, and it can be read."""
    reader = PdfReader(io.BytesIO(format_pdf(format_page(page_of(text))).content), strict=True)
    for forbidden in ("/AA", "/OpenAction", "/AcroForm"):
        assert forbidden not in reader.trailer["/Root"]
    assert not reader.attachments
    assert all("/Annots" not in page and "/AA" not in page for page in reader.pages)
    words = words_of(reader)
    assert "Who accessed your data" in words and "Times changed" in words


def test_a_pdf_says_what_the_page_says() -> None:
    """Names of several scripts, its language, its title, and structure for screen readers."""
    page = format_page(page_of("Zoë O'Brien & Söhne <1>"))
    reader = PdfReader(io.BytesIO(format_pdf(page).content))
    words = words_of(reader)
    assert words.count("Zoë O'Brien & Söhne <1>") >= 3
    root = reader.trailer["/Root"]
    assert root["/Lang"] == "en" and root["/MarkInfo"]["/Marked"]
    assert reader.metadata is not None and "Who accessed your data" in str(reader.metadata.title)


def test_a_pdf_fetches_nothing(tmp_path: Path) -> None:
    """Even a page that asked for a file would get none: nothing is fetched, from anywhere."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret of the file")
    page = f'<html lang="en"><title>t</title><p>x<a rel="attachment" href="{secret.as_uri()}">a</a>'
    reader = PdfReader(io.BytesIO(format_pdf(page).content))
    assert not reader.attachments
    assert b"the secret" not in format_pdf(page).content
