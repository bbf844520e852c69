"""Persons who are tokens, where retention drops what they did, and where they are told who did."""

from __future__ import annotations

from pathlib import Path

from indelible import Actor, Subject, Trail, acting_as
from indelible.integrity.retention import parse_retention
from indelible.reports.access import AccessReport, report_access
from indelible.reports.texts import YOU
from indelible.store.terms import action_term, daily_term, subject_term
from tests.erasure.site import Shop
from tests.erasure.test_erasure import keystore_of
from tests.erasure.test_personal import IN_CLEAR, POLICY, SCHEMA, TRUDY, YAN, ZARA, clear_in, erase
from tests.retention.test_application import retention_of

ZARAS, YANS = Subject("customer", ZARA), Subject("customer", YAN)
HERSELF = Actor("customer", ZARA)


def read(shop: Shop) -> None:
    """200 times each, Zara reads her own row, and Trudy Yan's."""
    with shop.open() as (trail, connection):
        for name in (ZARA, YAN):
            connection.execute("INSERT INTO customer VALUES (?, 'tin', NULL)", (name,))
            connection.commit()
        for _ in range(200):
            for actor, name in ((HERSELF, ZARA), (TRUDY, YAN)):
                with acting_as(actor):
                    connection.execute(
                        "SELECT level FROM customer WHERE email = ?", (name,)
                    ).fetchall()
        trail.flush()


def report_of(trail: Trail, of: Subject) -> AccessReport:
    answer = trail.accessors(of=of)
    made = trail.reader.entry(0).received
    return report_access(trail.reader, answer, of=of, policy=trail.policy, made=made)


def test_what_retention_leaves_goes_by_tokens(tmp_path: Path) -> None:
    """Days are asked for, and told, by name; who is held, by name, keeps what has their token."""
    shop = Shop(tmp_path / "shop", schema=SCHEMA, policy=POLICY, rows="")
    read(shop)
    with shop.open() as (trail, _):
        trail.erasures.add_hold(YANS, shop.authorise(trail, "hold.add", YANS))
        retention = retention_of(trail)
        list(retention.seal_due())
        with retention.plan() as plan:
            assert plan.dropped > 100 and plan.held > 100
            text = retention.request(plan, reason="as every year")
        store = trail._store
        names, store.names = store.names, None
        retention.attest(parse_retention(text))
        store.names = names
        retention.apply(shop.sign(text, "one", "two"))
        assert trail.verify().retentions.done == 1

        days = [each for each in trail.accessors(of=ZARAS) if each.resolution == "day"]
        assert [each.actor for each in days] == [HERSELF]
        records = [each for each in trail.accesses(by=HERSELF) if each.resolution == "day"]
        assert [(each.kind, each.id) for each in records] == [("customer", (ZARA,))]
        of_yan = [each for each in trail.accessors(of=YANS) if each.actor == TRUDY]
        assert [(each.resolution, each.reads) for each in of_yan] == [("exact", 200)]
    assert clear_in(shop) == IN_CLEAR


def test_a_person_is_told_by_name(tmp_path: Path) -> None:
    """What they did themselves is theirs; once erased, who asks by token is told the same."""
    shop = Shop(tmp_path / "shop", schema=SCHEMA, policy=POLICY, rows="")
    read(shop)
    with shop.open() as (trail, _):
        report = report_of(trail, ZARAS)
        (own,) = [each for each in report.accesses if each.who == YOU]
        assert (own.reads, own.untold) == (200, 0)
        assert [(each.kind, each.id) for each in own.records] == [("customer", ZARA)]
        told = [each for each in report_of(trail, YANS).accesses if each.reads]
        assert [(each.who, each.reads) for each in told] == [("staff member 2", 200)]
        assert ZARA not in str(told)
    token = erase(shop)
    with shop.open() as (trail, _):
        for name in (token, f"erased:{token}"):
            report = report_of(trail, Subject("customer", name))
            assert report.of == Subject("customer", f"erased:{token}") and report.is_known
            (own,) = [each for each in report.accesses if each.who == YOU]
            assert (own.reads, own.untold) == (200, 0)


def test_days_are_looked_for_by_the_token(tmp_path: Path) -> None:
    """Where they are in the index, which has the token."""
    shop = Shop(tmp_path / "shop", schema=SCHEMA, policy=POLICY, rows="")
    with shop.open() as (trail, connection):
        connection.execute("INSERT INTO customer VALUES (?, 'tin', NULL)", (ZARA,))
        connection.commit()
        trail.flush()
        names, token = trail.reader.names, keystore_of(shop).token_of(ZARAS)
        assert names is not None
        asked = [daily_term(subject_term(ZARAS)), daily_term(action_term("lamp.lit"))]
        assert names.tokens_too(asked) == [
            *asked,
            daily_term(subject_term(Subject("customer", token))),
        ]
