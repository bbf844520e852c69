"""Ways to write of Django's query API, by name; they run in this order, on what `fill` made."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F

from tests.django.shop.models import Customer, Invoice, Label, Line

_HAS_TARGETS = connection.features.supports_update_conflicts_with_target


def _save() -> Any:
    customer = Customer.objects.get(id=1)
    customer.town = "Tartu"
    customer.save(update_fields=["town"])


def _bulk_update() -> Any:
    lines = list(Line.objects.filter(invoice=1).order_by("id"))
    for line in lines:
        line.pieces += 10
    return Line.objects.bulk_update(lines, ["pieces"])


def _refused() -> Any:
    try:
        with transaction.atomic():
            Customer.objects.create(id=70, name="seventy")
            Customer.objects.create(id=71, name="seventy")
    except IntegrityError as error:
        return str(error)


def _savepoint() -> Any:
    with transaction.atomic():
        Label.objects.create(id=80, text="kept")
        try:
            with transaction.atomic():
                Label.objects.create(id=81, text="taken back")
                raise ValueError
        except ValueError:
            pass
    return list(Label.objects.filter(id__gte=80).values_list("id", flat=True))


def _raw() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_label SET text = %s WHERE id = %s", ["raw", 1])
        cursor.executemany(
            "INSERT INTO shop_label (id, text) VALUES (%s, %s)", [(90, "a"), (91, "b")]
        )
        return cursor.rowcount


WRITES: dict[str, Callable[[], Any]] = {
    "create": lambda: Customer.objects.create(id=20, name="twenty").pk,
    "save": _save,
    "bulk_create": lambda: [
        row.pk
        for row in Line.objects.bulk_create(
            [Line(id=n, invoice_id=1, text="bulk", pieces=n) for n in (40, 41, 42)]
        )
    ],
    "upsert": lambda: [
        row.pk
        for row in Line.objects.bulk_create(
            [Line(id=n, invoice_id=1, text="again", pieces=0) for n in (42, 43)],
            update_conflicts=True,
            update_fields=["text"],
            **{"unique_fields": ["id"]} if _HAS_TARGETS else {},
        )
    ],
    "bulk_update": _bulk_update,
    "update": lambda: Line.objects.filter(invoice=2).update(pieces=F("pieces") * 2),
    "decimal": lambda: Invoice.objects.filter(id=2).update(
        total=Decimal("99.99"), issued=dt.date(2026, 5, 1)
    ),
    "get_or_create": lambda: Customer.objects.get_or_create(id=21, defaults={"name": "new"})[1],
    "update_or_create": lambda: Customer.objects.update_or_create(id=21, defaults={"town": "Pori"})[
        1
    ],
    "cascade": lambda: Customer.objects.get(id=2).delete(),
    "refused": _refused,
    "savepoint": _savepoint,
    "raw_write": _raw,
}
