"""`indelible scan`: what existing logs give away."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import click
import msgspec

from indelible.cli.app import ANSWER_IS_NO, NOT_REACHED
from indelible.cli.options import JSON
from indelible.cli.output import console, print_json, print_table, printable, progress_bar
from indelible.errors import ConfigurationError, UnreadableLogError
from indelible.logs.scan import Exposure, Scan
from indelible.logs.scan_reading import read_blocks
from indelible.logs.scan_sarif import is_allowed, sarif_of
from indelible.logs.scrub import DATA_CLASSES, DEFAULT_RULES, EngineName, Scrubber
from indelible.policy import load_allowed_in_logs

_DEFAULT_POLICY: Final = Path("indelible.toml")
_CLASSES: Final = {
    "takeover": "takes over an account",
    "special": "special category",
    "personal": "personal data",
}


@click.command("scan")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--policy",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where [logs] allowed says what may be there. [default: indelible.toml, if it is here]",
)
@click.option(
    "--sarif",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the places as SARIF 2.1.0, too.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "hyperscan", "re2", "re"]),
    default="auto",
    show_default=True,
    help="What looks for patterns; all find the same.",
)
@JSON
def command(
    files: tuple[str, ...],
    policy: Path | None,
    sarif: Path | None,
    engine: EngineName,
    as_json: bool,
) -> None:
    """What logs give away: credentials, personal data, special categories.

    Reads plain, gzip and Zstandard files of JSON, logfmt or any other lines; "-" is standard
    input. Shows masked samples, never a value. Exits with 1 where something is there that isn't
    allowed, with 4 where a file couldn't be read to its end.

    For example: indelible scan /var/log/app/*.log.gz --sarif leaks.sarif
    """
    allowed = _allowed(policy)
    scan = Scan(Scrubber(engine=engine))
    unread = _look_through(scan, files)
    exposures = scan.exposures
    if sarif is not None:
        _write(sarif, msgspec.json.encode(sarif_of(exposures, allowed)))
    if as_json:
        summary = {"lines": scan.lines, "bytes": scan.bytes, "unread": unread}
        print_json([*(_as_json(e, allowed) for e in exposures), summary])
    else:
        _print(scan, exposures, allowed)
    for error in unread:
        click.echo(f"indelible: {printable(error)}", err=True)
    if unread:
        raise SystemExit(NOT_REACHED)
    if not all(is_allowed(exposure, allowed) for exposure in exposures):
        raise SystemExit(ANSWER_IS_NO)


def _allowed(policy: Path | None) -> frozenset[str]:
    if policy is None and not _DEFAULT_POLICY.exists():
        return frozenset()
    source = policy or _DEFAULT_POLICY
    allowed = load_allowed_in_logs(source)
    known = {*DATA_CLASSES, *(rule.kind for rule in DEFAULT_RULES)}
    if unknown := sorted(allowed - known):
        raise ConfigurationError(
            f"{source} [logs]: expected allowed as classes ({', '.join(DATA_CLASSES)}) or kinds "
            f"({', '.join(sorted(known - {*DATA_CLASSES}))}), got {', '.join(unknown)}"
        )
    return allowed


def _look_through(scan: Scan, files: tuple[str, ...]) -> list[str]:
    """Look through each file; returns what is to be said of those that couldn't be read."""
    unread = []
    with progress_bar("scanning, bytes") as progress:
        of = sum(_size(name) for name in files)
        before = 0
        for name in files:

            def update(done: int, before: int = before) -> None:
                progress(before + done, max(of, before + done))

            try:
                _look_through_one(scan, name, update)
            except UnreadableLogError as error:
                unread.append(str(error))
            before += _size(name)
    return unread


def _look_through_one(scan: Scan, name: str, update: Callable[[int], None]) -> None:
    if name == "-":
        scan.look_through("(standard input)", read_blocks(sys.stdin.buffer, name, update))
        return
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(Path(name).open("rb", buffering=0))
        except OSError as error:
            raise UnreadableLogError(f"{shown}: {error.strerror}") from None
        scan.look_through(shown, read_blocks(file, shown, update))


def _size(name: str) -> int:
    try:
        return 0 if name == "-" else Path(name).stat().st_size
    except OSError:
        return 0


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content + os.linesep.encode())
    except OSError as error:
        raise ConfigurationError(f"--sarif {path}: {error.strerror}") from None


def _as_json(exposure: Exposure, allowed: Collection[str]) -> dict[str, object]:
    return {
        "kind": exposure.kind,
        "class": exposure.data_class,
        "count": exposure.count,
        "lines": exposure.lines,
        "allowed": is_allowed(exposure, allowed),
        "places": exposure.places,
    }


def _print(scan: Scan, exposures: list[Exposure], allowed: Collection[str]) -> None:
    out = console()
    print_table(
        out,
        ("class", "kind", "found", "lines", "first at", "masked", "allowed"),
        (
            (
                _CLASSES[exposure.data_class],
                exposure.kind,
                str(exposure.count),
                str(exposure.lines),
                f"{exposure.places[0].file}:{exposure.places[0].line}",
                exposure.places[0].sample,
                "yes" if is_allowed(exposure, allowed) else "no",
            )
            for exposure in exposures
        ),
        empty="nothing that the rules know; what has no shape (names, bare tokens) they don't see",
    )
    out.print(f"scanned {scan.lines} lines, {scan.bytes / 1e6:.1f} MB", style="dim")
