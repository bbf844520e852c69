"""`indelible tee`: an application's log stream, its audit lines kept in the trail."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from indelible.cli.opening import policy_of
from indelible.cli.options import CONFIG
from indelible.cli.passphrases import asker
from indelible.cli.tee_position import PositionFile
from indelible.cli.tee_session import Session
from indelible.logs.branch import Branch, CommandOutput, DescriptorOutput, FileOutput, Output
from indelible.logs.followed_file import FollowedFile
from indelible.logs.inputs import DescriptorInput, Input, Stopping
from indelible.logs.keys import LogKeys, make_key_file, pseudonym_key, read_key_file
from indelible.logs.running import Application, end_like, forwarded_signals
from indelible.logs.systemd_journal import SystemdJournal, matches_of
from indelible.trail import Trail


@click.command("tee", context_settings={"ignore_unknown_options": True})
@click.option("--stdin", "from_stdin", is_flag=True, help="Read a stream from standard input.")
@click.option(
    "--file",
    "from_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Follow a log file, over rotation and restarts.",
)
@click.option(
    "--journal",
    "from_journal",
    metavar="UNIT",
    help="Follow a unit's output in systemd's journal; or FIELD=VALUE.",
)
@click.option(
    "--journal-directory",
    type=click.Path(path_type=Path),
    metavar="DIRECTORY",
    help="Of a journal that isn't this machine's own.",
)
@click.option("--once", is_flag=True, help="Of a file or journal: stop at its present end.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="The keys (0600), which the writer reads, too; without, a command is handed new ones.",
)
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
    help="Seconds to go on reading from processes that the command left behind, and from a file "
    "that was renamed.",
)
@click.argument("command_line", nargs=-1, type=click.UNPROCESSED)
@CONFIG
def command(
    from_stdin: bool,
    from_file: Path | None,
    from_journal: str | None,
    journal_directory: Path | None,
    once: bool,
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

    With --stdin, --file or --journal it reads what something else started and goes on where it
    stopped last; SIGTERM ends it.
    """
    if make_key is not None:
        make_key_file(make_key)
        click.echo(f"keys for a log stream are in {make_key}")
        return
    if sum(map(bool, (command_line, from_stdin, from_file, from_journal))) != 1:
        raise click.UsageError(
            "expected either a command behind `--`, or one of --stdin, --file and --journal"
        )
    if not command_line and key_file is None:
        raise click.UsageError(
            "expected --key-file with --stdin, --file and --journal: `--make-key FILE` makes one"
        )
    if once and from_file is None and from_journal is None:
        raise click.UsageError("expected --once with --file or --journal")
    if from_file is not None and to_file is not None and from_file.resolve() == to_file.resolve():
        raise click.UsageError("expected --to-file to be another file than --file")
    output = _output(to_file, max_bytes, keep, to_command)
    policy = policy_of(config)
    stopping = Stopping()
    position = None
    source: Input = DescriptorInput(0)
    name = "stdin"
    if key_file is None:
        keys = _new_keys(policy.keys)
    else:
        keys = read_key_file(key_file)
        position = PositionFile(policy.journals, keys)
        if from_file is not None:
            name = f"file {from_file.absolute()}"
            source = FollowedFile(
                from_file,
                position.files(name),
                once=once,
                linger_s=linger_s,
                is_stopping=stopping,
            )
        if from_journal is not None:
            name = f"journal {from_journal}"
            source = SystemdJournal(
                matches_of(from_journal),
                position.cursor(name),
                directory=journal_directory,
                once=once,
                is_stopping=stopping,
            )
    trail = Trail.open(policy, ask=asker())
    if position is not None:
        position.take_over(trail.journal, trail.reader)
    session = Session(
        trail,
        Branch(output),
        keys,
        insists=when_full == "block",
        stopping=stopping,
        before=None if position is None else position.position.read,
    )
    with session.running(command_line[0] if command_line else "-"):
        if command_line:
            session.status = _run(command_line, keys, session, position, linger_s)
        elif source.has_end:
            session.follow(source, name, position, once=once)
        else:
            with stopping.by_signals():
                session.follow(source, name, position, once=once)
    sys.exit(end_like(session.status))


def _new_keys(directory: Path) -> LogKeys:
    """Of this run alone; pseudonyms can be compared within a month."""
    return LogKeys.new(pseudonym_key(directory), time.strftime("%b%y", time.gmtime()).lower())


def _run(
    command_line: tuple[str, ...],
    keys: LogKeys,
    session: Session,
    position: PositionFile | None,
    linger_s: float,
) -> int:
    started: list[int] = []
    with forwarded_signals(lambda: started[0] if started else None):
        application = Application(command_line, keys)
        started.append(application.pid)
        try:
            session.follow(application.stderr(linger_s), "command", position)
        finally:
            status = application.close()
    return status


def _output(to_file: Path | None, max_bytes: int, keep: int, to_command: str | None) -> Output:
    if to_file is not None:
        return FileOutput(to_file, max_bytes=max_bytes, keep=keep)
    if to_command is not None:
        return CommandOutput(["/bin/sh", "-c", to_command])
    return DescriptorOutput(2)
