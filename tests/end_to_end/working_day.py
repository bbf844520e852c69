"""A working day of six actors and a foreign client, the same each time that it is run."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from indelible import Actor, acting_as

from . import writes_of_the_day as writes
from .chinook import Customer, Invoice, SupportCase
from .oracle import Oracle, Witness
from .reads_of_the_day import (
    async_reads,
    async_shapes,
    driver_reads,
    orm_reads,
    partial_driver_reads,
    text_reads,
)
from .sites import Site
from .snapshots import RowChange

ALICE: Final = Actor("staff", "alice")
TRUDY: Final = Actor("staff", "trudy")
BOB: Final = Actor("staff", "bob")
CAROL: Final = Actor("staff", "carol")
BILLING: Final = Actor("service", "billing")
DAVE: Final = Actor("staff", "dave")
ACTORS: Final = (ALICE, TRUDY, BOB, CAROL, BILLING, DAVE)
NOBODY: Final = None
SEED: Final = 20261123

Doing = Callable[[Site, Witness], None]


def work_a_day(site: Site, oracle: Oracle) -> None:
    """Everything from morning to evening; `oracle` has seen it all when this returns."""
    for name, actor, do in schedule():
        with oracle.watch(name, actor) as witness, acting(actor):
            do(site, witness)
    _rush_hour(site, oracle)
    for name, actor, do in _evening():
        with oracle.watch(name, actor) as witness, acting(actor):
            do(site, witness)


def acting(actor: Actor | None) -> contextlib.AbstractContextManager[object]:
    return contextlib.nullcontext() if actor is None else acting_as(actor)


def as_customer(id_: int) -> Actor:
    """Dave, seeing what that customer sees."""
    return Actor("staff", "dave", Actor("customer", str(id_)))


def schedule() -> Iterator[tuple[str, Actor | None, Doing]]:
    """Who does what, in this order."""
    random_ = random.Random(SEED)
    for name, read in orm_reads(random_):
        yield name, random_.choice((ALICE, TRUDY)), read
    for name, actor, write in _MORNING:
        yield name, actor, write
    for name, read in text_reads():
        yield name, random_.choice((TRUDY, CAROL)), read
    for name, actor, write in _NOON:
        yield name, actor, write
    for name, read in (*driver_reads(), *partial_driver_reads()):
        yield name, random_.choice((BILLING, TRUDY, BOB)), read
    for name, actor, write in _AFTERNOON:
        yield name, actor, write
    for customer in (5, 7, 12):
        yield "async: own page", as_customer(customer), _async(_page(random_.randrange(2**32)))
    yield "async: shapes", as_customer(7), _async(async_shapes)
    yield "async: own data", as_customer(5), _async(_change_own_data)
    yield "async: given up", as_customer(7), _async(_give_up)


def _evening() -> Iterator[tuple[str, Actor | None, Doing]]:
    """Once more the ORM's reads, of what the day has made."""
    random_ = random.Random(SEED + 1)
    for name, read in orm_reads(random_):
        yield f"evening {name}", random_.choice((ALICE, BOB)), read


def _named(actor: Actor | None, *steps: Doing) -> list[tuple[str, Actor | None, Doing]]:
    return [(step.__name__.replace("_", " "), actor, step) for step in steps]


_MORNING: Final = [
    *_named(ALICE, writes.unit_of_work, writes.orphan, writes.said_in_session),
    *_named(BILLING, writes.newcomer, writes.executemany),
    *_named(BOB, writes.bulk_insert, writes.bulk_update, writes.orm_update_and_delete),
    *_named(CAROL, writes.many_values, writes.core, writes.plain_text, writes.upserts),
    *_named(NOBODY, writes.shell),
    *_named(ALICE, writes.nested_rollback, writes.rolled_back, writes.refused),
    ("bob meddles", BOB, writes.bob_meddles),
    ("carol answers", CAROL, writes.others_answer),
    ("bob again", BOB, writes.bob_again),
]
_NOON: Final = [
    *_named(CAROL, writes.replace, writes.every_type, writes.trouble_removed),
    *_named(BILLING, writes.update_from, writes.insert_from_select, writes.savepoints),
    *_named(BOB, writes.cascades, writes.delete_customer, writes.without_key),
    *_named(ALICE, writes.generated_columns, writes.alice_reads_and_writes),
    *_named(TRUDY, writes.said_alone, writes.seen_in_cache),
]
_AFTERNOON: Final = [
    *_named(BILLING, writes.half_way, writes.rolled_back_driver, writes.said_on_connection),
    *_named(CAROL, writes.changed_keys, writes.key_cascade, writes.returning),
    *_named(BOB, writes.returning_driver, writes.without_rowid, writes.delete_all),
    *_named(NOBODY, writes.foreign_client),
    *_named(BILLING, writes.visits_again, writes.script),
    *_named(TRUDY, writes.no_difference),
]


