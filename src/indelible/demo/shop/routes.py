"""What staff may do with the shop over HTTP.

Each route works in one transaction, on a thread. Some use the ORM, some Core, some plain SQL, as
in any application that has grown; none of them thinks of an audit trail, but for two that state a
purpose which no table shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Engine, func, or_, select, text, update
from sqlalchemy.orm import Session, joinedload, selectinload
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from indelible import Actor, Outcome, Subject, Target, Trail, acting_as
from indelible.demo.shop.sign_in import (
    COOKIE,
    LOGIN_PATH,
    ActingAsStaff,
    Sessions,
    SignedIn,
    is_password,
)
from indelible.demo.shop.tables import Customer, Invoice, Note, Staff

Answer = Mapping[str, Any]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, parsed, in its transaction."""

    session: Session
    trail: Trail
    signed_in: SignedIn
    path: Mapping[str, Any]
    query: Mapping[str, str]
    form: Mapping[str, Any]

    def fetch_customer(self) -> Customer:
        """The customer in the path; 404 where there is none."""
        customer = self.session.get(Customer, self.path["id"])
        if customer is None:
            raise HTTPException(404, "no such customer")
        return customer


def find_customers(call: Call) -> Answer:
    """Core: three columns of those whose name or address has the text."""
    like = f"%{call.query.get('q', '')}%"
    found = call.session.execute(
        select(Customer.id, Customer.name, Customer.email)
        .where(or_(Customer.name.ilike(like), Customer.address.ilike(like)))
        .order_by(Customer.name)
    )
    return {"customers": [row._asdict() for row in found]}


def show_customer(call: Call) -> Answer:
    """ORM: a customer with invoices, notes and tickets, loaded select-in."""
    customer = call.session.get(
        Customer,
        call.path["id"],
        options=[
            selectinload(Customer.invoices),
            selectinload(Customer.notes),
            selectinload(Customer.tickets),
        ],
    )
    if customer is None:
        raise HTTPException(404, "no such customer")
    return {
        "id": customer.id,
        "name": customer.name,
        "email": customer.email,
        "phone": customer.phone,
        "address": customer.address,
        "invoices": [
            {"id": invoice.id, "status": invoice.status, "total_cents": invoice.total_cents}
            for invoice in customer.invoices
        ],
        "notes": [{"id": note.id, "body": note.body} for note in customer.notes],
        "tickets": [{"id": ticket.id, "status": ticket.status} for ticket in customer.tickets],
    }


def add_customer(call: Call) -> Answer:
    """ORM: insert."""
    customer = Customer(**{key: str(call.form[key]) for key in ("id", "name", *_CONTACT)})
    call.session.add(customer)
    return {"id": customer.id}


def change_customer(call: Call) -> Answer:
    """ORM: update what the form names."""
    customer = call.fetch_customer()
    for key in _CONTACT:
        if key in call.form:
            setattr(customer, key, str(call.form[key]))
    return {"id": customer.id, "changed": sorted(call.form)}


def delete_customer(call: Call) -> Answer:
    """ORM: the row; the database's cascade takes invoices, lines, notes and tickets along."""
    if call.signed_in.role != "manager":
        asked_for = call.path["id"]
        call.trail.record(
            "customer.delete",
            target=Target("customer", asked_for),
            subject=Subject("customer", asked_for),
            outcome=Outcome.DENIED,
        )
        raise HTTPException(403, "only a manager deletes customers")
    customer = call.fetch_customer()
    call.session.delete(customer)
    return {"deleted": customer.id}


def show_invoice(call: Call) -> Answer:
    """ORM: an invoice with its lines, in one join."""
    invoice = call.session.get(
        Invoice, call.path["id"], options=[joinedload(Invoice.lines, innerjoin=False)]
    )
    if invoice is None:
        raise HTTPException(404, "no such invoice")
    return {
        "id": invoice.id,
        "customer": invoice.customer_id,
        "status": invoice.status,
        "lines": [
            {"no": line.line_no, "what": line.description, "price_cents": line.price_cents}
            for line in invoice.lines
        ],
    }


def refund_invoice(call: Call) -> Answer:
    """Core: UPDATE … RETURNING; the event commits with it or never was."""
    id_ = call.path["id"]
    refunded = call.session.execute(
        update(Invoice)
        .where(Invoice.id == id_, Invoice.status == "paid")
        .values(status="refunded")
        .returning(Invoice.customer_id, Invoice.total_cents)
    ).one_or_none()
    if refunded is None:
        raise HTTPException(409, "no such invoice that is paid")
    call.trail.record(
        "invoice.refund",
        target=Target("invoice", id_),
        subject=Subject("customer", refunded.customer_id),
        on=call.session,
    )
    return {"refunded_cents": refunded.total_cents}


