"""`indelible export`: the answer to a question as evidence, in one file that proves itself; or the
trail itself, as a folder that any web server serves."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from indelible.cli.account import account
from indelible.cli.opening import ask_trail, policy_of, record_question
from indelible.cli.options import (
    ACTOR,
    CONFIG,
    JSON,
    PASSPHRASE_FILE,
    SUBJECT,
    TARGET,
    window,
)
from indelible.cli.output import print_json, progress_bar
from indelible.cli.passphrases import asker, unlock_from
from indelible.cli.verify import verify_and_pin
from indelible.errors import ConfigurationError, DeliveryError
from indelible.events.codec import format_time
from indelible.events.context import acting_as
from indelible.events.model import Actor, Subject, Target
from indelible.events.values import format_id
from indelible.integrity.evidence import write_evidence
from indelible.integrity.keys import load_signing_key
from indelible.integrity.published import PublishedTrail
from indelible.integrity.static_export import export_tree
from indelible.questions.answer import Answer
from indelible.questions.proofs import disclosure_of, gather
from indelible.store.sqlite_reader import SqliteReader
from indelible.trail import Trail

F = TypeVar("F", bound=Callable[..., Any])
Ask = Callable[[Trail], Answer[Any]]
_MAX_NAME: Final = 200
_ALSO_AS: Final = click.option(
    "--also-as", is_flag=True, help="Also what others did on somebody's behalf."
)


@click.group("export")
def command() -> None:
    """Write the entries that an answer stands on, with their proofs, to one file.

    `indelible verify FILE` checks it without the trail, on any machine. What the question is about
    is captured data: the file holds it openly, but for values that are sealed and names that are
    tokens. With --open values and names stand beside the entries, and who gets them is an entry
    of the trail before there is any.

    `log` writes what everybody may see of the whole trail to a folder instead.
    """


def _file(command: F) -> F:
    to = click.option(
        "--to",
        "file",
        required=True,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The file to write; there must be none yet.",
    )
    attest = click.option(
        "--attest",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="KEY",
        help="Verify the whole trail first, and sign with this key that the answer is complete.",
    )
    is_open = click.option(
        "--open",
        "is_open",
        is_flag=True,
        help="Open what was sealed, and name whom tokens stand for, with the keystore; an entry "
        "says for whom, before all else.",
    )
    recipient = click.option(
        "--recipient",
        type=_Name(),
        metavar="NAME",
        help="With --open: who gets the file; it stays in the trail.",
    )
    reason = click.option(
        "--reason",
        type=_Name(),
        metavar="TEXT",
        help="With --open: why; it stays in the trail.",
    )
    return to(attest(PASSPHRASE_FILE(is_open(recipient(reason(CONFIG(command)))))))


class _Name(click.ParamType[str]):
    """A line of text that says something."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = value.strip()
        if not text or len(text) > _MAX_NAME or not text.isprintable():
            self.fail(f"expected one line of at most {_MAX_NAME} characters", param, ctx)
        return text


@command.command("events")
@click.option("--by", type=ACTOR, help="The actor.", metavar="KIND:ID")
@click.option("--action", help='One action, or all of a noun: "user.*".')
@click.option("--system", is_flag=True, help="The trail's own entries too.")
@_ALSO_AS
@window
@_file
def events(
    by: Actor | None,
    action: str | None,
    system: bool,
    also_as: bool,
    since: str | None,
    until: str | None,
    **where: Any,
) -> None:
    """Explicit events, of any outcome."""
    named = [*_option("by", by), *_option("action", action), *_flag("system", system)]
    _export(
        ["events", *named, *_flag("also-as", also_as)],
        lambda trail: trail.events(
            by=by, action=action, since=since, until=until, also_as=also_as, system=system
        ),
        **where,
    )


@command.command("changes")
@click.option("--by", type=ACTOR, required=True, help="The actor.", metavar="KIND:ID")
@_ALSO_AS
@window
@_file
def changes(by: Actor, also_as: bool, since: str | None, until: str | None, **where: Any) -> None:
    """Every change that an actor made."""
    _export(
        ["changes", *_option("by", by), *_flag("also-as", also_as)],
        lambda trail: trail.changes(by=by, since=since, until=until, also_as=also_as),
        **where,
    )


@command.command("accesses")
@click.option("--by", type=ACTOR, required=True, help="The actor.", metavar="KIND:ID")
@_ALSO_AS
@window
@_file
def accesses(by: Actor, also_as: bool, since: str | None, until: str | None, **where: Any) -> None:
    """All by which an actor read or changed records."""
    _export(
        ["accesses", *_option("by", by), *_flag("also-as", also_as)],
        lambda trail: trail.accesses(by=by, since=since, until=until, also_as=also_as),
        **where,
    )


