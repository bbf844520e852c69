"""The invariants that `indelible init` writes for a kind of company, with comments."""

from __future__ import annotations

from typing import Final, Literal

Company = Literal["small-team", "saas", "health", "payments"]

_HEAD: Final = """
# What is promised: `indelible check` says which of it the trail bears out.
# Every kind: docs/reference/invariants.md. What isn't so yet can be `planned = true`, or
# relaxed = {to = "7 days", until = 2027-06-30, why = "…"}
"""
_ENUMERABLE: Final = """
[[invariant]]
promise = "we can enumerate the records any user accessed or modified during an arbitrary window, \
going back up to %s"
kind = "enumerable"
of = ["accesses", "changes"]
window = "%s"
"""
_REVERSIBLE: Final = """
[[invariant]]
promise = "reverse any changes made by a user, up to %s"
kind = "reversible"
by = "all"
window = "%s"
"""
_ACCESSORS: Final = """
# The tables whose rows are a customer's say so above: subject = "customer_id -> customer"
[[invariant]]
promise = "for any %(of)s, enumerate all users who accessed their data for any window within the \
last %(window)s, and with daily resolution within the last %(daily)s"
kind = "accessors"
of = "%(of)s"
window = "%(window)s"
daily = "%(daily)s"
"""
_ATTRIBUTED: Final = """
[[invariant]]
promise = "we know who it was"
kind = "attributed"
share = 0.999
window = "30 days"
"""
_COMPLETE: Final = """
[[invariant]]
promise = "nothing is missing from the trail, nor was anything changed behind its back"
kind = "complete"
window = "30 days"
reconciled = "7 days"             # how old the last `indelible reconcile` may be
"""
_DELIVERED: Final = """
[[invariant]]
promise = "what happens is in the trail within a minute"
kind = "delivered"
p95 = "10 seconds"
p100 = "1 minute"
"""
_LOGS: Final = """
[[invariant]]
promise = "someone reading our application logs can take over no account"
kind = "log_clean"
files = ["/var/log/app/*.log"]    # where the application logs to
classes = ["takeover"]

[[invariant]]
promise = "a leak of the logs creates no reporting obligation"
kind = "log_clean"
files = ["/var/log/app/*.log"]
classes = ["personal", "special"]
"""
_TAMPER_EVIDENT: Final = """
# Needs a [witness] who isn't us: docs/how-to.md
[[invariant]]
promise = "nobody rewrites the trail unnoticed, not even we"
kind = "tamper_evident"
witnesses = %d
age = "5 minutes"
planned = true
"""
_RETAINED: Final = """
[[invariant]]
promise = "what happened is kept for %s"
kind = "retained"
at_least = "%s"
"""
_AUTHORISED: Final = """
# Needs the application's decisions in the trail: docs/how-to.md
[[invariant]]
promise = "nobody sees or changes a record without having been allowed to"
kind = "authorised"
window = "30 days"
planned = true
"""
_LIMITS: Final = """
[[invariant]]
promise = "nobody carries the customers away"
kind = "limits"
action = "customer.export"        # as the application calls it
at_most = 10                      # by one actor in an hour
"""
_SEPARATES: Final = """
[[invariant]]
promise = "nobody approves a payment that they made themselves"
kind = "separates"
actions = ["payment.create", "payment.approve"]
"""


def _twice(text: str, length: str) -> str:
    return text % (length, length)


PROMISES: Final[dict[Company, str]] = {
    "small-team": "".join(
        (
            _HEAD,
            _twice(_ENUMERABLE, "1 year"),
            _twice(_REVERSIBLE, "3 months"),
            _ATTRIBUTED,
            _COMPLETE,
            _LOGS,
        )
    ),
    "saas": "".join(
        (
            _HEAD,
            _twice(_ENUMERABLE, "3 years"),
            _twice(_REVERSIBLE, "6 months"),
            _ACCESSORS % {"of": "customer", "window": "12 months", "daily": "2 years"},
            _LOGS,
            _ATTRIBUTED,
            _COMPLETE,
            _DELIVERED,
            _LIMITS,
            _TAMPER_EVIDENT % 1,
        )
    ),
    "health": "".join(
        (
            _HEAD,
            _twice(_ENUMERABLE, "6 years"),
            _ACCESSORS % {"of": "patient", "window": "6 years", "daily": "10 years"},
            _twice(_REVERSIBLE, "6 months"),
            _ATTRIBUTED,
            _COMPLETE,
            _DELIVERED,
            _LOGS,
            _twice(_RETAINED, "6 years"),
            _AUTHORISED,
            _TAMPER_EVIDENT % 2,
        )
    ),
    "payments": "".join(
        (
            _HEAD,
            _twice(_ENUMERABLE, "12 months"),
            _ACCESSORS % {"of": "customer", "window": "12 months", "daily": "2 years"},
            _twice(_REVERSIBLE, "3 months"),
            _ATTRIBUTED,
            _COMPLETE,
            _DELIVERED,
            _LOGS,
            _twice(_RETAINED, "12 months"),
            _SEPARATES,
            _LIMITS,
            _AUTHORISED,
            _TAMPER_EVIDENT % 2,
        )
    ),
}
"""What a company of each kind promises: lengths as the rules that it is under ask for them."""
