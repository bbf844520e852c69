"""`indelible uninstall`: leave the application's database as it was."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import click

from indelible.capture.servers import backend_of
from indelible.capture.sqlite_install import uninstall
from indelible.capture.sqlite_outbox import outbox_state
from indelible.cli.opening import database_of, open_trail
from indelible.cli.options import CONFIG
from indelible.events.codec import encode_draft
from indelible.events.model import Event
from indelible.events.values import Value
from indelible.policy import Server
from indelible.trail import Trail


@click.command("uninstall")
@click.option("--force", is_flag=True, help="Discard changes that weren't carried yet.")
@CONFIG
def command(force: bool, config: Path) -> None:
    """Take triggers and outbox away. The trail stays, and so does the database's data."""
    with open_trail(config) as trail:
        if trail.policy.server is not None:
            _uninstall_server(trail, trail.policy.server, force=force)
            return
        database = database_of(trail.policy)
        with contextlib.closing(sqlite3.connect(database)) as connection:
            incarnation = outbox_state(connection).incarnation
        done = uninstall(
            database,
            delivered_through=trail.delivered_through(incarnation),
            force=force,
        )
        _say(trail, incarnation, done.discarded)
        trail.forget_database(database)
    click.echo(f"uninstalled from {database}: nothing is captured there any more")
    if done.leaves_sequence:
        click.echo("an empty table sqlite_sequence stays until VACUUM: SQLite drops it only then")
    if done.discarded:
        click.echo(f"discarded: {done.discarded} changes that weren't carried")


def _uninstall_server(trail: Trail, server: Server, *, force: bool) -> None:
    backend = backend_of(server)
    incarnation = backend.incarnation_of(server)
    delivered = trail.delivered_through(incarnation)
    done = backend.uninstall(server, delivered_through=delivered, force=force)
    _say(trail, incarnation, done.discarded)
    trail.forget_server()
    click.echo(f"uninstalled from {server}: nothing is captured there any more")
    if done.discarded:
        click.echo(f"discarded: {done.discarded} changes that weren't carried")


def _say(trail: Trail, incarnation: str, discarded: int) -> None:
    details: dict[str, Value] = {"incarnation": incarnation, "discarded": discarded}
    trail.journal.append(
        encode_draft(Event(action="capture.uninstalled", kind="system", details=details))
    )
