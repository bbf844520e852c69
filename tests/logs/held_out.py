"""The same 54 kinds in other dresses, by a generator of its own: what rules do on lines that they
weren't written for.

No rule is ever changed for what these lines show. Values are of the same kinds, made in part in other forms; dresses are those of other
languages, tools and habits.
"""

# ruff: noqa: E501 - lines of logs stay whole

from __future__ import annotations

import base64
import string
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from tests.logs.corpus import KINDS, Line, Planted, Source

_PEOPLE: Final = ("Ngozi", "Søren", "Agnieszka", "José", "Wei", "Fatima", "Liam", "Ingrid")
_FAMILIES: Final = (
    "Adeyemi",
    "Kierkegaard",
    "Wiśniewska",
    "Álvarez",
    "Zhang",
    "al-Sayed",
    "O'Neill",
)


class Dress(NamedTuple):
    """What stands before and behind a value, with `{name}` in it, and how both are written."""

    before: str
    after: str
    name: Callable[[str], str] = str
    value: Callable[[str], str] = str


_DRESSES: Final[tuple[Dress, ...]] = (
    Dress(
        "handler.go:88: req=&{{ID:42 {name}:",
        " Remember:true}}",
        lambda name: "".join(p.capitalize() for p in name.replace("-", "_").split("_")),
    ),
    Dress("o.e.s.LoginFilter - params {{id=42, {name}=[", "], lang=en}}"),
    Dress('Started POST "/session"; Parameters: {{"id"=>"42", "{name}"=>"', '"}}'),
    Dress('array(2) {{ ["{name}"]=> string({length}) "', '" ["id"]=> int(42) }}'),
    Dress("<soap:Body><ns2:{name}>", "</ns2:{name}></soap:Body>"),
    Dress('<account id="42" {name}="', '"/>'),
    Dress(
        "docker run -e PORT=8080 -e {name}=",
        " app:latest",
        lambda name: name.upper().replace("-", "_"),
    ),
    Dress("exec: backup --host db --{name} ", " --verbose", lambda name: name.replace("_", "-")),
    Dress("body: id=42&{name}=", "&submit=1", value=lambda v: urllib.parse.quote(v, safe="")),
    Dress('{{"payload":"{{\\"id\\": 42, \\"{name}\\": \\"', '\\"}}"}}'),
    Dress("INSERT INTO account (id, {name}, active) VALUES (42, '", "', true)"),
    Dress("| id | 42 | {name} | ", " |"),
    Dress("config loaded: account: {{id: 42, {name}: ", "}}"),
    Dress('[{{"key":"id","value":42}},{{"key":"{name}","value":"', '"}}]'),
    Dress("headers=[(b'accept', b'*/*'), (b'{name}', b'", "')]"),
    Dress("changed {name}: old -> ", " by admin"),
    Dress(
        "customer says the {name} they use is ",
        " and it fails",
        lambda name: name.replace("_", " "),
    ),
    Dress("{name}? ", "", lambda name: name.replace("_", " ")),
    Dress("validation failed for value ", " in step 3"),
    Dress("KeyError: '", "'"),
    Dress("blob ", " stored", value=lambda v: base64.b64encode(v.encode()).decode()),
)

