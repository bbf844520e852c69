"""`python -m tests.django.crowd DIRECTORY [ENGINE URL]`: sixteen threads, each as somebody else,
then SIGKILL.

The last reads are by nobody, in a request that has ended, on a connection that stays open.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from indelible import Actor, acting_as
from tests.django.project import CAPTURED, start

THREADS = 16
ROUNDS = 20

if __name__ == "__main__":
    start(Path(sys.argv[1]), *(sys.argv[2:] or [CAPTURED]))

    from django.core.signals import request_finished
    from django.db import connection

    from tests.django.shop.models import Customer, Label

    for n in range(1, THREADS + 1):
        Customer.objects.create(id=n, name=f"customer {n}")
    Label.objects.bulk_create([Label(id=n, text="") for n in range(1, 10)])

    def work(n: int) -> None:
        for round_ in range(ROUNDS):
            with acting_as(Actor("staff", f"number {n}")):
                assert Customer.objects.get(id=n).name.startswith("customer")
                if round_ % 5 == 0:
                    Customer.objects.filter(id=n).update(town=f"town {round_}")
        connection.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, THREADS + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with connection.cursor() as cursor:
        cursor.execute("SELECT text FROM shop_label ORDER BY id")
        for _ in range(7):
            cursor.fetchone()
        request_finished.send(sender=None)
        os.kill(os.getpid(), signal.SIGKILL)
