"""Read shapes of Django's query API, by name; each returns what the application sees."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connection, connections
from django.db.models import Count, Exists, F, OuterRef, Subquery, Sum, Window
from django.db.models.functions import RowNumber
from django.test.utils import CaptureQueriesContext

from tests.django.expected import DOCUMENT
from tests.django.shop.models import Customer, Document, Invoice, Label, Line


def fill() -> None:
    """Four customers with an invoice each but the last, two lines an invoice."""
    labels = [Label.objects.create(id=n, text=f"label {n}") for n in (1, 2)]
    for n in range(1, 5):
        Customer.objects.create(id=n, name=f"customer {n}", town="Riga" if n % 2 else "Oslo")
    for n in range(1, 4):
        invoice = Invoice.objects.create(
            id=n,
            customer_id=n,
            total=Decimal(n * 10) + Decimal("0.50"),
            issued=dt.date(2026, 1, n),
            sent=dt.datetime(2026, 2, n, tzinfo=dt.UTC),
        )
        invoice.labels.add(*labels[: n - 1])
        for m in (1, 2):
            Line.objects.create(id=n * 10 + m, invoice=invoice, text=f"line {m}", pieces=m)
    Document.objects.create(id=uuid.UUID(DOCUMENT), body=b"\x00\xff")
    if "archive" in connections.settings:
        Customer.objects.using("archive").create(id=9, name="of old", town="Bonn")


def plain(rows: Any) -> list[Any]:
    """Model instances as what was loaded of them."""
    return [
        {name: value for name, value in vars(row).items() if not name.startswith("_")}
        for row in rows
    ]


def _deferred() -> Any:
    (customer,) = Customer.objects.defer("town").filter(id=2)
    return plain([customer]), customer.town


def _logged() -> Any:
    """What Django's debugging shows of statements, refused ones included."""
    with CaptureQueriesContext(connection) as captured, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM shop_customer WHERE id = %s", [2])
        rows = [*cursor.fetchall()]
        for parameters in ([1, 2], []):
            try:
                cursor.execute("SELECT name FROM shop_customer WHERE id = %s", parameters)
            except Exception as error:
                rows.append((type(error).__module__, type(error).__name__))
    return rows, [query["sql"] for query in captured.captured_queries]


def _raw_cursor(sql: str, parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        columns = [column[0] for column in cursor.description]
        return columns, cursor.fetchall()


def _partly() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM shop_customer ORDER BY id")
        return cursor.fetchone(), cursor.fetchmany(1)


def _missing() -> Any:
    try:
        Customer.objects.get(name="nobody")
    except Customer.DoesNotExist as error:
        return str(error)


async def _async() -> Any:
    first = await Customer.objects.aget(id=1)
    rest = [name async for name in Customer.objects.filter(id__gt=2).values_list("name")]
    return plain([first]), rest


SHAPES: dict[str, Callable[[], Any]] = {
    "get": lambda: plain([Customer.objects.get(id=2)]),
    "get_uuid": lambda: plain([Document.objects.get(id=uuid.UUID(DOCUMENT))]),
    "missing": _missing,
    "list": lambda: plain(Customer.objects.order_by("id")),
    "converted": lambda: list(
        Invoice.objects.order_by("id").values_list("total", "issued", "sent")
    ),
    "no_key": lambda: list(Customer.objects.filter(town="Oslo").order_by("id").values_list("name")),
    "deferred": _deferred,
    "only": lambda: plain(Customer.objects.only("name").filter(id=3)),
    "in_bulk": lambda: sorted(Customer.objects.in_bulk([1, 4])),
    "select_related": lambda: [
        (i.id, i.customer.name) for i in Invoice.objects.select_related("customer")
    ],
    "prefetch": lambda: [
        (c.id, [i.id for i in c.invoice_set.all()])
        for c in Customer.objects.prefetch_related("invoice_set").order_by("id")
    ],
    "many_to_many": lambda: [
        label.text for label in Invoice.objects.get(id=3).labels.order_by("id")
    ],
    "count": lambda: Customer.objects.count(),
    "count_filtered": lambda: Customer.objects.filter(town="Oslo").count(),
    "exists": lambda: Customer.objects.filter(town="Oslo").exists(),
    "sum": lambda: Line.objects.filter(invoice=2).aggregate(Sum("pieces")),
    "group_by": lambda: list(
        Line.objects.values("invoice").annotate(n=Count("id")).order_by("invoice")
    ),
    "distinct": lambda: sorted(Customer.objects.values_list("town", flat=True).distinct()),
    "union": lambda: sorted(
        Customer.objects.filter(id=1)
        .values_list("name", flat=True)
        .union(Label.objects.filter(id=2).values_list("text", flat=True))
    ),
    "exists_filter": lambda: [
        c.id
        for c in Customer.objects.filter(
            Exists(Invoice.objects.filter(customer=OuterRef("pk"), total__gt=15))
        ).order_by("id")
    ],
    "window": lambda: list(
        Line.objects.annotate(
            n=Window(RowNumber(), partition_by=F("invoice"), order_by=F("id").asc())
        ).values_list("text", "n")
    ),
    "slice": lambda: [c.name for c in Customer.objects.order_by("id")[1:3]],
    "first": lambda: Customer.objects.order_by("-id").first().name,
    "iterator": lambda: [c.id for c in Customer.objects.order_by("id").iterator(chunk_size=2)],
    "dates": lambda: list(Invoice.objects.dates("issued", "month")),
    "raw": lambda: plain(Customer.objects.raw("SELECT * FROM shop_customer WHERE id < %s", [3])),
    "cursor": lambda: _raw_cursor("SELECT name FROM shop_customer WHERE id = %s", [2]),
    "logged": _logged,
    "cursor_named": lambda: _raw_cursor(
        "SELECT name, '100%%' FROM shop_customer WHERE id = %(id)s", {"id": 3}
    ),
    "partly": _partly,
    "asynchronous": async_to_sync(_async),
    "other_database": lambda: plain(Customer.objects.using("archive").all()),
    "scalar_subquery": lambda: list(
        Invoice.objects.filter(id=1).values_list(
            "id", Subquery(Customer.objects.filter(id=OuterRef("customer")).values("name"))
        )
    ),
}