_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "password": ("current_password", "passwordConfirm", "userPass", "login_pw"),
    "passphrase": ("ssh_passphrase", "gpgPassphrase"),
    "password-in-url": ("remote_url",),
    "database-dsn": ("DATABASE_URL",),
    "basic-auth": ("Proxy-Authorization",),
    "bearer": ("upstream_auth",),
    "jwt": ("accessJwt", "idToken"),
    "cookie": ("Cookie",),
    "set-cookie": ("Set-Cookie",),
    "session-id": ("sess", "PHPSESSID", "session.key"),
    "csrf-token": ("X-CSRF-Token", "authenticity_token"),
    "api-key": ("apikey", "X-Api-Key", "partner_key"),
    "aws-access-key": ("accessKeyId",),
    "aws-secret-key": ("secretAccessKey", "aws_secret"),
    "client-secret": ("oauth_secret", "consumerSecret"),
    "refresh-token": ("rt", "refreshToken"),
    "encryption-key": ("master_key", "aesKey", "django_secret_key"),
    "one-time-code": ("totp_code", "smsCode", "challenge_response"),
    "pin": ("pin_code", "userPin"),
    "recovery-code": ("backupCode", "rescue_code"),
    "security-answer": ("secret_answer", "mothers_maiden_name"),
    "email": ("contactEmail", "recipient"),
    "phone": ("phoneNumber", "msisdn"),
    "card": ("cardNumber", "ccnum"),
    "card-code": ("cardSecurityCode", "cvv2"),
    "iban": ("accountNumber",),
    "ssn": ("socialSecurityNumber",),
    "birth-date": ("birthday", "Geburtsdatum", "born_on"),
    "address": ("addressLine1", "homeAddress"),
    "ip": ("peer", "x-forwarded-for"),
    "person-name": ("firstName", "accountHolder", "nurse"),
    "health": ("condition", "diagnosisText", "icd10"),
    "belief": ("faith", "religiousBelief", "party"),
}


def _value(kind: str, s: Source) -> str:
    """A value of the kind, of the form that it has elsewhere."""
    rng = s.rng
    person = f"{rng.choice(_PEOPLE)} {rng.choice(_FAMILIES)}"
    if kind in ("password", "passphrase"):
        return s.pick(
            "pAss,w0rd;9", "Quite&Long#77", "münchen-2024!", "x7$Kq@9z", "letmein", "Sommer{24}"
        )
    if kind == "phone":
        return s.pick(
            "+442079460958", "020 7946 0958", "0151-23456789", "415.555.2671", "+91 98765 43210"
        )
    if kind == "birth-date":
        return s.pick("3 March 1985", "1985/03/07", "07.03.85", "March 7, 1985", "19850307")
    if kind == "person-name":
        return person
    if kind == "email":
        return s.pick(
            "søren@eksempel.example",
            "n.adeyemi@corp.co.example",
            "o'neill@example.ie",
            "INFO.X@EXAMPLE.COM",
        )
    if kind == "address":
        return s.pick(
            "Königstraße 12a",
            "14 rue de la Paix",
            "221B Baker Street",
            "Calle Alcalá 45",
            "Rynek 7/3",
        )
    if kind == "health":
        return s.pick(
            "ulcerative colitis", "HIV positive", "E11.9", "panic disorder", "chemotherapy"
        )
    if kind == "belief":
        return s.pick("Zoroastrian", "agnostic", "Sikh", "member of the Green Party", "Roma")
    if kind == "ip":
        return s.pick(
            "2001:db8:85a3::8a2e:370:7334", "198.51.100.23:52110", "[2a02:26f7::1]", "203.0.113.77"
        )
    if kind == "recovery-code":
        return (
            f"{s.digits(4)} {s.digits(4)}"
            if rng.random() < 0.5
            else s.chars(string.ascii_lowercase + string.digits, 10)
        )
    if kind == "security-answer":
        return s.pick("my first dog Rex", "Lisbon", "Schmidt")
    if kind == "session-id":
        return s.chars(string.ascii_lowercase + string.digits, 26)
    return KINDS[kind].make(s)


def _whole(kind: str, s: Source, secret: str) -> str:
    """What a secret is written in, where it doesn't stand alone."""
    if kind == "password-in-url":
        return f"ssh://deploy:{secret}@host.example/srv"
    if kind == "database-dsn":
        return s.pick(
            f"mongodb+srv://svc:{secret}@cluster.example/app",
            f"Server=db;Database=app;User Id=svc;Password={secret};",
            f"amqp://svc:{secret}@mq.example:5671/%2f",
        )
    return secret


