"""Headers are whatever a client sends: what of them is kept neither lies nor breaks a line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from indelible.capture.request_facts import RequestFacts, cleaned, session_reference


def facts(peer: str | None, proxies: tuple[str, ...] = (), **headers: str) -> dict[str, str]:
    given = {name.lower().replace("_", "-"): text for name, text in headers.items()}
    reader = RequestFacts(trusted_proxies=proxies, new_id=lambda: "made")
    return reader.of(peer, lambda name: given.get(name.lower()))


@pytest.mark.parametrize(
    ("peer", "proxies", "forwarded", "expected"),
    [
        ("198.51.100.7", (), "203.0.113.1", "198.51.100.7"),
        ("10.0.0.2", ("10.0.0.0/8",), "203.0.113.1", "203.0.113.1"),
        ("10.0.0.2", ("10.0.0.0/8",), "1.1.1.1, 203.0.113.1, 10.0.0.3", "203.0.113.1"),
        ("10.0.0.2", ("10.0.0.0/8",), "6.6.6.6, nonsense", "10.0.0.2"),
        ("10.0.0.2", ("10.0.0.0/8",), "", "10.0.0.2"),
        ("10.0.0.2", ("10.0.0.2",), "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.2", ("10.0.0.2",), "203.0.113.1:4711", "203.0.113.1"),
        ("::ffff:10.0.0.2", ("10.0.0.0/8",), "203.0.113.1", "203.0.113.1"),
        ("10.0.0.2", ("10.0.0.0/8",), "10.0.0.9, 10.0.0.8", "10.0.0.9"),
    ],
)
def test_an_address_is_the_nearest_that_no_proxy_has(
    peer: str, proxies: tuple[str, ...], forwarded: str, expected: str
) -> None:
    assert facts(peer, proxies, x_forwarded_for=forwarded)["ip"] == expected


@pytest.mark.parametrize("peer", [None, "", "unix:/tmp/s", "300.1.1.1"])
def test_what_is_no_address_is_none(peer: str | None) -> None:
    assert "ip" not in facts(peer, x_forwarded_for="203.0.113.1")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("0190f3c1-0000-7000-8000-000000000001", "0190f3c1-0000-7000-8000-000000000001"),
        ("short", "made"),
        ("a" * 129, "made"),
        ("abcdefgh\r\nX-Evil: 1", "made"),
        ("abcdefgh\n", "made"),
        ("abc def gh", "made"),
        ("{{7*7}}abcdefg", "made"),
    ],
)
def test_a_request_id_is_taken_only_if_it_looks_like_one(sent: str, kept: str) -> None:
    assert facts("192.0.2.1", x_request_id=sent)["request"] == kept


def test_the_trace_that_is_open_is_named_as_its_exporters_name_it() -> None:
    """A trace in the client's own header is none until the application's tracing takes it on."""
    header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert set(facts("192.0.2.1", traceparent=header)) == {"request", "ip"}
    tracer = TracerProvider().get_tracer("a shop")
    with tracer.start_as_current_span("GET /invoices") as span:
        found = facts("192.0.2.1")
        described = span.get_span_context()
    assert int(found["trace_id"], 16) == described.trace_id
    assert int(found["span_id"], 16) == described.span_id
    assert (len(found["trace_id"]), len(found["span_id"])) == (32, 16)


@given(st.text(max_size=3_000), st.text(max_size=3_000), st.text(max_size=3_000))
def test_nothing_breaks_it_nor_gets_through(forwarded: str, agent: str, request_id: str) -> None:
    found = facts(
        "10.0.0.2",
        ("10.0.0.0/8",),
        x_forwarded_for=forwarded,
        user_agent=agent,
        x_request_id=request_id,
    )
    assert all(text.isprintable() and len(text) <= 256 for text in found.values())


def test_hidden_characters_and_length_are_cut() -> None:
    assert cleaned("curl/8\x00\x1b[31m\u202eevil\u2028\ud800") == "curl/8[31mevil"
    assert len(cleaned("x" * 100_000)) == 256


def test_a_session_is_told_from_others_and_opens_none() -> None:
    one, other = session_reference("s3cr3t-key"), session_reference("another")
    assert one != other
    assert "s3cr3t" not in one
    assert len(one) == 16


def test_a_proxy_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="proxy"):
        RequestFacts(trusted_proxies=["proxy"])
