"""What the shop has in its database on the day it meets Indelible."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from indelible.demo.shop.tables import Base, Customer, Invoice, InvoiceLine, Note, Staff, Ticket

ROLES: Final = {"alice": "agent", "trudy": "agent", "bob": "manager", "carol": "manager"}

_CUSTOMERS: Final = (
    ("zara", "Zara Quist", "Poplar Lane 4, Utrecht", "lamp flickers"),
    ("yusuf", "Yusuf Demir", "Kanalstraße 18, Köln", "where is my table?"),
    ("xenia", "Xenia Papadaki", "Odos Ermou 51, Athína", "bookshelf came without screws"),
    ("wim", "Wim Peeters", "Vrijdagmarkt 9, Gent", "please change my address"),
    ("vera", "Vera Novak", "Prešernova 3, Ljubljana", "invoice was paid twice"),
    ("ugo", "Ugo Conti", "Via Larga 22, Milano", "wrong colour"),
)
_GOODS: Final = (("oak table", 42_000), ("reading lamp", 6_450), ("bookshelf", 18_900))


def hash_password(password: str, salt: bytes | None = None) -> str:
    """`salt$hash`, to be kept; scrypt, so that a stolen table doesn't give passwords."""
    salt = salt or secrets.token_bytes(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
    return f"{salt.hex()}${digest.hex()}"


def seed(engine: Engine, passwords: Mapping[str, str]) -> None:
    """Make the tables and fill them; `passwords` has one for each of `ROLES`."""
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all(
            Staff(id=name, role=role, password_hash=hash_password(passwords[name]))
            for name, role in ROLES.items()
        )
        session.flush()
        for number, (id_, name, address, wish) in enumerate(_CUSTOMERS):
            session.add(_customer(number, id_, name, address, wish))


def _customer(number: int, id_: str, name: str, address: str, wish: str) -> Customer:
    return Customer(
        id=id_,
        name=name,
        email=f"{id_}@example.org",
        phone=f"+31 555 01{number:02}",
        address=address,
        invoices=[_invoice(1001 + number * 10 + n, n) for n in range(2)],
        notes=[
            Note(id=101 + number * 10, author_id="alice", body="prefers to be called after five"),
            Note(id=102 + number * 10, author_id="carol", body="reliable for eleven years"),
        ],
        tickets=[Ticket(id=501 + number, title=wish, status="open")],
    )


def _invoice(id_: int, n: int) -> Invoice:
    goods = [_GOODS[(id_ + line) % len(_GOODS)] for line in range(n + 1)]
    return Invoice(
        id=id_,
        issued_on=dt.date(2024, 3 + 5 * n, 14),
        status="paid",
        total_cents=sum(price for _, price in goods),
        lines=[
            InvoiceLine(line_no=line, description=what, quantity=1, price_cents=price)
            for line, (what, price) in enumerate(goods, start=1)
        ],
    )
