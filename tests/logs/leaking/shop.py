"""A shop whose author logs carelessly: requests, headers, exceptions, arguments, credentials.

Run under the tee. `POST /try` takes guesses and says which of them opens an account: as a session,
a password, a reset token or code, an API key, an OAuth code, a PIN, or an answer that support asks
for. Without limits, so that nothing but not knowing protects an account.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import logging
import random
import sys
import urllib.parse
import uuid
import warnings

from flask import Flask, request
from werkzeug.serving import make_server

from indelible import Actor, Target, acting_as, logs

log = logging.getLogger("shop")
app = Flask("shop")
rng = random.Random(sys.argv[1] if len(sys.argv) > 1 else "7")
WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "ivory",
    "jade",
    "koala",
    "lemur",
]
NAMES = ["Zara", "Yusuf", "Xenia", "Walter", "Viola", "Umberto", "Tilda", "Sven", "Rosa", "Quentin"]


def text(alphabet: str, length: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(length))


LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class Account:
    """Everything with which somebody can be this account."""

    def __init__(self, number: int) -> None:
        name = NAMES[number % len(NAMES)]
        self.name = name
        self.email = f"{name.lower()}{rng.randint(100, 999)}@example.org"
        self.secrets: dict[str, str] = {
            "password": rng.choice(WORDS).title() + str(rng.randint(1000, 9999)) + "!",
            "passphrase": " ".join(rng.sample(WORDS, 4)),
            "session": text(LETTERS, 32),
            "session, short": text("0123456789abcdef", 16),
            "reset token": str(uuid.UUID(int=rng.getrandbits(128))),
            "reset code": f"{rng.randint(0, 999999):06d}",
            "api key": "sk_live_" + text(LETTERS, 24),
            "api key, plain": text(LETTERS, 20),
            "oauth code": text(LETTERS + "-_", 30),
            "jwt": ".".join(
                base64.urlsafe_b64encode(part.encode()).decode().rstrip("=")
                for part in ('{"alg":"HS256"}', f'{{"sub":{number}}}', text(LETTERS, 32))
            ),
            "pin": f"{rng.randint(0, 9999):04d}",
            "otp": f"{rng.randint(0, 99999999):08d}",
            "birth": str(dt.date(1950, 1, 1) + dt.timedelta(days=rng.randint(0, 20000))),
            "mother": rng.choice(WORDS).title() + rng.choice(WORDS),
            "card": f"{rng.randint(0, 9999):04d}",
            "order": f"{rng.randint(10**6, 10**7)}",
        }


ACCOUNTS = [Account(number) for number in range(12)]
OPENS = {
    secret: (kind, account.name) for account in ACCOUNTS for kind, secret in account.secrets.items()
}


class LoginFailed(Exception):
    pass


@app.post("/careless/<int:number>/<token>")
def careless(number: int, token: str) -> str:
    """Everything that one shouldn't log, logged in every way there is."""
    account = ACCOUNTS[number]
    secrets = account.secrets
    with acting_as(Actor("customer", account.email), request="r-" + str(number)):
        log.info("request %s %s", request.method, request.full_path)
        log.info(f"request {request.url} with {dict(request.headers)} and {request.get_data()!r}")
        log.info("headers", extra={"headers": dict(request.headers), "cookies": request.cookies})
        log.info("body: " + request.get_data().decode())
        log.info("form %r", request.form.to_dict())
        logging.getLogger(f"shop.customer.{account.name}").info("visited")
        for kind, secret in secrets.items():
            log.info("the %s is %s", kind, secret)
            log.info(f"{kind}: {secret}")
            log.info(f"{kind}={secret}")
            log.info(secret)
            log.info("%s" % secret)  # noqa: UP031
            log.info("a secret", extra={kind.replace(" ", "_").replace(",", ""): secret})
            log.info(
                "a secret", extra={"value": secret, "list": [secret], "dict": {secret: secret}}
            )
            log.info(
                "a secret", extra={secret: True, "status": secret, "count": secret, "path": secret}
            )
            log.info(
                "encoded",
                extra={"b64": base64.b64encode(secret.encode()), "hex": secret.encode().hex()},
            )
            log.info("encoded %s", urllib.parse.quote(secret + "/ü"))
            if secret.isdigit():
                log.info("a number", extra={"code": int(secret), "pin": int(secret)})
                log.info("a number %d", int(secret))
            try:
                raise LoginFailed(f"{kind} {secret} of {account.email} isn't right")
            except LoginFailed:
                log.exception("login failed for %s", account.email)
            try:
                {"known": 1}[secret]
            except KeyError as problem:
                log.error(f"no such key: {problem}", exc_info=True)
            try:
                int("x" + secret)
            except ValueError as problem:
                log.warning(problem, exc_info=problem)
            warnings.warn(f"{kind} {secret} is weak", stacklevel=1)
        log.info("account %r", account)
        log.info("account", extra=vars(account))
        log.info(
            "born %s",
            dt.date.fromisoformat(secrets["birth"]),
            extra={"birth": dt.date.fromisoformat(secrets["birth"])},
        )
        log.info("reset", extra={"reset": uuid.UUID(secrets["reset token"])})
        log.info("hash", extra={"hash": hashlib.sha256(secrets["password"].encode()).hexdigest()})
        logs.audit(
            "user.logged_in",
            target=Target("account", account.email),
            details=dict(secrets),
        )
    return "ok"


@app.post("/crash/<token>")
def crash(token: str) -> str:
    session = request.headers["Authorization"]
    raise LoginFailed(f"token {token} with {session}")


@app.get("/accounts")
def accounts() -> str:
    """What a test must know to use the shop as its customers do."""
    return json.dumps([account.secrets for account in ACCOUNTS])


@app.post("/try")
def guesses() -> str:
    """Which of the guesses open an account."""
    return json.dumps({guess: OPENS[guess] for guess in request.get_json() if guess in OPENS})


def main() -> None:
    logs.configure(service="shop", level=logging.DEBUG)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
