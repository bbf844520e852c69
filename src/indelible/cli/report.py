"""Write the answer for the person whose data it is about, to a file of its own."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import click

from indelible.cli.opening import ask_trail
from indelible.durable import sync_directory, write_new
from indelible.errors import ConfigurationError, DeliveryError
from indelible.events.codec import format_time
from indelible.events.model import Subject
from indelible.reports.access import report_access
from indelible.reports.page import format_page
from indelible.reports.pdf import format_pdf, load_printer


def write_report(
    file: Path, of: Subject, *, since: str | None, until: str | None, config: Path
) -> None:
    """Write who accessed `of`'s data to `file`, for its owner alone; that it was asked is an entry.

    Raises `click.UsageError` for a file that is neither HTML nor PDF, `ConfigurationError` where
    there is one or PDF can't be made here, and `DeliveryError`: nothing was written then.
    """
    suffix = file.suffix.lower()
    if suffix not in (".html", ".pdf"):
        raise click.UsageError(f"expected a file that ends with .html or .pdf, got {file.name!r}")
    if file.exists():
        raise ConfigurationError(f"{file}: expected no file there yet, found one")
    if suffix == ".pdf":
        load_printer()
    with ask_trail(config) as trail:
        report = report_access(
            trail.reader,
            trail.accessors(of=of, since=since, until=until),
            of=of,
            policy=trail.policy,
            made=format_time(time.time_ns() // 1_000),
        )
    page = format_page(report)
    printed = format_pdf(page) if suffix == ".pdf" else None
    _write(file, page.encode() if printed is None else printed.content)
    certain = sum(each.is_certain for each in report.accesses)
    click.echo(
        f"{file}: {certain} who accessed the data of {of}, {len(report.accesses) - certain} who "
        f"may have"
    )
    if printed is not None and printed.lacks_glyphs:
        click.echo(
            "no font here has all of its characters: install more (fonts-noto-core, on Debian), or "
            "name a file that ends with .html",
            err=True,
        )
    if not report.is_known:
        click.echo(f"the trail has never heard of {of}", err=True)


def _write(file: Path, content: bytes) -> None:
    try:
        write_new(file, content)
        sync_directory(file.parent)
    except FileExistsError:
        raise ConfigurationError(f"{file}: expected no file there yet, found one") from None
    except OSError as error:
        with contextlib.suppress(OSError):
            file.unlink()
        raise DeliveryError(f"can't write {file}: {error.strerror}; nothing is there") from None
