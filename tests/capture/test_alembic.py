"""Alembic's own commands over a project whose `env.py` is followed by capture."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from tests.mariadb_server import mariadb, mariadb_database
from tests.servers import database, postgres

from indelible import Actor, Trail, acting_as
from indelible.capture.sqlalchemy import capture
from indelible.events.codec import decode_event

__all__ = ["database", "mariadb", "mariadb_database", "postgres"]

ENV = """
from alembic import context
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, pool

from indelible.alembic import followed_by_capture, include_name

target = MetaData()
Table("person", target, Column("id", Integer, primary_key=True), Column("name", Text),
      Column("town", Text))
Table("bill", target, Column("id", Integer, primary_key=True), Column("total", Integer))
url = context.config.get_main_option("sqlalchemy.url")
if context.is_offline_mode():
    context.configure(url=url, literal_binds=True)
    with followed_by_capture(context, context.config.get_main_option("trail")):
        with context.begin_transaction():
            context.run_migrations()
else:
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=target, include_name=include_name
        )
        with followed_by_capture(context, context.config.get_main_option("trail")):
            with context.begin_transaction():
                context.run_migrations()
"""
REVISION = """
revision = {number!r}
down_revision = {before!r}

from alembic import op


def upgrade():
    for statement in {up!r}:
        op.execute(statement)


def downgrade():
    for statement in {down!r}:
        op.execute(statement)
"""
STEPS: list[tuple[list[str], list[str]]] = [
    (
        ["CREATE TABLE person (id integer PRIMARY KEY NOT NULL, name text, fax text)"],
        ["DROP TABLE person"],
    ),
    (
        [
            "ALTER TABLE person DROP COLUMN fax",
            "ALTER TABLE person ADD COLUMN town text",
            "CREATE TABLE bill (id integer PRIMARY KEY NOT NULL, total integer)",
        ],
        [
            "DROP TABLE bill",
            "ALTER TABLE person DROP COLUMN town",
            "ALTER TABLE person ADD COLUMN fax text",
        ],
    ),
    (["ALTER TABLE person DROP COLUMN nowhere"], []),
]


class Project:
    """A folder with migrations, a database and a trail."""

    def __init__(self, directory: Path, url: str, captured: str) -> None:
        self.url = url
        self._toml = directory / "indelible.toml"
        self._toml.write_text(
            f"[trail]\nurl = 'sqlite:///trail.db'\n[database]\nurl = '{captured}'\n"
            "[tables.alembic_version]\nreads = false\nwrites = false\n"
        )
        Trail.create(self._toml).close()
        scripts = directory / "migrations"
        (scripts / "versions").mkdir(parents=True)
        (scripts / "env.py").write_text(ENV)
        before = None
        for number, (up, down) in enumerate(STEPS, 1):
            name = f"r{number}"
            (scripts / "versions" / f"{name}.py").write_text(
                REVISION.format(number=name, before=before, up=up, down=down)
            )
            before = name
        self.config = Config()
        self.config.set_main_option("script_location", str(scripts))
        self.config.set_main_option("sqlalchemy.url", url)
        self.config.set_main_option("trail", str(self._toml))

        template = "revision, down_revision = ${repr(up_revision)}, ${repr(down_revision)}\n"
        template += "def upgrade():\n    ${upgrades}\ndef downgrade():\n    ${downgrades}\n"
        (scripts / "script.py.mako").write_text(template)
        self._versions = scripts / "versions"

    def script(self, name: str) -> str:
        """The text of a migration."""
        return (self._versions / f"{name}.py").read_text()

    def write(self, sql: str) -> None:
        """By the application, through a captured engine."""
        with self.trail() as trail:
            engine = create_engine(self.url)
            capture(engine, trail)
            with acting_as(Actor("staff", "alice")), engine.begin() as connection:
                connection.execute(text(sql))
            engine.dispose()

    def trail(self) -> contextlib.closing[Trail]:
        return contextlib.closing(Trail.open(self._toml))

    def told(self) -> list[str]:
        """What Alice changed."""
        with self.trail() as trail:
            trail.flush()
            changes = [
                f"{each.event.action} {','.join(sorted(each.event.changes or ()))}"
                for each in trail.changes(by=Actor("staff", "alice"))
            ]
            # On SQLite and MariaDB nothing is captured meanwhile, and that is said.
            assert {notice.action for notice in trail.notices()} <= {"capture.suspended"}
            return changes

    def told_by_itself(self) -> list[str]:
        """What the trail has that no application did."""
        with self.trail() as trail:
            trail.flush()
            entries = trail.reader.entries(0, int(trail.reader.size) - 1)
            events = [decode_event(entry.body) for entry in entries]
            return [event.action for event in events if event.action != "batch.sequenced"]


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    if request.param == "sqlite":
        file = f"sqlite:///{tmp_path / 'app.db'}"
        return Project(tmp_path, file, file)
    if request.param == "mariadb":
        url = request.getfixturevalue("mariadb_database").url()
        return Project(tmp_path, url.replace("mysql:", "mysql+pymysql:"), url)
    url = request.getfixturevalue("database").url()
    return Project(tmp_path, url.replace("postgresql:", "postgresql+psycopg:"), url)


def test_capture_follows_each_migration(project: Project) -> None:
    """A table that is new is captured, a column that is gone was in nobody's way."""
    command.upgrade(project.config, "r1")
    project.write("INSERT INTO person (id, name, fax) VALUES (1, 'Ann', '5')")
    command.upgrade(project.config, "+1")
    project.write("INSERT INTO person (id, name, town) VALUES (2, 'Bo', 'Riga')")
    project.write("INSERT INTO bill (id, total) VALUES (1, 5)")
    command.downgrade(project.config, "-1")
    project.write("UPDATE person SET fax = '6' WHERE id = 1")
    assert project.told() == [
        "person.insert fax,id,name",
        "person.insert id,name,town",
        "bill.insert id,total",
        "person.update fax",
    ]


def test_a_migration_that_fails_leaves_capture_as_it_was(project: Project) -> None:
    command.upgrade(project.config, "r2")
    with pytest.raises(DBAPIError, match="nowhere"):
        command.upgrade(project.config, "head")
    project.write("INSERT INTO person (id, name, town) VALUES (2, 'Bo', 'Riga')")
    assert project.told() == ["person.insert id,name,town"]


COMMANDS: list[Callable[[Config], object]] = [
    lambda config: command.upgrade(config, "r2"),
    lambda config: command.current(config),
    lambda config: command.history(config, indicate_current=True),
    lambda config: command.upgrade(config, "r2", sql=True),
    lambda config: command.stamp(config, "r1"),
    lambda config: command.stamp(config, "r2", purge=True),
    lambda config: command.stamp(config, "r1", sql=True),
    # What follows asks for a database that is at the head.
    lambda config: command.stamp(config, "head"),
    lambda config: command.check(config),
    lambda config: command.revision(config, "more", autogenerate=True, rev_id="r4"),
]


def test_what_migrates_nothing_does_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    command.upgrade(project.config, "r2")
    before = project.told_by_itself()
    for run in COMMANDS:
        run(project.config)
    capsys.readouterr()
    assert project.told_by_itself() == before
    assert "    pass\n" in project.script("r4_more").split("def upgrade()")[1]


def test_what_was_captured_before_a_stamp_is_captured_behind_it(project: Project) -> None:
    command.upgrade(project.config, "r2")
    command.stamp(project.config, "r1")
    project.write("INSERT INTO person (id, name, town) VALUES (2, 'Bo', 'Riga')")
    assert project.told() == ["person.insert id,name,town"]
