"""`indelible.toml`: what it says is what is done, and what is wrong in it is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from indelible.errors import ConfigurationError, PolicyError
from indelible.events.personal import Personal
from indelible.policy import Hop, SubjectPath, load_policy, parse_policy
from indelible.policy.load import policy_for_url

WHOLE = """
[trail]
url = "sqlite:///data/trail.db"
origin = "example.com/trail"

[database]
url = "sqlite:////srv/app.db"

[tables.default]
durability = "async"

[tables.Customer]
subject = "self"
mask = ["Card_No"]

[tables.invoice]
kind = "bill"
subject = "customer_id -> customer"
without_values = ["notes"]
durability = "strict"

[tables.invoice_line]
reads = false
baseline = "keys"
subject = "invoice_id -> invoice.customer_id -> customer"

[relay]
poll_s = 1
[witness]
policy = "trust.policy"
refresh_s = 30
"""


def test_the_whole_file_becomes_one_policy() -> None:
    """Every key lands where it belongs; tables inherit the default."""
    policy = parse_policy(WHOLE, directory=Path("/etc/app"))
    assert policy.trail == Path("/etc/app/data/trail.db")
    assert policy.journals == Path("/etc/app/data/trail.db.journals")
    assert policy.keys == Path("/etc/app/data/trail.db.keys")
    assert policy.database == Path("/srv/app.db")
    assert policy.relay.poll_s == 1.0
    assert policy.witness is not None
    assert (policy.witness.policy.name, policy.witness.refresh_s) == ("trust.policy", 30.0)
    customer = policy.table("customer")
    assert customer.subject == SubjectPath("customer")
    assert customer.mask == {"card_no"}
    assert customer.durability == "async"
    invoice = policy.table("INVOICE")
    assert (invoice.kind, invoice.durability) == ("bill", "strict")
    assert invoice.subject == SubjectPath("customer", (Hop("customer_id", "customer"),))
    line = policy.table("invoice_line")
    assert line.subject == SubjectPath(
        "customer", (Hop("invoice_id", "invoice"), Hop("customer_id", "customer"))
    )
    assert (line.reads, line.writes, line.baseline) == (False, True, "keys")
    assert policy.table("Genre").kind == "genre"


def test_without_the_section_nobody_is_asked() -> None:
    """No witness, no default one."""
    assert parse_policy("[trail]\nurl = 'sqlite:///t.db'").witness is None


def test_a_url_alone_is_a_policy() -> None:
    """The embedded default needs no file: everything is beside the trail."""
    policy = policy_for_url("sqlite:///trail.db")
    assert policy.trail == Path("trail.db")
    assert policy.table("x").reads is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trail]\nurl = 'sqlite:///t.db'\n[trial]\n", r"line 3: unknown key 'trial'; allowed"),
        ("[trail]\nurl = 'sqlite:///t.db'\n[tables.a]\nmsk = []", r"line 4 \[tables.a\]: unknown"),
        ("[trail]\nurl = 'postgresql://x'", r"line 2 \[trail\]: expected a URL like sqlite:///"),
        ("[trail]\n", r"expected `url`"),
        ("[trail", "expected TOML"),
        ("[trail]\nurl = 7", r"expected url as str, got int|expected a URL"),
        ("[trail]\nurl = 'sqlite:///t.db'\n[tables.a]\nreads = 'no'", "expected reads as bool"),
        ("[trail]\nurl = 'sqlite:///t.db'\n[tables.a]\nmask = 'x'", "list of column names"),
        ("[trail]\nurl = 'sqlite:///t.db'\n[tables.a]\nkind = 'a:b'", "kind without ':'"),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[tables.a]\ndurability = 'soon'",
            "one of strict, request, async, got 'soon'",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[tables.a]\nsubject = 'customer'",
            r"line 4 \[tables.a\]: subject: expected \"self\" or",
        ),
        ("[trail]\nurl = 'sqlite:///t.db'\n[relay]\npoll_s = 0", "poll_s above zero"),
        ("[trail]\nurl = 'sqlite:///t.db'\n[relay]\nsessions_s = 0", "sessions_s above zero"),
        ("[trail]\nurl = 'sqlite:///t.db'\n[witness]", "line 3 .*expected `policy`, as in"),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[witness]\npolicies = 'x'",
            "unknown key 'policies'; allowed here: policy, deadline_s, refresh_s",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[witness]\npolicy = 'x'\nrefresh_s = 61",
            r"line 5 \[witness\]: expected refresh_s above zero and at most 60, got 61",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[witness]\npolicy = 'x'\ndeadline_s = nan",
            "expected deadline_s above zero and at most 60, got nan",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[database]\nurl = 'postgresql://h/d'\nhosts = '::1'",
            r"line 5 \[database\]: expected hosts as a list of addresses",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[database]\nurl = 'sqlite:///a.db'\naudit_log = 'x'",
            "expected audit_log only beside a URL like postgresql",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[database]\nurl = 'postgresql://h/n'\nprofile = 'x'",
            r"line 5 \[database\]: expected profile as one of triggers, log, both, got 'x'",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[database]\nurl = 'mysql://h/n'\nprofile = 'log'",
            "expected profile = 'log' only beside a URL like postgresql://",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[tables.a]\nseal = ['b']",
            r"line 4 \[tables.a\]: expected subject beside seal",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[tables.a]\npersona = ['b']",
            "unknown key 'persona'; allowed here: .*seal, personal",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[retention]\nauthorisers = ['b']",
            r"line 4 \[retention\]: expected authorisers as \{k = 2, keys",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[retention]\nauthorisers = {k = 2, keys = ['b']}",
            "expected k of authorisers from 1 to 1, its keys",
        ),
        (
            "[trail]\nurl = 'sqlite:///t.db'\n[retention]\nauthorisers = {k=1, keys = ['b', 'b']}",
            "expected each key of authorisers once",
        ),
    ],
)
def test_a_mistake_names_line_key_and_what_is_allowed(text: str, message: str) -> None:
    """The operator reads where to look and what to write."""
    with pytest.raises(PolicyError, match=message):
        parse_policy(text)


def test_what_leads_to_a_personal_key_is_personal() -> None:
    """Along a subject's path, of tables that the file doesn't name too; else where it is said."""
    policy = parse_policy(
        """
        [trail]
        url = 'sqlite:///t.db'
        [tables.Person]
        kind = "customer"
        subject = "self"
        personal = ["Email", "referrer -> person"]
        [tables.line]
        subject = "invoice_id -> invoice.customer_email -> Person"
        [tables.note]
        subject = "about -> Person"
        personal = ["written_by -> person"]
        [tables.product]
        """
    )
    assert policy.sealed_actors == {"customer"}  # where from they act is theirs, too
    assert policy.table("person").personal == {"email": "customer", "referrer": "customer"}
    assert policy.table("invoice").personal == {"customer_email": "customer"}
    assert policy.table("note").personal == {"about": "customer", "written_by": "customer"}
    assert policy.table("product").personal == policy.table("line").personal == {}
    assert policy.personal == Personal(
        frozenset({"customer"}),
        {"customer": "customer"},
        {
            "customer": {"email": "customer", "referrer": "customer"},
            "invoice": {"customer_email": "customer"},
            "note": {"about": "customer", "written_by": "customer"},
        },
    )
    assert policy.seals
    assert not parse_policy("[trail]\nurl = 'sqlite:///t.db'\n[tables.a]\n").personal


def test_where_the_application_connects_from_is_no_name() -> None:
    """Role and address together are the application's; a relative log is beside the file."""
    policy = parse_policy(
        "[trail]\nurl = 'sqlite:///t.db'\n[database]\nurl = 'mysql://o@h/d'\n"
        "roles = ['app@%']\nhosts = ['10.0.0.5']\naudit_log = 'log/*.log'",
        directory=Path("/srv"),
    )
    assert policy.server is not None
    assert policy.server.audit_log == "/srv/log/*.log"
    assert policy.server.is_application("app", "10.0.0.5")
    for role, address in (("app", None), ("app", "10.0.0.6"), ("bi", "10.0.0.5"), (None, None)):
        assert not policy.server.is_application(role, address)


