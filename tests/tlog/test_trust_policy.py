"""Trust policies: read as c2sp.org/tlog-policy says, and a quorum is one only if it is met."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.tlog import (
    Algorithm,
    MalformedTrustPolicyError,
    QuorumError,
    SigningKey,
    TrustPolicy,
    VerifierKey,
    parse_trust_policy,
)

LOG = SigningKey.generate("example.com/trail").verifier_key
KEYS = {
    name: SigningKey.generate(f"witness.example/{name}", Algorithm.COSIGNATURE_V1).verifier_key
    for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3")
}
SPECIFIED = f"""\
log {LOG}

witness X1 {KEYS["X1"]}
witness X2 {KEYS["X2"]}
witness X3 {KEYS["X3"]}
group X-witnesses 2 X1 X2 X3

witness Y1 {KEYS["Y1"]}
witness Y2 {KEYS["Y2"]}
witness Y3 {KEYS["Y3"]}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def is_met(policy: TrustPolicy, names: tuple[str, ...]) -> bool:
    try:
        policy.check_quorum(KEYS[name] for name in names)
    except QuorumError:
        return False
    return True


def test_the_policy_of_the_specification_is_decided_as_it_says() -> None:
    """Two of the X and one of the Y, for each of the 64 sets of witnesses."""
    policy = parse_trust_policy(SPECIFIED.encode())

    for count in range(len(KEYS) + 1):
        for names in itertools.combinations(KEYS, count):
            xs = sum(name.startswith("X") for name in names)
            assert is_met(policy, names) == (xs >= 2 and count - xs >= 1), names


def test_a_single_witness_and_none_are_quorums() -> None:
    """`quorum NAME` needs that one; `quorum none` needs nobody."""
    one = f"witness X1 {KEYS['X1']} https://w.example/\nwitness Y1 {KEYS['Y1']}\nquorum X1\n"
    policy = parse_trust_policy(one.encode())

    assert [is_met(policy, names) for names in ((), ("Y1",), ("X1",))] == [False, False, True]
    assert [each.url for each in policy.witnesses] == ["https://w.example/", None]
    assert is_met(parse_trust_policy(b"quorum none\n"), ())


def test_who_isn_t_in_the_policy_doesn_t_count() -> None:
    """A stranger's cosignature under a known witness's name is nobody's."""
    policy = parse_trust_policy(f"witness X1 {KEYS['X1']}\nquorum X1\n".encode())
    stranger = SigningKey.generate(KEYS["X1"].name, Algorithm.COSIGNATURE_V1).verifier_key

    with pytest.raises(QuorumError, match="by 0 of 1 witnesses"):
        policy.check_quorum([stranger])


def test_the_message_says_what_was_missing() -> None:
    """Which quorum, and how many cosigned."""
    policy = parse_trust_policy(SPECIFIED.encode())

    with pytest.raises(QuorumError, match=r"'X-and-Y' .* by 2 of 6 witnesses"):
        policy.check_quorum([KEYS["X1"], KEYS["Y2"]])


def test_only_a_listed_log_is_accepted() -> None:
    """Where logs are listed, another log's key isn't enough; where none is, any is."""
    policy = parse_trust_policy(SPECIFIED.encode())
    other = SigningKey.generate("example.com/trail").verifier_key

    policy.check_tlog(LOG)
    with pytest.raises(QuorumError, match="that the trust policy lists"):
        policy.check_tlog(other)
    parse_trust_policy(b"quorum none").check_tlog(other)


def test_space_comments_and_other_scripts_are_as_specified() -> None:
    """Tabs and spaces part items, `#` lines are left out, names are octets."""
    kelvin = "\u212a"
    text = (
        f"\t# zwei\n \t\nwitness\tK  {KEYS['X1']}\t \nwitness {kelvin} {KEYS['X2']}\n"
        f"group \xff 1 K {kelvin}\n"
    )
    raw = text.encode().replace("\xff".encode(), b"\xff") + b"quorum \xff"
    policy = parse_trust_policy(raw)

    assert [each.name for each in policy.witnesses] == ["K", kelvin]
    assert is_met(policy, ("X2",))


