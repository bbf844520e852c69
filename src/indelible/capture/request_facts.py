"""What of a web request is written beside what it did: from where, with what, which session.

Headers are whatever a client sends: nothing of them is believed but what a trusted proxy added, and
nothing is kept that could break a line or hide in one.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=-]{7,127}")
_MAX_USER_AGENT: Final = 256
_MAX_FORWARDED: Final = 64
_SESSION_CHARACTERS: Final = 16


class RequestFacts:
    """Reads the circumstances of requests, of one application."""

    def __init__(
        self,
        *,
        trusted_proxies: Iterable[str] = (),
        request_id_header: str | None = "X-Request-ID",
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        """`trusted_proxies` are addresses or networks (`10.0.0.0/8`) of what stands in front.

        Raises `ValueError` for one that is neither.
        """
        self._proxies: tuple[Network, ...] = tuple(map(ipaddress.ip_network, trusted_proxies))
        self._request_id_header = request_id_header
        self._new_id = new_id

    def of(
        self,
        peer: str | None,
        header: Callable[[str], str | None],
        *,
        session: str | None = None,
    ) -> dict[str, str]:
        """The context of a request from `peer`; `header` gives one by its name, all of its lines
        joined by commas. Of the session's key only a hash is kept."""
        given = header(self._request_id_header) if self._request_id_header else None
        found = {"request": given if given and _REQUEST_ID.fullmatch(given) else self._new_id()}
        address = self._client(peer, header("X-Forwarded-For"))
        if address is not None:
            found["ip"] = address
        user_agent = cleaned(header("User-Agent") or "")
        if user_agent:
            found["user_agent"] = user_agent
        if session:
            found["session"] = session_reference(session)
        return found | current_span()

    def _client(self, peer: str | None, forwarded: str | None) -> str | None:
        """The nearest address that no trusted proxy has: what stands left of it may be made up."""
        address = _address(peer)
        if address is None:
            return None
        for hop in reversed((forwarded or "").split(",")[-_MAX_FORWARDED:]):
            if not any(address in network for network in self._proxies):
                break
            further = _address(hop)
            if further is None:
                break
            address = further
        return str(address)


def current_span() -> dict[str, str]:
    """The OpenTelemetry span that is open where this is called, in the digits of W3C's
    `traceparent`; nothing where there is none, or the application doesn't use OpenTelemetry."""
    tracing = sys.modules.get("opentelemetry.trace")
    if tracing is None:
        return {}
    span = tracing.get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


def session_reference(key: str) -> str:
    """Tells sessions apart, and opens none: a part of the SHA-256 of the session's key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:_SESSION_CHARACTERS]


def cleaned(text: str) -> str:
    """`text` without what can't be printed, cut to a length that nobody exceeds in earnest."""
    return "".join(each for each in text[: 4 * _MAX_USER_AGENT] if each.isprintable())[
        :_MAX_USER_AGENT
    ]


def joined(lines: Sequence[str]) -> str | None:
    """The lines of one header as one; None where there are none."""
    return ",".join(lines) if lines else None


def _address(text: str | None) -> Address | None:
    """An address as headers have it: perhaps in brackets, perhaps with a port."""
    if text is None:
        return None
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
