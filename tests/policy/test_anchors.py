"""`[anchors.NAME]`: what it says is done, and what is wrong in it is named, with no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from indelible.errors import PolicyError
from indelible.policy import parse_policy
from indelible.policy.anchors import (
    FileSettings,
    GitSettings,
    Rfc3161Settings,
    S3Settings,
    WebhookSettings,
)

TRAIL = "[trail]\nurl = 'sqlite:///t.db'\n"
WHOLE = """
[anchors.notary]
kind = "rfc3161"
url = "https://tsa.example/tsr"
ca_file = "tsa-ca.pem"
every_s = 60

[anchors.vault]
kind = "s3"
bucket = "audit"
retention_days = 30
region = "eu-central-1"

[anchors.history]
kind = "git"
repository = "anchors.git"
push = "git@git.example:audit/anchors.git"

[anchors.mirror]
kind = "git"
repository = "/srv/anchors.git"
push = "../mirror.git"

[anchors.disk]
kind = "file"
path = "/mnt/elsewhere/anchors.jsonl"
deadline_s = 5.0

[anchors.siem]
kind = "webhook"
url = "https://siem.example/in/hooktoken1234567"
token_file = "siem.token"
"""


def test_each_kind_is_read() -> None:
    """In the order of the file; relative paths are beside it."""
    anchors = parse_policy(TRAIL + WHOLE, directory=Path("/etc/app")).anchors
    assert anchors == (
        Rfc3161Settings(
            name="notary",
            url="https://tsa.example/tsr",
            ca_file=Path("/etc/app/tsa-ca.pem"),
            every_s=60.0,
        ),
        S3Settings(name="vault", bucket="audit", retention_days=30, region="eu-central-1"),
        GitSettings(
            name="history",
            repository=Path("/etc/app/anchors.git"),
            push="git@git.example:audit/anchors.git",
        ),
        GitSettings(
            name="mirror", repository=Path("/srv/anchors.git"), push="/etc/app/../mirror.git"
        ),
        FileSettings(name="disk", path=Path("/mnt/elsewhere/anchors.jsonl"), deadline_s=5.0),
        WebhookSettings(
            name="siem",
            url="https://siem.example/in/hooktoken1234567",
            token_file=Path("/etc/app/siem.token"),
        ),
    )
    assert [each.is_outside for each in anchors] == [True, True, True, True, False, False]
    assert (anchors[1].every_s, anchors[1].deadline_s) == (3_600.0, 30.0)
    assert parse_policy(TRAIL).anchors == ()


def test_no_setting_is_shown() -> None:
    """A URL may be the secret itself."""
    policy = parse_policy(TRAIL + WHOLE)
    assert "<webhook anchor siem>" in repr(policy)
    assert "hooktoken" not in repr(policy) + str(policy)


MISTAKES = {
    "no-kind": ("", r"line 3 \[anchors.a\]: expected kind as one of rfc3161, s3, git, file"),
    "another-kind": ("kind = 'blockchain'", r"line 4 .*got 'blockchain'"),
    "another-key": (
        "kind = 'file'\npath = 'x'\nbucket = 'b'",
        r"line 6 .*unknown key 'bucket'; allowed here: kind, every_s, deadline_s, path",
    ),
    "no-path": ("kind = 'file'", "expected `path`, as in path = "),
    "no-ca": ("kind = 'rfc3161'\nurl = 'https://t/'", "expected `ca_file`, as in ca_file = "),
    "no-bucket": ("kind = 's3'", "expected `bucket`, as in"),
    "no-repository": ("kind = 'git'", "expected `repository`, as in"),
    "no-url": ("kind = 'webhook'", "expected url as a URL that begins with https://"),
    "every-0": ("kind = 'file'\npath = 'x'\nevery_s = 0", "expected every_s above zero, got 0"),
    "every-nan": ("kind = 'file'\npath = 'x'\nevery_s = nan", "expected every_s above zero"),
    "deadline": (
        "kind = 'file'\npath = 'x'\ndeadline_s = 601",
        "expected deadline_s above zero and at most 600, got 601",
    ),
    "deadline-nan": ("kind = 'file'\npath = 'x'\ndeadline_s = nan", "expected deadline_s above"),
    "days": ("kind = 's3'\nbucket = 'b'\nretention_days = 0", "expected retention_days from 1 to"),
    "many-days": ("kind = 's3'\nbucket = 'b'\nretention_days = 99999", "from 1 to 36500"),
    "other-scheme": ("kind = 'webhook'\nurl = 'ftp://secret/'", "expected url as a URL that"),
    "no-host": ("kind = 'webhook'\nurl = 'https:///secret'", "expected url as a URL that"),
    "bad-port": ("kind = 'webhook'\nurl = 'https://h:secret/'", "expected url as a URL that"),
    "line-feed": ('kind = "webhook"\nurl = "https://h/secret\\n"', "expected url as a URL that"),
    "bracket": ("kind = 'webhook'\nurl = 'https://[secret'", "expected url as a URL that"),
    "password": (
        "kind = 'webhook'\nurl = 'https://me:secret@h/'",
        "expected url without a name or password before its host",
    ),
    "token-of-git": (
        "kind = 'git'\nrepository = 'r'\npush = 'https://secret@h/r.git'",
        "expected push without a password in it",
    ),
    "password-of-git": (
        "kind = 'git'\nrepository = 'r'\npush = 'ssh://me:secret@h/r.git'",
        "expected push without a password in it",
    ),
    "an-option": (
        "kind = 'git'\nrepository = 'r'\npush = '--upload-pack=secret'",
        "expected push as the URL or the path of a repository",
    ),
    "a-helper": (
        "kind = 'git'\nrepository = 'r'\npush = 'ext::sh -c secret'",
        "expected push as the URL or the path of a repository",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_with_their_place(mistake: str) -> None:
    """And what was given for a URL isn't."""
    text, said = MISTAKES[mistake]
    with pytest.raises(PolicyError, match=rf"indelible.toml.*{said}") as caught:
        parse_policy(f"{TRAIL}[anchors.a]\n{text}\n")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a b", "ä", "../up", "x" * 65, ""], ids=str.__len__)
def test_names_that_no_folder_has(name: str) -> None:
    """An anchor's tokens lie in a folder of its name."""
    with pytest.raises(PolicyError, match="expected a name of at most 64 letters, digits, - and _"):
        parse_policy(f"{TRAIL}[anchors.'{name}']\nkind = 'file'\npath = 'x'\n")


def test_anchors_that_are_no_table() -> None:
    """`[[anchors]]` is another thing than `[anchors.NAME]`."""
    with pytest.raises(PolicyError, match=r"expected \[anchors\] as a table, got list"):
        parse_policy(f"{TRAIL}[[anchors]]\nkind = 'file'\npath = 'x'\n")