def test_it_holds_at_least_as_much_as_recommended() -> None:
    """Many witnesses, and groups of groups."""
    keys = [SigningKey.generate(f"w{n}", Algorithm.COSIGNATURE_V1).verifier_key for n in range(64)]
    lines = [f"witness w{n} {key}" for n, key in enumerate(keys)]
    lines += [f"group g{n} 3 w{4 * n} w{4 * n + 1} w{4 * n + 2} w{4 * n + 3}" for n in range(16)]
    lines += [f"group all 16 {' '.join(f'g{n}' for n in range(16))}", "quorum all"]
    policy = parse_trust_policy("\n".join(lines).encode())

    policy.check_quorum([key for n, key in enumerate(keys) if n % 4])
    with pytest.raises(QuorumError):
        policy.check_quorum([key for n, key in enumerate(keys) if n % 4 and n != 63])


X1, Y1 = KEYS["X1"], KEYS["Y1"]
TWO = f"witness a {X1}\nwitness b {Y1}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "one quorum line, came none"),
        ("quorum none\nquorum none", "line 2: expected one quorum line, came another"),
        ("quorum a", "line 1: expected a quorum that a line above defines"),
        ("log", "line 1: expected «log <vkey>"),
        (f"log {X1}", "a tlog's key of type 0x01"),
        (f"witness a {LOG}", "a witness's key of type 0x04"),
        ("witness a b+00000000+AQ==", "line 1: vkey"),
        (f"witness a {X1} http://u more", "line 1: expected «log"),
        (f"witness none {X1}", "'none', which is taken"),
        (f"witness a {X1}\nwitness a {Y1}", "line 2: expected a new name"),
        (f"witness a {X1}\nwitness b {X1}", "line 2: expected each witness's key once"),
        (f"log {LOG}\nlog {LOG}", "line 2: expected each tlog's key once"),
        (f"{TWO}group g 3 a b", "line 3: expected a threshold from 1 to the 2 members, came 3"),
        (f"{TWO}group g 0 a b", "from 1 to the 2 members, came 0"),
        (f"{TWO}group g 01 a b", "line 3: threshold: expected a decimal"),
        (f"{TWO}group g most a b", "line 3: threshold: expected a decimal"),
        (f"{TWO}group g all", "line 3: expected «log"),
        (f"{TWO}group g all a none", "members that a line above defines, came 'none'"),
        (f"{TWO}group g all a g", "members that a line above defines, came 'g'"),
        (f"{TWO}group g all a a", "each name as a member once"),
        (f"{TWO}group g all a\ngroup h any a b", "line 4: expected each name as a member once"),
        (f"{TWO}group a all b", "line 3: expected a new name"),
        ("quorum none\r\n", "line 1: expected no control character"),
        ("# a\x00\nquorum none", "line 1: expected no control character"),
        ("sigstore x", "line 1: expected «log"),
    ],
    ids=lambda value: "with a key" if "+" in value else None,  # keys are new in each process
)
def test_what_isn_t_a_policy_is_refused_by_line(text: str, said: str) -> None:
    """Each mistake is named with its line; nothing is guessed."""
    with pytest.raises(MalformedTrustPolicyError) as raised:
        parse_trust_policy(text.encode())
    assert said in str(raised.value)


def test_a_witness_s_key_is_one_however_it_is_named() -> None:
    """The same secret under two names would count twice."""
    renamed = VerifierKey("other.example/w", X1.algorithm, X1.public_key)

    with pytest.raises(MalformedTrustPolicyError, match="each witness's key once"):
        parse_trust_policy(f"witness a {X1}\nwitness b {renamed}\nquorum a".encode())


PIECES = st.sampled_from(
    [
        *b"log witness group quorum none all any 2 a b \xff # \r \x00".split(b" "),
        b"\t",
        b"\n",
        str(LOG).encode(),
        str(X1).encode(),
    ]
)


@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=40).map(b" ".join)))
def test_whatever_comes_is_a_policy_or_our_own_error(raw: bytes) -> None:
    """No other exception leaves the parser."""
    try:
        policy = parse_trust_policy(raw)
    except MalformedTrustPolicyError:
        return
    assert policy.quorum is None or is_met(policy, ()) is False
