"""`python -m tests.django.mariadb DIRECTORY ENGINE URL`: what goes past the ORM, and what is cut
short."""

import asyncio
import contextlib
import sys
from pathlib import Path

from indelible import Actor, acting_as
from tests.django.project import start

if __name__ == "__main__":
    start(Path(sys.argv[1]), *sys.argv[2:])

    from django.db import OperationalError, connection

    from tests.django.shop.models import Customer, Label

    for n in range(1, 4):
        Customer.objects.create(id=n, name=f"customer {n}")

    with acting_as(Actor("staff", "streaming")):
        rows = Customer.objects.order_by("id").iterator(chunk_size=1)
        assert [row.id for row in rows] == [1, 2, 3]

    with acting_as(Actor("staff", "caller")), connection.cursor() as cursor:
        cursor.callproc("move_to_x", [3])
    captured = connection.connection
    with captured.inside(), captured.cursor() as cursor:
        cursor.execute("SELECT @indelible_ctx")
        assert cursor.fetchone() == (None,)

    with acting_as(Actor("staff", "killed")):
        number = captured.thread_id()
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute(f"KILL {number}")
        other.close()
        try:
            Label.objects.create(id=999, text="never")
            raise AssertionError("a killed connection answers")
        except OperationalError:
            connection.close()

    async def cut_short() -> int:
        cancelled = 0
        for n in range(40):
            with acting_as(Actor("staff", "cancelled")):
                task = asyncio.create_task(Label.objects.acreate(id=200 + n, text="cut"))
                await asyncio.sleep(n * 0.0001)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                cancelled += task.cancelled()
            with acting_as(Actor("staff", "next")):
                await Label.objects.acreate(id=100 + n, text="whole")
        return cancelled

    assert asyncio.run(cut_short()) > 5
