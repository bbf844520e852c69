"""`python -m bench.peers.django_worker VARIANT DIRECTORY [URL]`: one library under Django."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command

import django
from bench.peers import works
from bench.peers.installing import install
from indelible.events.context import acting_as
from indelible.events.model import Actor

USER = 1


class Variant(NamedTuple):
    """Which applications it adds, how it tracks a model, and in what a request runs.

    `selects_keys`: the application itself selects the keys that lists and groups go without.
    Nothing that knows which rows were read can cost less.
    """

    applications: tuple[str, ...] = ()
    track: Callable[[Any], object] = lambda model: None
    request: Callable[[], works.Request] = nullcontext
    is_captured: bool = False
    selects_keys: bool = False


def track_auditlog(model: Any) -> None:
    from auditlog.registry import auditlog

    auditlog.register(model)


def as_auditlog() -> works.Request:
    from auditlog.context import set_actor
    from django.contrib.auth.models import User

    return set_actor(User(USER))


def track_simple_history(model: Any) -> None:
    from simple_history import register

    register(model, app="bench.peers.shop")


@contextmanager
def as_simple_history() -> Iterator[None]:
    """As its middleware does it."""
    from django.contrib.auth.models import User
    from simple_history.models import HistoricalRecords

    HistoricalRecords.context.request = SimpleNamespace(user=User(USER))
    try:
        yield
    finally:
        del HistoricalRecords.context.request


def track_pghistory(model: Any, *, level: str) -> None:
    import pghistory

    pghistory.track(level=getattr(pghistory, level))(model)


def as_pghistory() -> works.Request:
    """As its middleware does it."""
    import pghistory

    return pghistory.context(user=USER, url="/items")


def as_indelible() -> works.Request:
    return acting_as(Actor("staff", "alice"), request="0190f3c1")


VARIANTS = {
    "plain": Variant(),
    "indelible": Variant(request=as_indelible, is_captured=True),
    "keys_selected": Variant(selects_keys=True),
    "auditlog": Variant(("auditlog",), track_auditlog, as_auditlog),
    "simple_history": Variant(("simple_history",), track_simple_history, as_simple_history),
    "pghistory_row": Variant(
        ("pgtrigger", "pghistory"), partial(track_pghistory, level="Row"), as_pghistory
    ),
    "pghistory_statement": Variant(
        ("pgtrigger", "pghistory"), partial(track_pghistory, level="Statement"), as_pghistory
    ),
}


def start(variant: Variant, directory: Path, url: str) -> None:
    """Settings, tables, what the library installs, a user."""
    system = "postgresql" if url else "sqlite3"
    engine = f"indelible.django.{system}" if variant.is_captured else f"django.db.backends.{system}"
    database: dict[str, object] = {"ENGINE": engine, "NAME": directory / "app.sqlite"}
    options: dict[str, object] = {}
    if variant.is_captured:
        options["trail"] = directory / "indelible.toml"
    if url:
        parts = urlsplit(url)
        database |= {"NAME": parts.path[1:], "HOST": parts.hostname, "PORT": parts.port}
        database["USER"] = parts.username
    else:
        options["init_command"] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL"
    settings.configure(
        DATABASES={"default": {**database, "OPTIONS": options}},
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            *variant.applications,
            "bench.peers.shop.Shop",
        ],
        TRACK=variant.track,
        USE_TZ=True,
        SECRET_KEY="not one",
    )
    django.setup()
    call_command("migrate", verbosity=0)  # the table of users comes before what points to it
    call_command("migrate", run_syncdb=True, verbosity=0)
    if "pgtrigger" in variant.applications:
        call_command("pgtrigger", "install", verbosity=0)
    from django.contrib.auth.models import User
    from django.db import connection

    User.objects.create(id=USER, username="alice")
    if variant.is_captured:
        from indelible.django.trails import trail_at

        connection.close()
        install(trail_at(directory / "indelible.toml"), directory / "app.sqlite")


def ones(*, selects_keys: bool) -> dict[str, Callable[[int], object]]:
    from django.contrib.postgres.aggregates import ArrayAgg
    from django.db import transaction
    from django.db.models import Avg, Count, F

    from bench.peers.shop.models import Item

    def insert(n: int) -> None:
        with transaction.atomic():
            Item(**works.new_row(n)).save()

    def change(n: int) -> None:
        with transaction.atomic():
            item = Item.objects.get(id=works.some_id(n))
            item.stock += 1
            item.save()

    def insert_many(_: int) -> None:
        with transaction.atomic():
            items = [Item(**works.new_row(n)) for n in range(works.ROWS)]
            Item.objects.bulk_create(items, batch_size=1_000)

    def update_all(_: int) -> None:
        with transaction.atomic():
            Item.objects.update(stock=F("stock") + 1)

    def get(n: int) -> object:
        return Item.objects.get(id=works.some_id(n))

    def entities(n: int) -> object:
        return list(Item.objects.filter(id__range=works.some_range(n)))

    columns = ("name", "town", "id") if selects_keys else ("name", "town")
    keys = {"keys": ArrayAgg("id")} if selects_keys else {}

    def names(n: int) -> object:
        return list(Item.objects.filter(id__range=works.some_range(n)).values_list(*columns))

    def grades(n: int) -> object:
        found = Item.objects.filter(id__range=works.some_range(n)).values("grade")
        return list(found.annotate(Count("id"), Avg("price"), **keys))

    return {
        "W1": insert,
        "W2": change,
        "W3": insert_many,
        "W4": update_all,
        "R1": get,
        "R1s": get,
        "R2": entities,
        "R3": names,
        "R4": grades,
    }


def main() -> None:
    chosen = VARIANTS[sys.argv[1]]
    start(chosen, Path(sys.argv[2]), "".join(sys.argv[3:]))
    works.serve(ones(selects_keys=chosen.selects_keys), chosen.request)


if __name__ == "__main__":
    main()