def held_out_lines(seed: int, per_kind: int) -> Iterator[Line]:
    """`per_kind` lines of each kind, in the dresses above by turns."""
    s = Source(seed)
    for name, kind in KINDS.items():
        for turn in range(per_kind):
            value = _value(name, s)
            whole = _whole(name, s, value)
            called = s.rng.choice(_NAMES.get(name, (name.replace("-", "_"),)))
            dress = _DRESSES[turn % len(_DRESSES)]
            written = dress.value(whole)
            told = {"name": dress.name(called), "length": len(whole)}
            before, after = dress.before.format(**told), dress.after.format(**told)
            stamp = s.pick("Nov 30 13:26:32 web-3 app[4242]: ", "I1130 13:26:32.123456 4242 ", "")
            secret = next((v for v in (value, urllib.parse.quote(value)) if v in written), written)
            start = len(stamp) + len(before) + written.index(secret)
            planted = Planted(name, kind.data_class, start, start + len(secret))
            yield Line(stamp + before + written + after, (planted,))


_ORDINARY: Final[tuple[Callable[[Source], str], ...]] = (
    lambda s: (
        f"Nov 30 13:26:{s.digits(2)} web-3 systemd[1]: Started Session {s.digits(3)} of user app."
    ),
    lambda s: (
        f"I1130 13:26:32.{s.digits(6)} {s.digits(5)} reconciler.go:{s.digits(3)}] volume pvc-{s.chars('0123456789abcdef', 8)}-11ee attached"
    ),
    lambda s: (
        f'10.0.{s.digits(2)}.7 - - [30/Nov/2026:13:26:32 +0000] "GET /static/app.{s.chars("0123456789abcdef", 12)}.js HTTP/1.1" 304 0'
    ),
    lambda s: (
        f"DEBUG sqlalchemy.engine.Engine [generated in 0.000{s.digits(2)}s] (42, {s.digits(5)})"
    ),
    lambda s: f"npm WARN deprecated request@2.88.{s.digits(1)}: request has been deprecated",
    lambda s: (
        f"Compiled {s.digits(4)} modules in {s.digits(2)}.{s.digits(2)}s (webpack 5.{s.digits(2)}.0)"
    ),
    lambda s: (
        f"pod/web-{s.chars('bcdfghjklmnpqrstvwxz2456789', 10)}-{s.chars('bcdfghjklmnpqrstvwxz2456789', 5)} ready"
    ),
    lambda s: (
        f'{{"severity":"INFO","logging.googleapis.com/trace":"projects/app/traces/{s.chars("0123456789abcdef", 32)}","httpRequest":{{"status":200,"latency":"0.{s.digits(6)}s"}}}}'
    ),
    lambda s: (
        f"Accepted publickey for app from 10.1.2.3 port {s.digits(5)} ssh2: RSA SHA256:{s.b64(32)[:43]}"
    ),
    lambda s: (
        f"XID {s.digits(9)} LSN 0/{s.chars('0123456789ABCDEF', 8)} checkpoint complete: wrote {s.digits(4)} buffers"
    ),
    lambda s: "password authentication is disabled; key authentication only",
    lambda s: (
        f"user pinned the card to board {s.digits(4)}; token bucket refilled: {s.digits(3)}/s"
    ),
    lambda s: f"TaskGroup finished: {s.digits(3)} ok, 0 failed; ETA 00:0{s.digits(1)}:12",
    lambda s: (
        f"ticket ABC-{s.digits(4)} moved; build #{s.digits(5)} passed; coverage 9{s.digits(1)}.{s.digits(2)}%"
    ),
    lambda s: f"lat p50={s.digits(2)}ms p99={s.digits(3)}ms n={s.digits(6)} err=0",
    lambda s: "session cookie policy updated: secure, same-site lax",
    lambda s: f"migrate: applying 20261130{s.digits(6)}_add_birth_date.sql ... done",
    lambda s: (
        f"s3: PUT bucket/key/{s.chars('0123456789abcdef', 8)}/part-0000{s.digits(1)}.parquet 200 {s.digits(8)} bytes"
    ),
)


def held_out_clean_lines(seed: int, count: int) -> Iterator[Line]:
    """Lines of other programs with nothing in them."""
    s = Source(seed)
    for turn in range(count):
        yield Line(_ORDINARY[turn % len(_ORDINARY)](s))