def test_no_file_says_how_to_make_one(tmp_path: Path) -> None:
    """A missing file is no empty policy."""
    with pytest.raises(ConfigurationError, match="`indelible init` writes one"):
        load_policy(tmp_path / "indelible.toml")


def test_a_file_of_other_bytes_is_said(tmp_path: Path) -> None:
    """A binary file is named as what it isn't."""
    path = tmp_path / "indelible.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="expected UTF-8"):
        load_policy(path)


def test_a_subject_is_of_the_kind_of_its_table() -> None:
    """Whether the row is the subject itself or refers to it, and whatever stands first."""
    policy = parse_policy(
        "[trail]\nurl = 'sqlite:///t.db'\n"
        "[tables.shop_line]\nsubject = 'invoice_id -> shop_invoice.customer_id -> Shop_Customer'\n"
        "[tables.shop_invoice]\nsubject = 'customer_id -> shop_customer'\n"
        "[tables.shop_customer]\nkind = 'customer'\nsubject = 'self'\n"
        "[tables.note]\nsubject = 'writer -> author'\n"
    )
    kinds = {}
    for name in ("shop_line", "shop_invoice", "shop_customer", "note"):
        subject = policy.table(name).subject
        assert subject is not None
        kinds[name] = subject.kind
    assert kinds == {
        "shop_line": "customer",
        "shop_invoice": "customer",
        "shop_customer": "customer",
        "note": "author",
    }


