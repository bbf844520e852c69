"""Seeded lines of logs with 54 kinds of value in them, and clean lines with their lookalikes.

Rules are written with these lines at hand; what they reach on others is measured with
`tests.logs.held_out`.
"""

# ruff: noqa: E501 - lines of logs stay whole

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from indelible.logs.scrub.model import DataClass

HEX: Final = "0123456789abcdef"
ALNUM: Final = string.ascii_letters + string.digits
FIRST: Final = (
    "Zara",
    "Yan",
    "Olu",
    "Maya",
    "Igor",
    "Lena",
    "Tomas",
    "Aiko",
    "Priya",
    "Noor",
    "Jonas",
)
LAST: Final = (
    "Okafor",
    "Lindqvist",
    "Moreau",
    "Santos",
    "Weber",
    "Novak",
    "Tanaka",
    "Haddad",
    "Rossi",
)
STREETS: Final = (
    "Maple",
    "Oak",
    "Station",
    "Church",
    "Mill",
    "Victoria",
    "Park",
    "King",
    "Harbour",
)


@dataclass(frozen=True)
class Planted:
    """A value that stands in a line at `start` to `end`."""

    kind: str
    data_class: DataClass
    start: int
    end: int


@dataclass(frozen=True)
class Line:
    """A line of a log and what is planted in it."""

    text: str
    planted: tuple[Planted, ...] = ()


