"""`python -m bench.peers.sqlalchemy_worker VARIANT DIRECTORY [URL]`: one library on SQLAlchemy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    configure_mappers,
    mapped_column,
)

from bench.peers import works
from bench.peers.installing import install
from indelible.capture.sqlalchemy import capture
from indelible.events.context import acting_as
from indelible.events.model import Actor
from indelible.trail import Trail

USER = 1
_user: ContextVar[int | None] = ContextVar("user", default=None)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user_account"
    id: Mapped[int] = mapped_column(primary_key=True)


class Variant(NamedTuple):
    """What is done before models are made, and in what a request runs."""

    prepare: Callable[[], object] = lambda: None
    request: Callable[[], works.Request] = nullcontext
    is_captured: bool = False


@contextmanager
def as_user() -> Iterator[None]:
    token = _user.set(USER)
    try:
        yield
    finally:
        _user.reset(token)


def prepare_continuum() -> None:
    from sqlalchemy_continuum import make_versioned
    from sqlalchemy_continuum.plugins import Plugin

    class Who(Plugin):
        """As its Flask plugin does it."""

        def transaction_args(self, uow: Any, session: Any) -> dict[str, object]:
            return {"user_id": _user.get(), "remote_addr": "203.0.113.9"}

    make_versioned(plugins=[Who()], user_cls="User")


def prepare_postgresql_audit() -> None:
    from postgresql_audit import VersioningManager

    manager = VersioningManager(actor_cls=User)
    manager.init(Base)
    # As its Flask manager does it.
    manager.values = {"actor_id": _user.get, "client_addr": lambda: "203.0.113.9"}


def as_indelible() -> works.Request:
    return acting_as(Actor("staff", "alice"), request="0190f3c1")


VARIANTS = {
    "plain": Variant(),
    "indelible": Variant(request=as_indelible, is_captured=True),
    "continuum": Variant(prepare_continuum, as_user),
    "postgresql_audit": Variant(prepare_postgresql_audit, as_user),
}


def make_item() -> type[Any]:
    """The model, made once the library is there."""

    class Item(Base):
        __tablename__ = "item"
        __versioned__: ClassVar[dict[str, object]] = {}
        id: Mapped[int] = mapped_column(
            sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True
        )
        name: Mapped[str]
        town: Mapped[str]
        email: Mapped[str]
        phone: Mapped[str]
        street: Mapped[str]
        grade: Mapped[int]
        note: Mapped[str]
        price: Mapped[float]
        stock: Mapped[int]
        code: Mapped[str]
        remark: Mapped[str]

    configure_mappers()
    return Item


def start(variant: Variant, directory: Path, url: str) -> sa.Engine:
    """Tables, what the library installs, a user."""
    where = url.replace("postgresql:", "postgresql+psycopg:") or f"sqlite:///{directory}/app.sqlite"
    engine = sa.create_engine(where, pool_size=1, max_overflow=0)
    if not url:
        sa.event.listen(engine, "connect", set_pragmas)
    before = [table for table in Base.metadata.sorted_tables if table.name != "item"]
    Base.metadata.create_all(engine, tables=before)  # triggers on the item use what these bring
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(User(id=USER))
        session.commit()
    if variant.is_captured:
        trail = Trail.open(directory / "indelible.toml", relay=False)
        engine.dispose()
        install(trail, directory / "app.sqlite")
        capture(engine, trail)
    return engine


def set_pragmas(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def ones(engine: sa.Engine, item: type[Any]) -> dict[str, Callable[[int], object]]:
    def insert(n: int) -> None:
        with Session(engine) as session:
            session.add(item(**works.new_row(n)))
            session.commit()

    def change(n: int) -> None:
        with Session(engine) as session:
            found = session.get_one(item, works.some_id(n))
            found.stock += 1
            session.commit()

    def insert_many(_: int) -> None:
        with Session(engine) as session:
            session.execute(sa.insert(item), [works.new_row(n) for n in range(works.ROWS)])
            session.commit()

    def add_many(_: int) -> None:
        with Session(engine) as session:
            session.add_all([item(**works.new_row(n)) for n in range(works.ADDED)])
            session.commit()

    def update_all(_: int) -> None:
        with Session(engine) as session:
            session.execute(sa.update(item).values(stock=item.stock + 1))
            session.commit()

    def get(n: int) -> object:
        with Session(engine) as session:
            return session.get_one(item, works.some_id(n))

    def entities(n: int) -> object:
        with Session(engine) as session:
            return session.scalars(
                sa.select(item).where(item.id.between(*works.some_range(n)))
            ).all()

    def names(n: int) -> object:
        chosen = sa.select(item.name, item.town)
        with Session(engine) as session:
            return session.execute(chosen.where(item.id.between(*works.some_range(n)))).all()

    def grades(n: int) -> object:
        chosen = sa.select(item.grade, sa.func.count(item.id), sa.func.avg(item.price))
        within = chosen.where(item.id.between(*works.some_range(n)))
        with Session(engine) as session:
            return session.execute(within.group_by(item.grade)).all()

    return {
        "W1": insert,
        "W2": change,
        "W3": insert_many,
        "W3u": add_many,
        "W4": update_all,
        "R1": get,
        "R1s": get,
        "R2": entities,
        "R3": names,
        "R4": grades,
    }


def main() -> None:
    chosen = VARIANTS[sys.argv[1]]
    chosen.prepare()
    item = make_item()
    engine = start(chosen, Path(sys.argv[2]), "".join(sys.argv[3:]))
    works.serve(ones(engine, item), chosen.request)


if __name__ == "__main__":
    main()
