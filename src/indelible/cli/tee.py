"""`indelible tee`: an application's log stream, its audit lines kept in the trail."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from indelible.cli.opening import policy_of
from indelible.cli.options import CONFIG
from indelible.errors import ConfigurationError, DeliveryError
from indelible.logs.branch import Branch, CommandOutput, DescriptorOutput, FileOutput, Output
from indelible.logs.frames import LineReader, StreamId
from indelible.logs.keys import LogKeys, make_key_file, pseudonym_key, read_key_file
from indelible.logs.running import Application, end_like, forwarded_signals
from indelible.logs.setup import default_scrub
from indelible.logs.teeing import Kept, Tee
from indelible.trail import Trail
from indelible.transport.kept_file import replace_file

_DRAIN_S = 5.0
_RETRY_S = 0.2
_READ_BYTES = 65_536


@click.command("tee", context_settings={"ignore_unknown_options": True})
@click.option("--stdin", "from_stdin", is_flag=True, help="Read a stream from standard input.")
@click.option("--key-file", type=click.Path(path_type=Path), help="For --stdin: its keys (0600).")
@click.option("--make-key", type=click.Path(path_type=Path), help="Make such a file, and end.")
@click.option("--to-file", type=click.Path(path_type=Path), help="Application lines go there.")
@click.option("--max-bytes", type=int, default=64 * 2**20, show_default=True, help="Of that file.")
@click.option("--keep", type=int, default=5, show_default=True, help="Rotated files to keep.")
@click.option("--to-command", help="Application lines go to this command's standard input.")
@click.option(
    "--when-full",
    type=click.Choice(("block", "fail")),
    default="block",
    show_default=True,
    help="Where an audit event can't be kept.",
)
@click.option(
    "--linger",
    "linger_s",
    type=float,
    default=1.0,
    show_default=True,
    help="Seconds to go on reading from processes that the command left behind.",
)
@click.argument("command_line", nargs=-1, type=click.UNPROCESSED)
@CONFIG
def command(
    from_stdin: bool,
    key_file: Path | None,
    make_key: Path | None,
    to_file: Path | None,
    max_bytes: int,
    keep: int,
    to_command: str | None,
    when_full: str,
    linger_s: float,
    command_line: tuple[str, ...],
    config: Path,
) -> None:
    """Run COMMAND_LINE with its stderr read: audit lines go to the trail, all others on.

    \b
    indelible tee -- gunicorn shop.wsgi

    The application logs with `indelible.logs`; the tee hands it the key that signs its lines. Exit
    code and signals are those of the command. Lines that nobody signed are scrubbed and marked.
    """
    if make_key is not None:
        make_key_file(make_key)
        click.echo(f"keys for a log stream are in {make_key}")
        return
    if from_stdin == bool(command_line):
        raise click.UsageError("expected either a command behind `--`, or --stdin with --key-file")
    if from_stdin and key_file is None:
        raise click.UsageError("expected --key-file with --stdin: `--make-key FILE` makes one")
    output = _output(to_file, max_bytes, keep, to_command)
    policy = policy_of(config)
    keys = _new_keys(policy.keys) if key_file is None else read_key_file(key_file)
    trail = Trail.open(policy)
    branch = Branch(output)
    scrub = default_scrub()
    kept: Kept = trail.journal if when_full == "fail" else Insisting(trail.journal)
    # A key of one run signs that run's streams only; what one that is kept signed may come again.
    seen = None if key_file is None else policy.journals / f"log-{_name_of(keys)}.seen"
    tee = Tee(
        LineReader(keys.master),
        kept,
        trail.notice,
        branch.put,
        scrub,
        time.monotonic,
        {} if seen is None else _read_seen(seen),
    )
    status = 0
    trail.record("log.started", details={"command": command_line[0] if command_line else "-"})
    try:
        if from_stdin:
            _read_all(tee, _standard_input(), seen)
        else:
            status = _run(command_line, keys, tee, linger_s)
    finally:
        if not branch.close(_DRAIN_S) or branch.shed:
            trail.notice("log.shed", "application lines were shed", count=str(branch.shed))
        trail.record("log.ended", details={"exit": status, **msgspec.structs.asdict(tee.counts)})
        trail.close()
    sys.exit(end_like(status))


def _new_keys(directory: Path) -> LogKeys:
    """Of this run alone; pseudonyms can be compared within a month."""
    return LogKeys.new(pseudonym_key(directory), time.strftime("%b%y", time.gmtime()).lower())


def _run(command_line: tuple[str, ...], keys: LogKeys, tee: Tee, linger_s: float) -> int:
    started: list[int] = []
    with forwarded_signals(lambda: started[0] if started else None):
        application = Application(command_line, keys)
        started.append(application.pid)
        try:
            _read_all(tee, application.read(linger_s))
        finally:
            status = application.close()
    return status


def _read_all(tee: Tee, read: Iterator[bytes], seen: Path | None = None) -> None:
    for data in read:
        tee.feed(data)
        if seen is not None:
            replace_file(seen, msgspec.json.encode(tee.positions))
    tee.finish()


def _name_of(keys: LogKeys) -> str:
    return hashlib.sha256(b"indelible log key v1|" + keys.master).hexdigest()[:16]


def _read_seen(path: Path) -> dict[StreamId, int]:
    """How far each stream of a key file was read. Raises `ConfigurationError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[StreamId, int])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError):
        raise ConfigurationError(
            f"expected in {path} how far each stream was read, got something else: what comes "
            "could be a replay; move it away to read all of it"
        ) from None


def _standard_input() -> Iterator[bytes]:
    while data := os.read(sys.stdin.fileno(), _READ_BYTES):
        yield data


def _output(to_file: Path | None, max_bytes: int, keep: int, to_command: str | None) -> Output:
    if to_file is not None:
        return FileOutput(to_file, max_bytes=max_bytes, keep=keep)
    if to_command is not None:
        return CommandOutput(["/bin/sh", "-c", to_command])
    return DescriptorOutput(2)


class Insisting:
    """A journal that is asked again until it takes the event: the application waits."""

    def __init__(self, journal: Kept, retry_s: float = _RETRY_S) -> None:
        self._journal = journal
        self._retry_s = retry_s

    def append(self, draft: bytes) -> str:
        while True:
            try:
                return self._journal.append(draft)
            except DeliveryError:
                time.sleep(self._retry_s)

    def sync(self) -> None:
        while True:
            try:
                self._journal.sync()
            except DeliveryError:
                time.sleep(self._retry_s)
            else:
                return
