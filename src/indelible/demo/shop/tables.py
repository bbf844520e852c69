"""The shop's tables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from sqlalchemy import Engine, ForeignKey, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.pool import ConnectionPoolEntry


class Base(DeclarativeBase):
    """Of all tables of the shop."""


class Staff(Base):
    """Somebody who may sign in."""

    __tablename__ = "staff"

    id: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    password_hash: Mapped[str]


class Customer(Base):
    """A person whose data this is all about."""

    __tablename__ = "customer"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    phone: Mapped[str]
    address: Mapped[str]

    invoices: Mapped[list[Invoice]] = relationship(
        order_by="Invoice.id", back_populates="customer", passive_deletes=True
    )
    notes: Mapped[list[Note]] = relationship(order_by="Note.id", passive_deletes=True)
    tickets: Mapped[list[Ticket]] = relationship(order_by="Ticket.id", passive_deletes=True)


class Invoice(Base):
    """Of one customer; its lines have a key of two columns."""

    __tablename__ = "invoice"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[str] = mapped_column(ForeignKey("customer.id", ondelete="CASCADE"))
    issued_on: Mapped[dt.date]
    status: Mapped[str]
    total_cents: Mapped[int]

    customer: Mapped[Customer] = relationship(back_populates="invoices")
    lines: Mapped[list[InvoiceLine]] = relationship(
        order_by="InvoiceLine.line_no", passive_deletes=True
    )


class InvoiceLine(Base):
    """What was sold."""

    __tablename__ = "invoice_line"

    invoice_id: Mapped[int] = mapped_column(
        ForeignKey("invoice.id", ondelete="CASCADE"), primary_key=True
    )
    line_no: Mapped[int] = mapped_column(primary_key=True)
    description: Mapped[str]
    quantity: Mapped[int]
    price_cents: Mapped[int]


class Note(Base):
    """What staff wrote down about a customer."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[str] = mapped_column(ForeignKey("customer.id", ondelete="CASCADE"))
    author_id: Mapped[str] = mapped_column(ForeignKey("staff.id"))
    body: Mapped[str]


class Ticket(Base):
    """What a customer asked for."""

    __tablename__ = "ticket"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[str] = mapped_column(ForeignKey("customer.id", ondelete="CASCADE"))
    title: Mapped[str]
    status: Mapped[str]


def open_database(path: Path) -> Engine:
    """An engine over the shop's SQLite file, with foreign keys enforced."""
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def enforce_foreign_keys(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    return engine