def _async(do: Callable[[AsyncEngine, Witness], Awaitable[None]]) -> Doing:
    def run(site: Site, witness: Witness) -> None:
        async def main() -> None:
            engine = site.async_engine()
            try:
                await do(engine, witness)
            finally:
                await engine.dispose()

        asyncio.run(main())

    return run


def _page(seed: int) -> Callable[[AsyncEngine, Witness], Awaitable[None]]:
    return lambda engine, witness: async_reads(engine, witness, random.Random(seed))


async def _change_own_data(engine: AsyncEngine, witness: Witness) -> None:
    witness.reads("Customer", "t.CustomerId = 5")
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        found = await session.get_one(Customer, 5)
        found.email = "zara@example.net"
        session.add(SupportCase(customer_id=5, title="Please Call", priority=3))
    async with engine.begin() as connection:
        result = await connection.execute(
            update(Invoice).where(Invoice.customer_id == 5).values(address="Poplar Lane 4")
        )
        witness.sees(result.rowcount)


async def _give_up(engine: AsyncEngine, witness: Witness) -> None:
    witness.reads("Customer", "t.CustomerId = 7")
    async with AsyncSession(engine) as session:
        (await session.get_one(Customer, 7)).email = "never"
        await session.flush()
        await session.rollback()


def _rush_hour(site: Site, oracle: Oracle) -> None:
    """All at once: five in threads, Dave's customers as tasks of one loop; each has its own row."""
    own = {ALICE: 23, TRUDY: 24, BOB: 25, CAROL: 26, BILLING: 27}
    own |= {as_customer(id_): id_ for id_ in (28, 29, 30)}

    def whose(change: RowChange) -> Actor | None:
        return next(actor for actor, id_ in own.items() if change.before == (id_,))

    with oracle.watch_together("rush hour", list(own), whose) as witnesses:
        for (_, id_), witness in zip(own.items(), witnesses, strict=True):
            witness.reads("Customer", "t.CustomerId = ?", id_)
            witness.reads("Invoice", "t.CustomerId = ?", id_)
        threaded = [(actor, id_) for actor, id_ in own.items() if actor.on_behalf_of is None]
        with ThreadPoolExecutor(len(threaded) + 1) as pool:
            jobs = [pool.submit(_work_at_once, site, actor, id_) for actor, id_ in threaded]
            tasks = [(actor, id_) for actor, id_ in own.items() if actor.on_behalf_of]
            jobs.append(pool.submit(asyncio.run, _work_in_tasks(site, tasks)))
            for job in jobs:
                job.result()


def _work_at_once(site: Site, actor: Actor, id_: int) -> None:
    with acting_as(actor):
        for turn in range(5):
            with Session(site.engine) as session, session.begin():
                customer = session.scalars(select(Customer).where(Customer.id == id_)).one()
                assert customer.invoices
                customer.company = f"{actor} {turn}"


async def _work_in_tasks(site: Site, tasks: list[tuple[Actor, int]]) -> None:
    engine = site.async_engine()

    async def work(actor: Actor, id_: int) -> None:
        with acting_as(actor):
            for turn in range(5):
                async with AsyncSession(engine) as session, session.begin():
                    customer = (
                        await session.scalars(select(Customer).where(Customer.id == id_))
                    ).one()
                    await session.execute(select(Invoice).where(Invoice.customer_id == id_))
                    customer.company = f"{actor} {turn}"

    try:
        await asyncio.gather(*(work(actor, id_) for actor, id_ in tasks))
    finally:
        await engine.dispose()
