"""A page of HTML as PDF/UA, for paper and for screen readers, by WeasyPrint (extra `report`)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import NamedTuple

from indelible.errors import ConfigurationError


class Pdf(NamedTuple):
    """A document; `lacks_glyphs` where no font here has all of its characters."""

    content: bytes
    lacks_glyphs: bool


def load_printer() -> None:
    """Return where PDF can be made here. Raises `ConfigurationError`."""
    try:
        import weasyprint  # noqa: F401 - whether it and what it needs are there
    except ImportError:
        raise ConfigurationError(
            "expected WeasyPrint to make a PDF: pip install 'indelible[report]', or name a file "
            "that ends with .html"
        ) from None
    except OSError:
        raise ConfigurationError(
            "expected Pango, which WeasyPrint sets text with: on Debian apt-get install "
            "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core; or name a "
            "file that ends with .html"
        ) from None


def format_pdf(page: str) -> Pdf:
    """The page as it is printed. Nothing that it may refer to is fetched, from anywhere.

    Raises `ConfigurationError`.
    """
    load_printer()
    from weasyprint import HTML, URLFetcher

    nowhere = URLFetcher(allowed_protocols=())
    with _unlogged() as said:
        made = HTML(string=page, url_fetcher=nowhere).write_pdf(pdf_variant="pdf/ua-1")
    return Pdf(bytes(made), any("glyph" in each for each in said))


@contextlib.contextmanager
def _unlogged() -> Iterator[list[str]]:
    """WeasyPrint's warnings quote what stands in the page: they are nowhere but in this list."""
    said: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        said.append(str(record.msg))
        return False

    logger = logging.getLogger("weasyprint")
    logger.addFilter(keep)
    try:
        yield said
    finally:
        logger.removeFilter(keep)