TIERS = """
[trail]
url = "sqlite:///data/trail.db"
[tiers]
"""


def test_tiers() -> None:
    """Where older entries go; by default to a folder beside the trail."""
    default = parse_policy(TIERS, directory=Path("/app")).tiers
    assert default is not None
    assert (default.sealed, default.hot_days) == (Path("/app/data/trail.db.sealed"), 90)
    text = TIERS + 'sealed = "s3://b/p"\nlock = "compliance"\nlake = "lake"\nhot_price = 1\n'
    tiers = parse_policy(text, directory=Path("/app")).tiers
    assert tiers is not None
    assert (tiers.sealed, tiers.lock, tiers.lock_days) == ("s3://b/p", "compliance", 365)
    assert (tiers.lake, tiers.hot_price, tiers.sealed_price) == (Path("/app/lake"), 1.0, None)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('sealed = "gs://bucket"', "expected sealed as a folder or s3://bucket/prefix"),
        ('lock = "compliance"', "expected lock only beside sealed"),
        ('sealed = "s3://b"\nlock = "for ever"', "governance, compliance"),
        ("hot_days = -1", "expected hot_days from 0 to"),
        (
            'sealed = "s3://b"\nlock = "compliance"\nlock_days = 0',
            "expected lock_days from 1 to",
        ),
        ('sealed = "s3://b"\nlock_days = 9', "expected lock_days only beside lock"),
        ('iceberg = "shop.audit.entry"', "expected iceberg only beside lake"),
        ('lake = "l"\niceberg = "entry"', "expected iceberg as .*, got 'entry'"),
        ('lake = "l"\niceberg = "shop..entry"', "expected iceberg as .*, got 'shop..entry'"),
        ("sealed_price = -0.1", "expected sealed_price not below zero"),
        ("sealed_price = nan", "expected sealed_price not below zero"),
        ("cold = 3", "unknown key 'cold'; allowed here: sealed, hot_days"),
    ],
)
def test_what_is_wrong_with_tiers_is_named(line: str, error: str) -> None:
    """Section, key, and what is allowed."""
    with pytest.raises(PolicyError, match=error) as raised:
        parse_policy(TIERS + line)
    assert "[tiers]" in str(raised.value)


def test_the_tiers_of_the_documentation() -> None:
    """What the page about keeping a trail for years shows is taken."""
    page = Path(__file__).parents[2] / "docs" / "keeping.md"
    (shown,) = re.findall(r"```toml\n(.*?)```", page.read_text(), re.S)
    tiers = parse_policy(TIERS.replace("[tiers]\n", shown)).tiers
    assert tiers is not None
    assert (tiers.sealed, tiers.lock_days) == ("s3://acme-audit/shop", 1095)