@command.command("accessors")
@click.option("--of", type=SUBJECT, required=True, help="Whose data.", metavar="KIND:ID")
@_ALSO_AS
@window
@_file
def accessors(
    of: Subject, also_as: bool, since: str | None, until: str | None, **where: Any
) -> None:
    """All by which a subject's data was read or changed."""
    _export(
        ["accessors", *_option("of", of), *_flag("also-as", also_as)],
        lambda trail: trail.accessors(of=of, since=since, until=until, also_as=also_as),
        **where,
    )


@command.command("history")
@click.argument("target", type=TARGET, metavar="KIND:ID")
@window
@_file
def history(target: Target, since: str | None, until: str | None, **where: Any) -> None:
    """Everything that was done to one record, reads included."""
    _export(
        ["history", f"{target.kind}:{format_id(target.row_id)}"],
        lambda trail: trail.history(target, since=since, until=until),
        **where,
    )


@command.command("log")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@JSON
@CONFIG
def log(folder: Path, as_json: bool, config: Path) -> None:
    """The trail as a transparency log, for any web server.

    Checkpoint, tiles and heads, as C2SP tlog-tiles lays them out: `indelible verify --url` checks
    it, and so do other people's programs. What happened (bodies) isn't in it. Goes on from what an
    earlier export left in FOLDER. Refuses the folder of another trail, and exits with 3 where what
    was exported before isn't the beginning of the trail.
    """
    with (
        contextlib.closing(SqliteReader(policy_of(config).trail)) as reader,
        progress_bar("exporting") as progress,
    ):
        done = export_tree(PublishedTrail(reader), folder, progress=progress)
    if as_json:
        print_json([done])
        return
    click.echo(
        f"{folder}: {done.size} entries of {done.origin}, {done.size - done.since} more than "
        f"before; {done.files} files written"
    )


def _export(
    question: Sequence[str],
    ask: Ask,
    *,
    file: Path,
    attest: Path | None,
    passphrase_file: Path | None,
    is_open: bool,
    recipient: str | None,
    reason: str | None,
    config: Path,
) -> None:
    if is_open != (recipient is not None):
        raise click.UsageError("expected --recipient NAME with --open, and only there")
    if reason is not None and not is_open:
        raise click.UsageError("expected --reason only with --open")
    if file.exists():
        raise ConfigurationError(f"{file}: expected no file there yet, found one")
    key = None if attest is None else load_signing_key(attest, unlock_from(passphrase_file))
    with _asked(config, reason) if is_open else ask_trail(config) as trail:
        opener = trail.opener() if is_open else None
        names = trail.reader.names
        verified = None
        if key is not None:
            verified = verify_and_pin(trail.policy)
        answer = ask(trail)
        searched = answer.searched
        asked = [*question, *_option("since", searched.since), *_option("until", searched.until)]
        made = format_time(time.time_ns() // 1_000)
        with progress_bar("proving") as progress:
            header, entries = gather(
                trail.reader,
                answer,
                trail.concealed(asked),
                made=made,
                verified=verified,
                policy=_trust_policy(trail),
                recipient=recipient,
                open_values=lambda event: () if opener is None else opener.openings(event),
                tell_names=lambda event: () if not is_open or names is None else names.told(event),
                progress=progress,
            )
            disclosed = None
            if recipient is not None:
                disclosed = disclosure_of(entries)
                trail.disclosed(shlex.join(asked), recipient, disclosed)
            lines = _write(file, write_evidence(header, entries, attest=key))
    click.echo(f"{file}: {lines - 2} entries; `indelible verify {file}` checks them anywhere")
    if disclosed is not None:
        click.echo(
            f"opened for {recipient}: {disclosed.values} values of {disclosed.subjects} subjects "
            f"in {disclosed.events} events · erased: {disclosed.erased} · without a key: "
            f"{disclosed.sealed} · named: {disclosed.named}"
        )


@contextlib.contextmanager
def _asked(config: Path, reason: str | None) -> Iterator[Trail]:
    """`ask_trail`, of a trail that this process carries to, for what is said must be in it."""
    with Trail.open(policy_of(config), ask=asker()) as trail, acting_as(account(), reason=reason):
        record_question(trail)
        yield trail


def _trust_policy(trail: Trail) -> str | None:
    """Its text, which was read when the trail was opened and is right."""
    witness = trail.policy.witness
    return None if witness is None else witness.policy.read_text("utf-8")


def _write(file: Path, lines: Iterable[bytes]) -> int:
    """Write them for their owner alone; nothing is there until all are. How many there were."""
    new = file.with_name(file.name + ".new")
    count = 0
    try:
        fd = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as out:
            for line in lines:
                out.write(line)
                count += 1
            out.flush()
            os.fsync(fd)
        new.rename(file)
    except BaseException as error:
        with contextlib.suppress(OSError):
            new.unlink()
        if isinstance(error, OSError):
            said = f"can't write {file}: {error.strerror}; nothing is there"
            raise DeliveryError(said) from None
        raise
    return count


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [f"--{name}", str(value)]


def _flag(name: str, is_set: bool) -> list[str]:
    return [f"--{name}"] if is_set else []
