"""`python -m tests.django.authorising DIRECTORY`: permissions asked before and after recording.

Prints JSON: the answers of both times.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from indelible import Actor, acting_as
from tests.django.project import CAPTURED, start

if __name__ == "__main__":
    start(Path(sys.argv[1]), CAPTURED, applications=("django.contrib.auth",))

    from django.contrib.auth.models import AnonymousUser, Permission, User
    from django.db import connections

    from indelible.django.authorisation import record_permissions
    from tests.django.shop.models import Customer

    with acting_as(Actor("staff", "filler")):
        clerk = User.objects.create_user("clerk")
        clerk.user_permissions.add(Permission.objects.get(codename="view_customer"))
        root = User.objects.create_superuser("root")
        zara = Customer.objects.create(name="Zara", town="Zug")
        Customer.objects.create(name="Yan", town="Thun")

    def ask(kind: str) -> list[Any]:
        said: list[Any] = []
        with acting_as(Actor(kind, str(clerk.pk))):
            user = User.objects.get(pk=clerk.pk)
            said.append(user.has_perms(["shop.view_customer", "shop.delete_customer"]))
            said.append(asyncio.run(user.ahas_perm("shop.view_customer")))
            said.append([each.name for each in Customer.objects.order_by("id")])
            said.append(user.has_perm("shop.view_customer", zara))
            said.append(Customer.objects.get(pk=zara.pk).name)
        with acting_as(Actor(kind, str(root.pk))):
            said.append(User.objects.get(pk=root.pk).has_perm("shop.delete_customer"))
        said.append(AnonymousUser().has_perm("shop.view_customer"))
        said.append(user.has_perm("???"))
        return said

    plain = ask("plain")
    record_permissions(User)
    record_permissions(User)
    record_permissions(AnonymousUser)
    recorded = ask("user")
    connections.close_all()
    print(json.dumps({"plain": plain, "recorded": recorded}))
