"""A timestamp authority as an anchor: `openssl ts` answers what we ask, and judges what we keep."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from indelible.errors import ConfigurationError, DeliveryError
from indelible.integrity.anchor_rfc3161 import Rfc3161Anchor
from indelible.integrity.faults import AnchorMismatchError
from indelible.policy.anchors import Rfc3161Settings
from tests.integrity.anchored import Authority, checkpoint, keep, openssl
from tests.integrity.witnesses import Answer, answering

Said = Callable[[str, str, bytes], Answer | None]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "tsa")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def anchor_at(url: str, ca: Path, folder: Path, *, deadline_s: float = 5.0) -> Rfc3161Anchor:
    return Rfc3161Anchor(
        Rfc3161Settings(name="tsa", url=url, ca_file=ca, deadline_s=deadline_s), folder
    )


def test_openssl_accepts_what_is_kept_and_rejects_what_was_tampered_with(
    authority: Authority, folder: Path
) -> None:
    """Both ways: it answers our request, and checks our files without us."""
    with answering(authority.answer) as url:
        row = keep(anchor_at(url, authority.ca, folder), 5)
    (folder / "query").write_bytes(authority.queries[-1])
    asked = openssl("ts", "-query", "-in", str(folder / "query"), "-text")
    assert "Hash Algorithm: sha256" in asked
    assert "Certificate required: yes" in asked
    assert "Nonce: 0x" in asked
    (token,) = folder.glob("*.tsr")
    note = token.with_suffix(".checkpoint")
    assert (token.read_bytes(), note.read_bytes()) == (row.receipt, row.note)
    judge = ("ts", "-verify", "-in", str(token), "-CAfile", str(authority.ca), "-data")
    assert "Verification: OK" in openssl(*judge, str(note))
    assert abs(row.time - time.time()) < 60
    other = folder / "other"
    other.write_bytes(note.read_bytes().replace(b"\n5\n", b"\n6\n"))
    assert "message imprint mismatch" in openssl(*judge, str(other), exit_code=1)
    note.write_bytes(other.read_bytes())
    ours = anchor_at("http://127.0.0.1:1", authority.ca, folder)
    with pytest.raises(AnchorMismatchError, match="Mismatch between messages"):
        ours.read_back(None)


def test_another_authority_s_token_counts_for_nothing(
    authority: Authority, folder: Path, tmp_path: Path
) -> None:
    """Nor does openssl take it by our CA."""
    other = Authority(tmp_path / "other", name="other")
    with answering(other.answer) as url:
        with pytest.raises(DeliveryError, match="isn't a timestamp of this checkpoint"):
            keep(anchor_at(url, authority.ca, folder), 5)
        assert not folder.exists()
        keep(anchor_at(url, other.ca, folder), 5)
    (token,) = folder.glob("*.tsr")
    note = token.with_suffix(".checkpoint")
    judge = ("ts", "-verify", "-in", str(token), "-data", str(note), "-CAfile")
    openssl(*judge, str(authority.ca), exit_code=1)
    openssl(*judge, str(other.ca))
    with pytest.raises(AnchorMismatchError, match="expected a timestamp of its checkpoint"):
        anchor_at(url, authority.ca, folder).read_back(None)


def test_certificates_have_to_be_valid_when_it_was_made_not_now(
    folder: Path, tmp_path: Path
) -> None:
    """So old evidence stays evidence; one made by a certificate that had run out isn't."""
    short = Authority(tmp_path / "short", seconds=4)
    with answering(short.answer) as url:
        anchor = anchor_at(url, short.ca, folder)
        row = keep(anchor, 5)
        time.sleep(max(0.0, short.ends - time.time()) + 1.5)
        assert anchor.read_back(row).time == row.time
        with pytest.raises(DeliveryError, match="isn't a timestamp of this checkpoint"):
            keep(anchor, 6)
    assert len(list(folder.glob("*.tsr"))) == 1


def query_for(folder: Path, note: bytes, *options: str, digest: str = "-sha256") -> bytes:
    """A request as openssl makes one."""
    data, query = folder / "data", folder / "made.tsq"
    data.write_bytes(note)
    openssl("ts", "-query", "-data", str(data), digest, *options, "-out", str(query))
    return query.read_bytes()


LIES: dict[str, Callable[[Authority, Path, bytes], bytes]] = {
    "another-imprint": lambda tsa, at, query: tsa.reply(query_for(at, b"other", "-cert")),
    "no-nonce": lambda tsa, at, query: tsa.reply(
        query_for(at, checkpoint(5)[0], "-cert", "-no_nonce")
    ),
    "another-nonce": lambda tsa, at, query: tsa.reply(query_for(at, checkpoint(5)[0], "-cert")),
    "no-certificate": lambda tsa, at, query: tsa.reply(query_for(at, checkpoint(5)[0])),
    "rejected": lambda tsa, at, query: tsa.reply(
        query_for(at, checkpoint(5)[0], "-cert", digest="-sha384")
    ),
    "nothing": lambda tsa, at, query: b"",
    "noise": lambda tsa, at, query: bytes(range(256)) * 4,
    "html": lambda tsa, at, query: b"<html>sorry</html>",
    "cut": lambda tsa, at, query: tsa.reply(query)[:-40],
    "too-much": lambda tsa, at, query: b"0" * 1_000_000,
}