def add_note(call: Call) -> Answer:
    """ORM: insert."""
    note = Note(
        customer_id=call.path["id"], author_id=call.signed_in.staff, body=str(call.form["body"])
    )
    call.session.add(note)
    call.session.flush()
    return {"id": note.id}


def delete_note(call: Call) -> Answer:
    """ORM: delete."""
    note = call.session.get(Note, call.path["id"])
    if note is None:
        raise HTTPException(404, "no such note")
    call.session.delete(note)
    return {"deleted": note.id}


def list_tickets(call: Call) -> Answer:
    """Plain SQL: tickets with the names of those who wait."""
    found = call.session.execute(
        text(
            "SELECT t.id, t.title, c.name FROM ticket t JOIN customer c ON c.id = t.customer_id "
            "WHERE t.status = :status ORDER BY t.id"
        ),
        {"status": call.query.get("status", "open")},
    )
    return {"tickets": [row._asdict() for row in found]}


def close_tickets(call: Call) -> Answer:
    """Plain SQL: every open ticket at once."""
    closed = call.session.connection().exec_driver_sql(
        "UPDATE ticket SET status = 'closed' WHERE status = 'open'"
    )
    return {"closed": closed.rowcount}


def report_revenue(call: Call) -> Answer:
    """Core: what each customer paid, summed in the database."""
    found = call.session.execute(
        select(Customer.name, func.sum(Invoice.total_cents).label("cents"))
        .join(Invoice, Invoice.customer_id == Customer.id)
        .where(Invoice.status == "paid")
        .group_by(Customer.id, Customer.name)
        .order_by(Customer.name)
    )
    return {"revenue": [row._asdict() for row in found]}


_CONTACT: Final = ("email", "phone", "address")
_ROUTES: Final[tuple[tuple[str, str, Callable[[Call], Answer]], ...]] = (
    ("GET", "/customers", find_customers),
    ("POST", "/customers", add_customer),
    ("GET", "/customers/{id}", show_customer),
    ("POST", "/customers/{id}", change_customer),
    ("DELETE", "/customers/{id}", delete_customer),
    ("POST", "/customers/{id}/notes", add_note),
    ("DELETE", "/notes/{id:int}", delete_note),
    ("GET", "/invoices/{id:int}", show_invoice),
    ("POST", "/invoices/{id:int}/refund", refund_invoice),
    ("GET", "/tickets", list_tickets),
    ("POST", "/tickets/close", close_tickets),
    ("GET", "/reports/revenue", report_revenue),
)


class Shop:
    """The application over one database."""

    def __init__(self, engine: Engine, trail: Trail) -> None:
        self._engine = engine
        self._trail = trail
        self._sessions = Sessions()

    def asgi(self) -> Starlette:
        """The application, to be served."""
        return Starlette(
            routes=[
                Route(LOGIN_PATH, self._login, methods=["POST"]),
                *(
                    Route(path, self._endpoint(work), methods=[method])
                    for method, path, work in _ROUTES
                ),
            ],
            middleware=[Middleware(ActingAsStaff, sessions=self._sessions)],
            exception_handlers={HTTPException: _refuse},
        )

    def _endpoint(self, work: Callable[[Call], Answer]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> JSONResponse:
            form = await _read_form(request)
            return JSONResponse(await run_in_threadpool(self._transact, work, request, form))

        return endpoint

    def _transact(
        self, work: Callable[[Call], Answer], request: Request, form: Mapping[str, Any]
    ) -> Answer:
        with Session(self._engine) as session, session.begin():
            return work(
                Call(
                    session=session,
                    trail=self._trail,
                    signed_in=request.state.signed_in,
                    path=request.path_params,
                    query=request.query_params,
                    form=form,
                )
            )

    async def _login(self, request: Request) -> JSONResponse:
        form = await _read_form(request)
        name, password = str(form.get("staff", "")), str(form.get("password", ""))
        token = await run_in_threadpool(self._check_password, name, password)
        if token is None:
            raise HTTPException(401, "wrong name or password")
        answer = JSONResponse({"signed_in": name})
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return answer

    def _check_password(self, name: str, password: str) -> str | None:
        with Session(self._engine) as session:
            staff = session.get(Staff, name)
        if staff is None or not is_password(password, staff.password_hash):
            # The name is what somebody claimed; nobody is known to be acting.
            self._trail.record(
                "user.logged_in", target=Target("staff", name or "(none)"), outcome=Outcome.FAILURE
            )
            return None
        with acting_as(Actor("staff", name)):
            self._trail.record("user.logged_in", target=Target("staff", name))
        return self._sessions.open(name, staff.role)


async def _read_form(request: Request) -> Mapping[str, Any]:
    body = await request.body()
    if not body:
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise HTTPException(400, "expected a JSON object") from None


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code)