class Source:
    """Random parts of values; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def chars(self, alphabet: str, count: int) -> str:
        return "".join(self.rng.choice(alphabet) for _ in range(count))

    def digits(self, count: int) -> str:
        return self.chars("123456789", 1) + self.chars(string.digits, count - 1)

    def pick(self, *options: str) -> str:
        return self.rng.choice(options)

    def b64(self, count: int) -> str:
        return base64.b64encode(self.rng.randbytes(count)).decode()

    def url64(self, count: int) -> str:
        return base64.urlsafe_b64encode(self.rng.randbytes(count)).decode().rstrip("=")

    def password(self) -> str:
        word = self.pick(
            "Tr0ub4dor", "correcthorse", "Winter", "s3cr3t", "hunter", "Pa55w0rd", "zx81"
        )
        return word + self.pick("!", "#", "-", "_", "") + self.digits(3)

    def person(self) -> str:
        return f"{self.rng.choice(FIRST)} {self.rng.choice(LAST)}"

    def jwt(self) -> str:
        head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
        body = json.dumps({"sub": self.digits(6), "exp": 1_764_000_000}).encode()
        return f"{head}.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.{self.url64(32)}"

    def luhn(self, prefix: str, length: int) -> str:
        number = prefix + self.chars(string.digits, length - len(prefix) - 1)
        total = sum(
            sum(divmod(int(digit) * 2, 10)) if place % 2 == 0 else int(digit)
            for place, digit in enumerate(reversed(number))
        )
        return number + str(-total % 10)

    def card(self) -> str:
        number = self.luhn(self.pick("4", "51", "55", "2221", "6011"), 16)
        gap = self.pick("", " ", "-")
        return gap.join(number[at : at + 4] for at in range(0, 16, 4))

    def iban(self) -> str:
        country, bank = self.pick("DE", "NL", "FR", "GB", "ES"), ""
        if country == "DE":
            bank = self.digits(18)
        elif country == "NL":
            bank = "ABNA" + self.digits(10)
        elif country == "FR":
            bank = self.digits(23)
        elif country == "GB":
            bank = "NWBK" + self.digits(14)
        else:
            bank = self.digits(20)
        as_number = "".join(str(int(char, 36)) for char in f"{bank}{country}00")
        whole = f"{country}{98 - int(as_number) % 97:02d}{bank}"
        gap = self.pick("", " ")
        return gap.join(whole[at : at + 4] for at in range(0, len(whole), 4))

    def day(self) -> tuple[int, int, int]:
        return self.rng.randint(1940, 1999), self.rng.randint(1, 12), self.rng.randint(1, 28)

    def birth(self) -> str:
        year, month, day = self.day()
        return self.pick(
            f"{year}-{month:02d}-{day:02d}",
            f"{day:02d}/{month:02d}/{year}",
            f"{day}.{month}.{year}",
        )

    def email(self) -> str:
        name = self.person().lower().replace(" ", self.pick(".", "_", ""))
        return f"{name}{self.pick('', '+shop', '84')}@{self.pick('example.com', 'mail.example.org', 'firma.example.de')}"

    def address(self) -> str:
        number, street = self.digits(2), self.rng.choice(STREETS)
        return f"{number} {street} {self.pick('Street', 'Road', 'Avenue', 'Lane')}"

    def ip(self) -> str:
        return f"{self.pick('203.0.113', '198.51.100', '81.2.69', '93.184.216')}.{self.rng.randint(1, 254)}"

    def ip6(self) -> str:
        return f"2a02:{self.chars(HEX[1:], 4)}:{self.chars(HEX[1:], 4)}::{self.chars(HEX[1:], 4)}"

    def phone(self) -> str:
        return self.pick(
            f"+44 7700 900{self.digits(3)}",
            f"+49 151 {self.digits(8)}",
            f"+1 (415) 555-{self.digits(4)}",
            f"(415) 555-{self.digits(4)}",
            f"+33 6 {self.digits(2)} {self.digits(2)} {self.digits(2)} {self.digits(2)}",
            f"0{self.pick('6', '7')} {self.digits(2)} {self.digits(2)} {self.digits(2)} {self.digits(2)}",
        )

    def ssn(self) -> str:
        return f"{self.rng.randint(100, 600)}-{self.rng.randint(10, 99)}-{self.rng.randint(1000, 9999)}"

    def nino(self) -> str:
        d = self.digits(6)
        return f"{self.pick('QQ', 'AB', 'JG', 'WE')} {d[:2]} {d[2:4]} {d[4:]} {self.pick('A', 'B', 'C')}".replace(
            " ", self.pick(" ", "")
        ).replace("QQ", "AA")

    def nir(self) -> str:
        year, month, _ = self.day()
        number = f"{self.pick('1', '2')}{year % 100:02d}{month:02d}{self.digits(2)}{self.digits(3)}{self.digits(3)}"
        return f"{number}{97 - int(number) % 97:02d}"

    def dni(self) -> str:
        number = self.digits(8)
        return number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]

    def steuer(self) -> str:
        digits = [int(char) for char in self.digits(10)]
        product = 10
        for digit in digits:
            product = ((digit + product) % 10 or 10) * 2 % 11
        return "".join(map(str, digits)) + str((11 - product) % 10)

    def bsn(self) -> str:
        while True:
            digits = [int(char) for char in self.digits(8)]
            last = sum(d * w for d, w in zip(digits, range(9, 1, -1), strict=True)) % 11
            if last < 10:
                return "".join(map(str, digits)) + str(last)

    def personnummer(self) -> str:
        year, month, day = self.day()
        number = self.luhn(f"{year % 100:02d}{month:02d}{day:02d}", 10)
        return f"{number[:6]}-{number[6:]}"

    def pesel(self) -> str:
        year, month, day = self.day()
        number = f"{year % 100:02d}{month:02d}{day:02d}{self.digits(4)}"
        total = sum(int(d) * w for d, w in zip(number, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), strict=True))
        return number + str(-total % 10)

    def pem(self) -> str:
        return f"-----BEGIN PRIVATE KEY-----\\n{self.b64(48)}\\n{self.b64(48)}\\n-----END PRIVATE KEY-----"


@dataclass(frozen=True)
class Kind:
    """One of the 54: how a value is made, under which names it stands, and in which sentences."""

    data_class: DataClass
    make: Callable[[Source], str]
    names: tuple[str, ...] = ()
    sentences: tuple[str, ...] = field(default=())


def _alnum(count: int) -> Callable[[Source], str]:
    return lambda s: s.chars(ALNUM, count)


def _hex(count: int) -> Callable[[Source], str]:
    return lambda s: s.chars(HEX, count)


KINDS: Final[dict[str, Kind]] = {
    "password": Kind(
        "takeover",
        Source.password,
        ("password", "user_password", "passwd", "pwd", "newPassword", "db_pass"),
        ("password was reset to {}", "mysql --password={} -h db", "login --password {} failed"),
    ),
    "passphrase": Kind("takeover", Source.password, ("passphrase", "key_passphrase")),
    "password-in-url": Kind(
        "takeover", Source.password, (), ("cloning https://bot:{}@git.example.com/app.git",)
    ),
    "database-dsn": Kind(
        "takeover",
        Source.password,
        (),
        (
            "connecting to postgresql://app:{}@db.internal:5432/app",
            "cache redis://:{}@cache:6379/0",
            "pool opened: host=db user=app password={} dbname=app",
        ),
    ),
    "basic-auth": Kind(
        "takeover",
        lambda s: base64.b64encode(
            f"{s.person().split()[0].lower()}:{s.password()}".encode()
        ).decode(),
        (),
        (
            "Authorization: Basic {}",
            "authorization=Basic {} upstream=billing",
            "retrying with Basic {}",
        ),
    ),
    "bearer": Kind(
        "takeover",
        lambda s: s.url64(24),
        (),
        ("Authorization: Bearer {}", "> authorization: Bearer {}", "calling /v2/me with Bearer {}"),
    ),
    "jwt": Kind(
        "takeover", Source.jwt, ("id_token", "jwt"), ("decoded {} for tenant 12", "got {}")
    ),
    "cookie": Kind(
        "takeover",
        lambda s: f"sessionid={s.chars(ALNUM.lower(), 32)}; csrftoken={s.chars(ALNUM, 32)}",
        (),
        ("Cookie: {}", "> cookie: {}"),
    ),
    "set-cookie": Kind(
        "takeover",
        lambda s: f"sid={s.url64(18)}; Path=/; HttpOnly",
        (),
        ("Set-Cookie: {}", "< set-cookie: {}"),
    ),
    "session-id": Kind("takeover", _hex(32), ("session_id", "sessionId", "JSESSIONID", "sid")),
    "csrf-token": Kind("takeover", _alnum(32), ("csrf_token", "csrfmiddlewaretoken", "xsrf_token")),
    "api-key": Kind("takeover", _hex(40), ("api_key", "apiKey", "x-api-key", "APP_KEY")),
    "aws-access-key": Kind(
        "takeover",
        lambda s: "AKIA" + s.chars(string.ascii_uppercase + "234567", 16),
        ("aws_access_key_id",),
        ("signing with {} in eu-west-1",),
    ),
    "aws-secret-key": Kind(
        "takeover", lambda s: s.b64(30), ("aws_secret_access_key", "SecretAccessKey")
    ),
    "github-token": Kind(
        "takeover", lambda s: "ghp_" + s.chars(ALNUM, 36), (), ("cloning with {}", "GITHUB={}")
    ),
    "gitlab-token": Kind(
        "takeover", lambda s: "glpat-" + s.url64(15), (), ("runner registered with {}",)
    ),
    "slack-token": Kind(
        "takeover",
        lambda s: f"xoxb-{s.digits(11)}-{s.digits(12)}-{s.chars(ALNUM, 24)}",
        (),
        ("bot {} joined",),
    ),
    "slack-webhook": Kind(
        "takeover",
        lambda s: f"hooks.slack.com/services/T{s.digits(8)}/B{s.digits(8)}/{s.chars(ALNUM, 24)}",
        (),
        ("posting to https://{}",),
    ),
    "stripe-key": Kind(
        "takeover", lambda s: "sk_live_" + s.chars(ALNUM, 24), (), ("charging with {}",)
    ),
    "google-api-key": Kind(
        "takeover", lambda s: "AIza" + s.url64(26)[:35], (), ("geocode?key={}&q=x", "maps {}")
    ),
    "google-oauth": Kind("takeover", lambda s: "ya29." + s.url64(48), (), ("drive call with {}",)),
    "openai-key": Kind(
        "takeover", lambda s: "sk-proj-" + s.chars(ALNUM, 48), (), ("model client made, {}",)
    ),
    "sendgrid-key": Kind(
        "takeover", lambda s: f"SG.{s.url64(16)}.{s.url64(32)}", (), ("mailer uses {}",)
    ),
    "npm-token": Kind(
        "takeover",
        lambda s: "npm_" + s.chars(ALNUM, 36),
        (),
        ("//registry.example/:_authToken={}",),
    ),
    "azure-storage-key": Kind(
        "takeover",
        lambda s: s.b64(64),
        (),
        (
            "DefaultEndpointsProtocol=https;AccountName=app;AccountKey={};EndpointSuffix=example.net",
        ),
    ),
    "telegram-token": Kind(
        "takeover",
        lambda s: f"{s.digits(9)}:AA{s.url64(24)}a",
        (),
        ("GET https://api.telegram.example/bot{}/getMe",),
    ),
    "private-key": Kind("takeover", Source.pem, ("private_key",), ("loaded {}",)),
    "client-secret": Kind(
        "takeover", lambda s: s.url64(30), ("client_secret", "clientSecret", "oauth.client_secret")
    ),
    "refresh-token": Kind("takeover", lambda s: s.url64(30), ("refresh_token", "refreshToken")),
    "encryption-key": Kind("takeover", _hex(64), ("encryption_key", "SECRET_KEY", "signing_key")),
    "one-time-code": Kind(
        "takeover",
        lambda s: s.digits(6),
        ("otp", "mfa_code", "verification_code"),
        ("your verification code is {}", "OTP {} sent by SMS", "{} is your login code"),
    ),
    "pin": Kind(
        "takeover", lambda s: s.digits(4), ("pin", "card_pin"), ("PIN {} rejected", "PIN is {}")
    ),
    "recovery-code": Kind(
        "takeover",
        lambda s: f"{s.chars(HEX, 4)}1-{s.chars(HEX, 4)}2",
        ("recovery_code", "backup_code"),
        ("recovery code {} was used", "backup codes: {}"),
    ),
    "security-answer": Kind(
        "takeover", lambda s: s.pick("Fluffy", "Rex", "Lisbon") + s.digits(2), ("security_answer",)
    ),
    "totp-seed": Kind(
        "takeover",
        lambda s: (
            f"otpauth://totp/app:zara?secret={s.chars(string.ascii_uppercase + '234567', 32)}&issuer=app"
        ),
        (),
        ("enrolled {}",),
    ),
    "reset-link": Kind(
        "takeover",
        lambda s: f"{s.chars(ALNUM.lower(), 3)}3{s.chars(ALNUM.lower(), 2)}-{s.chars(HEX, 30)}7",
        (),
        (
            "mail queued: https://app.example.com/accounts/reset/{}/",
            "GET /password-reset/{} 200",
            "GET /users/confirm/{} HTTP/1.1",
        ),
    ),
    "link-token": Kind(
        "takeover",
        lambda s: s.url64(24),
        (),
        (
            "GET /login?token={} 302",
            "GET /verify?uid=12&access_token={}&next=/ 200",
            "/download?id=7&sig={}",
        ),
    ),
    "oauth-code": Kind(
        "takeover", lambda s: s.url64(20) + "9", (), ("GET /oauth/callback?code={}&state=xyz 302",)
    ),
    "email": Kind(
        "personal",
        Source.email,
        ("email", "to", "login"),
        ("mail sent to {}", "user {} logged in", "GET /users?email={} 200"),
    ),
    "phone": Kind(
        "personal", Source.phone, ("phone", "mobile"), ("SMS to {} queued", "call from {} ended")
    ),
    "card": Kind(
        "personal", Source.card, ("card_number", "pan"), ("card {} declined", "paying with {}")
    ),
    "card-code": Kind("personal", lambda s: s.digits(3), ("cvv", "cvc"), ("CVV {} did not match",)),
    "iban": Kind(
        "personal", Source.iban, ("iban",), ("transfer to {} of 12.50 EUR", "paid {} in full")
    ),
    "ssn": Kind("personal", Source.ssn, ("ssn",), ("SSN {} verified", "applicant {} approved")),
    "uk-nino": Kind("personal", Source.nino, ("nino",), ("employee {} added to payroll",)),
    "european-id": Kind(
        "personal",
        lambda s: s.rng.choice([Source.nir, Source.dni, Source.personnummer])(s),
        ("national_id",),
        ("identity {} checked",),
    ),
    "european-tax-id": Kind(
        "personal",
        Source.steuer,
        ("steuer_id", "tax_id"),
        ("Steuer-ID {} gespeichert",),
    ),
    "citizen-number": Kind(
        "personal", Source.bsn, ("bsn",), ("BSN {} found", "burgerservicenummer {} bekend")
    ),
    "birth-date": Kind(
        "personal", Source.birth, ("date_of_birth", "dob", "birthDate"), ("born {}", "DOB {} ok")
    ),
    "address": Kind(
        "personal", Source.address, ("street", "shipping_address"), ("parcel to {} left",)
    ),
    "ip": Kind(
        "personal",
        lambda s: s.rng.choice([Source.ip, Source.ip6])(s),
        ("client_ip", "remote_addr"),
        ('{} - - "GET / HTTP/1.1" 200', "login from {}"),
    ),
    "person-name": Kind("personal", Source.person, ("full_name", "customerName", "patient_name")),
    "health": Kind(
        "special",
        lambda s: s.pick("type 2 diabetes", "asthma", "epilepsy", "breast cancer", "depression"),
        ("diagnosis", "medical_condition"),
        ("patient diagnosed with {}", "claim for {} rejected"),
    ),
    "belief": Kind(
        "special",
        lambda s: s.pick("catholic", "muslim", "jewish", "hindu", "buddhist"),
        ("religion", "ethnicity", "sexual_orientation"),
        ("applicant is {}",),
    ),
}
assert len(KINDS) == 54

_NAMED: Final[tuple[str, ...]] = (
    'level=info msg="request done" {name}={value} status=200',
    "handler called with {name}={value}, retries=3",
    '{{"level":"info","msg":"saved","{name}":"{value}","status":200}}',
    '{{"event": "signup", "form": {{"id": 12, "{name}": "{value}"}}}}',
    "params: {{'id': 12, '{name}': '{value}'}}",
    "POST /form?id=12&{name}={value}&lang=en 302",
    "  {name}: {value}",
    "Form({name}='{value}', id=12)",
    'body="{{\\"id\\": 12, \\"{name}\\": \\"{value}\\"}}"',
)
_FLAT: Final = (0, 1, 5)  # dresses in which a value with a space in it would need quotes


def _prefix(s: Source) -> str:
    second = (
        f"2026-{s.rng.randint(1, 12):02d}-{s.rng.randint(1, 28):02d}T{s.rng.randint(10, 23)}:14:07"
    )
    return s.pick(
        f"{second}.{s.digits(3)}Z INFO app.views ",
        f"{second}Z [info] worker-{s.digits(1)}: ",
        f"[{second},{s.digits(3)}] DEBUG in auth (pid {s.digits(5)}): ",
        f"{second} trace_id={s.chars(HEX, 32)} ",
        "",
    )


def seeded_lines(seed: int, per_kind: int) -> Iterator[Line]:
    """`per_kind` lines of each kind, with one value planted in each."""
    s = Source(seed)
    for name, kind in KINDS.items():
        for turn in range(per_kind):
            value = kind.make(s)
            if kind.sentences and (not kind.names or turn % 2):
                before, after = s.rng.choice(kind.sentences).split("{}")
            else:
                dresses = [
                    dress
                    for at, dress in enumerate(_NAMED)
                    if not (at in _FLAT and (" " in value or "\\" in value))
                ]
                filled = s.rng.choice(dresses).format(name=s.rng.choice(kind.names), value="\0")
                before, after = filled.split("\0")
            before = ("" if before.startswith("{") else _prefix(s)) + before
            planted = Planted(name, kind.data_class, len(before), len(before) + len(value))
            yield Line(before + value + after, (planted,))


_CLEAN: Final[tuple[Callable[[Source], str], ...]] = (
    lambda s: (
        f'level=info msg="request finished" trace_id={s.chars(HEX, 32)} span_id={s.chars(HEX, 16)} duration_ms={s.digits(2)}.{s.digits(3)}'
    ),
    lambda s: (
        f'{{"level":"info","msg":"job done","job":"{uuid.UUID(bytes=s.rng.randbytes(16))}","rows":{s.digits(5)},"took_ms":{s.digits(4)}}}'
    ),
    lambda s: f"deployed commit {s.chars(HEX, 40)} to production in {s.digits(3)} s",
    lambda s: f"image registry.example/app@sha256:{s.chars(HEX, 64)} pulled",
    lambda s: f"version 3.11.{s.digits(1)} on Linux-6.1.0-{s.digits(2)}-amd64, build {s.digits(6)}",
    lambda s: (
        f"order {s.digits(8)} with {s.digits(1)} items, total {s.digits(3)}.{s.digits(2)} EUR"
    ),
    lambda s: (
        f"GET /api/v1/orders/{s.digits(6)}/items?page={s.digits(1)}&limit=50 200 {s.digits(4)} {s.digits(2)}ms"
    ),
    lambda s: f"tokens=512 max_tokens=4096 prompt_tokens={s.digits(3)} model=small",
    lambda s: "password reset requested for account " + s.digits(5),
    lambda s: "password changed; token expired; session closed after " + s.digits(3) + " s",
    lambda s: '{"level":"warn","msg":"login failed","reason":"wrong password","attempts":3}',
    lambda s: '{"password": null, "token": "", "session": "[FILTERED]", "password_changed": true}',
    lambda s: "SELECT id, password_hash, token FROM account WHERE id = $1 AND token = $2",
    lambda s: "token_type=bearer expires_in=3600 scope=read",
    lambda s: f"upstream 10.{s.digits(2)}.0.{s.digits(2)}:8080 answered 502 after {s.digits(4)} ms",
    lambda s: (
        f"Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0.{s.digits(4)}.{s.digits(2)} Safari/537.36"
    ),
    lambda s: f"listening on 0.0.0.0:8000 and [::1]:8001, pid {s.digits(5)}",
    lambda s: f"epoch {s.digits(1)}764512{s.digits(6)} offset {s.digits(9)} partition 12",
    lambda s: f"cache hit ratio 0.{s.digits(6)} over {s.digits(7)} keys",
    lambda s: "error code: 50012, exit code 137, status code 404",
    lambda s: f"ISBN 978-3-16-148410-0, SKU {s.chars(string.ascii_uppercase, 3)}-{s.digits(5)}",
    lambda s: f'  File "/app/src/views.py", line {s.digits(3)}, in handle_login',
    lambda s: "    raise ValueError('expected a number, got text')",
    lambda s: f"span {s.chars(HEX, 16)} parent {s.chars(HEX, 16)} flags 01",
    lambda s: (
        f'etag W/"{s.chars(HEX, 8)}-{s.chars(HEX, 11)}" last-modified Mon, 30 Nov 2026 13:26:32 GMT'
    ),
    lambda s: f"git@github.com:example/app.git fetched, HEAD is {s.chars(HEX, 7)}",
    lambda s: f"asset icon@2x.png served from /static/app.{s.chars(HEX, 8)}.css",
    lambda s: f"invoice INV-2026-{s.digits(6)} shipped, tracking 1Z999AA1{s.digits(10)}",
    lambda s: f"mac 00:1b:44:11:3a:b{s.digits(1)} link up, mtu 1500",
    lambda s: "user authenticated by OIDC, authorization granted, session started",
    lambda s: (
        f"shopping cart {s.digits(7)} pinned; spinning up worker {s.digits(2)}; ping {s.digits(2)} ms"
    ),
    lambda s: "GET /auth/callback 302; GET /login/oauth2 200; POST /verify/status 204",
    lambda s: f"released 2026.11.{s.digits(2)}-rc{s.digits(1)}, schema 0042_add_phone_to_customer",
    lambda s: "method=GET route=/health status=passing health_status=healthy container=web",
    lambda s: "access denied: role auditor lacks permission invoice.read",
    lambda s: f"kafka offset={s.digits(10)} lag={s.digits(3)} group=billing topic=invoice.paid",
    lambda s: (
        f"heap 512.{s.digits(2)} MiB, gc pause {s.digits(2)}.{s.digits(3)} ms, rss {s.digits(9)}"
    ),
    lambda s: (
        f"batch {uuid.UUID(bytes=s.rng.randbytes(16)).hex} sequenced first={s.digits(7)} last={s.digits(7)}"
    ),
    lambda s: "std::vector<int> a::b::c; ratio 16:9; at 13:26:32 and 14:07:55",
    lambda s: f"zip code lookup took {s.digits(2)} ms; country code 49; postcode ok",
    lambda s: "key=customer:cache:list value=[] ttl=300 key_count=7 api_key_id=7",
)


def clean_lines(seed: int, count: int) -> Iterator[Line]:
    """Lines with nothing in them that gives anything away."""
    s = Source(seed)
    for turn in range(count):
        body = _CLEAN[turn % len(_CLEAN)](s)
        yield Line(("" if body.startswith(("{", " ")) else _prefix(s)) + body)
