"""`python -m tests.django.logging_in DIRECTORY [ENGINE URL]`: what happens to users, once each."""

import asyncio
import sys
from pathlib import Path

from indelible import Actor, acting_as
from tests.django.project import CAPTURED, start

if __name__ == "__main__":
    start(
        Path(sys.argv[1]),
        *(sys.argv[2:] or [CAPTURED]),
        applications=("django.contrib.auth", "django.contrib.sessions"),
        SESSION_ENGINE="django.contrib.sessions.backends.db",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    )

    from django.contrib.auth import aauthenticate, authenticate, login, logout
    from django.contrib.auth.models import Group, Permission, User
    from django.contrib.sessions.backends.db import SessionStore
    from django.db import connections, transaction
    from django.http import HttpRequest

    from indelible.django.logins import record_logins

    record_logins()
    record_logins()
    with acting_as(Actor("staff", "admin")):
        clerk = User.objects.create_user("clerk", password="right-secret")
        gone = User.objects.create_user("gone")
        gone.delete()
        clerks = Group.objects.create(name="clerks")
        view = Permission.objects.get(codename="view_customer")
        clerk.groups.add(clerks)
        clerks.user_set.remove(clerk)
        clerks.permissions.add(view)
        clerk.user_permissions.set([view])
        clerk.user_permissions.clear()
        clerk.set_password("other-secret")
        clerk.save()
        clerk.save()
        try:
            with transaction.atomic():
                User.objects.create_user("never")
                raise RuntimeError
        except RuntimeError:
            pass
    request = HttpRequest()
    request.session = SessionStore()  # type: ignore[assignment]
    assert authenticate(request, username="clerk", password="wrong-secret") is None
    assert authenticate(request, username="typed-secret", password="x") is None
    assert asyncio.run(aauthenticate(request, username="clerk", password="wrong-secret")) is None
    user = authenticate(request, username="clerk", password="other-secret")
    assert user is not None
    login(request, user)
    request.user = user
    logout(request)
    connections.close_all()