@pytest.mark.parametrize("lie", LIES)
def test_an_authority_that_lies(
    lie: str, authority: Authority, folder: Path, tmp_path: Path
) -> None:
    """Nothing is kept, and it has failed for now."""

    def answer(method: str, path: str, body: bytes) -> Answer:
        return Answer(200, "application/timestamp-reply", LIES[lie](authority, tmp_path, body))

    with answering(answer) as url, pytest.raises(DeliveryError):
        keep(anchor_at(url, authority.ca, folder), 5)
    assert not folder.exists()


def test_an_old_token_is_not_taken_again(authority: Authority, folder: Path) -> None:
    """Replayed for the same checkpoint: the nonce is another."""
    with answering(authority.answer) as url:
        old = keep(anchor_at(url, authority.ca, folder), 5).receipt
    replayed: Said = lambda method, path, body: Answer(200, "", old)  # noqa: E731
    with (
        answering(replayed) as url,
        pytest.raises(DeliveryError, match="this checkpoint: Nonce mismatch"),
    ):
        keep(anchor_at(url, authority.ca, folder), 5)
    assert len(list(folder.glob("*.tsr"))) == 1


def test_an_authority_that_sends_elsewhere_or_never_ends(
    authority: Authority, folder: Path
) -> None:
    """A redirect isn't followed, and no answer waited for beyond the deadline."""
    asked: list[str] = []

    def elsewhere(method: str, path: str, body: bytes) -> Answer | None:
        asked.append(path)
        return None if path.endswith("slow") else Answer(302, "", b"")

    with answering(elsewhere) as url:
        with pytest.raises(DeliveryError, match="expected a timestamp, came status 302"):
            keep(anchor_at(f"{url}/tsr", authority.ca, folder), 5)
        begun = time.monotonic()
        with pytest.raises(DeliveryError, match=r"none within 0\.3 s"):
            keep(anchor_at(f"{url}/slow", authority.ca, folder, deadline_s=0.3), 5)
        assert time.monotonic() - begun < 5
    assert asked == ["/tsr", "/slow"]


def test_a_token_in_the_folder_that_was_exchanged_or_edited(
    authority: Authority, folder: Path
) -> None:
    """That of another checkpoint, and any byte of it: named, or without effect."""
    with answering(authority.answer) as url:
        anchor = anchor_at(url, authority.ca, folder)
        rows = [keep(anchor, size) for size in (5, 6)]
    assert len(anchor.read_back(rows[1]).held) == 2
    first, second = sorted(folder.glob("*.tsr"))
    good = first.read_bytes()
    first.write_bytes(second.read_bytes())
    with pytest.raises(AnchorMismatchError, match=rf"{first.name}: .*Mismatch between messages"):
        anchor.read_back(rows[1])
    refused = 0
    for at in range(0, len(good), 3):
        first.write_bytes(good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :])
        try:
            anchor.read_back(None)
        except AnchorMismatchError:
            refused += 1
    assert refused > len(good) / 3 * 0.8
    first.unlink()
    assert len(anchor.read_back(rows[1]).held) == 1
    with pytest.raises(DeliveryError, match="can't read"):
        second.with_suffix(".checkpoint").unlink()
        anchor.read_back(rows[1])


def test_a_token_in_the_trail_s_file_that_was_exchanged(authority: Authority, folder: Path) -> None:
    """That of another checkpoint, in the row of this one."""
    with answering(authority.answer) as url:
        anchor = anchor_at(url, authority.ca, folder)
        five, six = keep(anchor, 5), keep(anchor, 6)
    with pytest.raises(AnchorMismatchError, match="the trail's own: expected a timestamp"):
        anchor.read_back(six._replace(receipt=five.receipt))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "expected certificates at .*: No such file"),
        (b"", "expected certificates \\(PEM\\)"),
        (b"\xff\x00", "expected certificates \\(PEM\\)"),
    ],
    ids=["none", "empty", "noise"],
)
def test_certificates_that_cant_be_read(content: bytes | None, said: str, tmp_path: Path) -> None:
    """Said when the trail is opened."""
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"\[anchors.tsa\] ca_file: {said}"):
        anchor_at("http://127.0.0.1:1", ca, tmp_path)


def test_without_its_extra_the_error_names_it(tmp_path: Path) -> None:
    """A machine that has no rfc3161-client is told how to get it."""
    code = (
        "import sys; sys.modules['rfc3161_client'] = None\n"
        "from pathlib import Path\n"
        "from indelible.errors import ConfigurationError\n"
        "from indelible.integrity.anchors import open_anchors\n"
        "from indelible.policy.anchors import Rfc3161Settings\n"
        "s = Rfc3161Settings(name='tsa', url='http://tsa/', ca_file=Path('ca.pem'))\n"
        "try: open_anchors([s], Path('trail.db'), 'o')\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'indelible[anchors]'" in done.stdout, done.stderr
