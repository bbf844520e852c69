"""`indelible scan` says what logs give away, of which class and where, and never the value."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.logs.scan import MAX_PLACES, Scan, mask, without_escapes
from indelible.logs.scan_reading import read_blocks
from indelible.logs.scrub import EngineName, Rule, Scrubber
from tests.logs.corpus import clean_lines, seeded_lines

SECRET = "hunter2-Tr0ub4dor"
LOG = (
    '{"level":"info","form":{"password":"hunter2-Tr0ub4dor","id":12}}\n'
    "level=info msg=saved to=zara.okafor@example.com\n"
    "nothing to see here\n"
    '{"msg":"mail to zara\\u002eokafor\\u0040example.com, password=\\"hunter2-Tr0ub4dor\\""}\n'
    "patient diagnosed with asthma\n"
)


@pytest.fixture(scope="module")
def scrubber() -> Scrubber:
    return Scrubber()


class Shell:
    """A folder in which logs are scanned."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def scan(
        self,
        *arguments: str,
        exit_code: int,
        stdin: bytes = b"",
        memory: int | None = None,
        engine: str = "re2",
    ) -> tuple[str, str]:
        def limit() -> None:
            if memory is not None:
                resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

        code = "from indelible.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, "scan", "--engine", engine, *arguments],
            cwd=self.directory,
            env={**os.environ, "NO_COLOR": "1"},
            input=stdin,
            capture_output=True,
            timeout=120,
            preexec_fn=limit,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == exit_code, out + err
        assert "Traceback" not in err
        for secret in (SECRET, "hunter2", "zara.okafor", "asthma", "example.com"):
            assert secret not in out + err
        return out, err

    def scan_json(self, *arguments: str, exit_code: int) -> list[dict[str, Any]]:
        out, _ = self.scan(*arguments, "--json", exit_code=exit_code)
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "app.log").write_text(LOG)
    return Shell(tmp_path)


def test_what_a_log_gives_away(shell: Shell) -> None:
    """By class, with counts and places, in JSON (its escapes decoded), logfmt and plain lines."""
    out, _ = shell.scan("app.log", exit_code=1)
    rows = {row.split("  ")[0].strip(): row for row in out.splitlines()}
    assert "password" in rows["takes over an account"]
    assert "app.log:1" in rows["takes over an account"]
    assert "hu*** (17 characters)" in out
    *found, summary = shell.scan_json("app.log", exit_code=1)
    places = {
        item["kind"]: (item["class"], item["count"], [place["line"] for place in item["places"]])
        for item in found
    }
    assert places == {
        "password": ("takeover", 2, [1, 4]),
        "health": ("special", 1, [5]),
        "email": ("personal", 2, [2, 4]),
    }
    assert summary == {"lines": 5, "bytes": len(LOG), "unread": []}


def test_a_clean_log_exits_with_0(shell: Shell) -> None:
    """What tells nothing isn't found."""
    lines = "\n".join(line.text for line in clean_lines(seed=3, count=300))
    (shell.directory / "clean.log").write_text(lines)
    out, _ = shell.scan("clean.log", exit_code=0)
    assert "nothing that the rules know" in out
    assert "scanned 300 lines" in out


def test_a_policy_says_what_may_be_there(shell: Shell) -> None:
    """Classes and kinds; ./indelible.toml, or the file that is named; anything else fails."""
    toml = shell.directory / "indelible.toml"
    toml.write_text('[trail]\nurl = "sqlite:///t.db"\n[logs]\nallowed = ["personal"]\n')
    found = shell.scan_json("app.log", exit_code=1)[:-1]
    assert {item["kind"]: item["allowed"] for item in found} == {
        "password": False,
        "health": False,
        "email": True,
    }
    other = shell.directory / "ci.toml"
    other.write_text('[logs]\nallowed = ["email", "special", "takeover"]\n')
    shell.scan("app.log", "--policy", "ci.toml", exit_code=0)
    other.write_text('[logs]\nallowed = ["emails"]\n')
    _, err = shell.scan("app.log", "--policy", "ci.toml", exit_code=2)
    assert "expected allowed as classes (takeover, special, personal) or kinds (" in err
    other.write_text('[logs]\nallow = ["email"]\n')
    _, err = shell.scan("app.log", "--policy", "ci.toml", exit_code=2)
    assert "ci.toml, line 2" in err
    assert "allowed here: allowed" in err
    _, err = shell.scan("app.log", "--policy", "none.toml", exit_code=2)
    assert "expected a configuration file at none.toml" in err


def test_sarif_for_what_shows_findings_beside_code(shell: Shell) -> None:
    """What SARIF 2.1.0 requires is there, each result points to its rule, line and level."""
    (shell.directory / "indelible.toml").write_text('[logs]\nallowed = ["personal"]\n')
    shell.scan("app.log", "--sarif", "out.sarif", exit_code=1)
    text = (shell.directory / "out.sarif").read_text()
    assert SECRET not in text and "zara" not in text
    document = json.loads(text)
    assert document["version"] == "2.1.0"
    assert document["$schema"].endswith("sarif-2.1.0.json")
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"]
    assert len({rule["id"] for rule in rules}) == len(rules) == 3
    assert len(run["results"]) == 5
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "app.log"
        assert location["physicalLocation"]["region"]["startLine"] >= 1
    levels = {result["ruleId"]: result["level"] for result in run["results"]}
    assert levels == {"password": "error", "health": "error", "email": "note"}


def _compressed(kind: str, text: bytes) -> bytes:
    if kind == "gzip":
        return gzip.compress(text[:100]) + gzip.compress(text[100:])
    if kind == "zstd":
        compressor = zstandard.ZstdCompressor(write_checksum=True)
        return compressor.compress(text[:100]) + compressor.compress(text[100:])
    if kind == "zstd-stream":
        writer = zstandard.ZstdCompressor(write_checksum=True).compressobj()
        return writer.compress(text) + writer.flush()
    return b"\xff\xfe" + text.decode().encode("utf-16-le") if kind == "utf-16" else text


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd", "zstd-stream", "utf-16"])
def test_compressed_logs_are_read(kind: str, shell: Shell) -> None:
    """By their first bytes, whatever they are called, several members or frames in one file."""
    (shell.directory / "some.log").write_bytes(_compressed(kind, LOG.encode()))
    found = shell.scan_json("some.log", exit_code=1)
    assert {item["kind"]: item["count"] for item in found[:-1]} == {
        "password": 2,
        "health": 1,
        "email": 2,
    }


def test_standard_input_and_several_files(shell: Shell) -> None:
    """`-` is standard input; places name the file."""
    (shell.directory / "b.log").write_text("ok\n" + LOG)
    out, _ = shell.scan("b.log", "-", "--json", exit_code=1, stdin=LOG.encode())
    first = json.loads(out.splitlines()[0])
    assert [(place["file"], place["line"]) for place in first["places"]] == [
        *(("b.log", 2), ("b.log", 5), ("(standard input)", 1), ("(standard input)", 4)),
    ]


@pytest.mark.parametrize("kind", ["gzip", "zstd", "zstd-stream"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_what_ends_too_early_is_said(kind: str, damage: str, shell: Shell) -> None:
    """What is before the damage is scanned, the file is named, and the exit code is 4."""
    lines = "".join(f"{line.text}\n" for line in seeded_lines(seed=5, per_kind=20))
    content = bytearray(_compressed(kind, (LOG + lines).encode()))
    if damage == "cut":
        del content[-9:]
    else:
        content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    (shell.directory / "bad.log").write_bytes(content)
    _, err = shell.scan("bad.log", "app.log", exit_code=4)
    assert "bad.log: expected compressed data to its end" in err


def test_files_that_cannot_be_read(shell: Shell) -> None:
    """Each is named, the others are scanned, and the exit code is 4; without any file it is 2."""
    (shell.directory / "folder").mkdir()
    out, err = shell.scan("none.log", "folder", "app.log", exit_code=4)
    assert "none.log: No such file" in err
    assert "folder: Is a directory" in err
    assert "password" in out
    shell.scan(exit_code=2)
    _, err = shell.scan("app.log", "--sarif", "folder/none/x", exit_code=2)
    assert "--sarif folder/none/x: No such file" in err


@pytest.mark.parametrize(
    ("content", "program"),
    [(bz2.compress(LOG.encode()), "bzip2"), (lzma.compress(LOG.encode()), "xz")],
)
def test_what_is_compressed_otherwise_is_not_taken_for_clean(
    content: bytes, program: str, shell: Shell
) -> None:
    """It is named, with what to do."""
    (shell.directory / "a.log").write_bytes(content)
    _, err = shell.scan("a.log", exit_code=4)
    assert f"expected plain text, gzip or Zstandard, got {program}: decompress it first" in err


def test_binary_garbage_is_scanned_like_anything_else(shell: Shell) -> None:
    """Bytes that are no text are no reason to stop; what is between them is found."""
    garbage = os.urandom(300_000).replace(b"\x1f\x8b", b"")
    (shell.directory / "core").write_bytes(b"\0" + garbage + LOG.encode() + b"\0\xff" * 5_000)
    found = shell.scan_json("core", exit_code=1)
    assert next(item for item in found if item["kind"] == "health")["count"] >= 1


def test_hostile_file_names_never_reach_the_terminal(shell: Shell) -> None:
    """A file's name is printed without anything that a terminal would obey."""
    name = "a\x1b[31m\udcff.log"
    (shell.directory / name).write_text(LOG)
    out, err = shell.scan(name, name + ".gz", "--sarif", "a.sarif", exit_code=4)
    assert "\x1b" not in out + err
    out, _ = shell.scan(name, "--json", exit_code=1)
    assert "\x1b" not in out


def _blocks(line: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(line), size):
        yield line[at : at + size]


@pytest.mark.parametrize("size", [4_096, 100_003, 1 << 20])
def test_values_in_one_long_line_are_each_found_once(size: int, scrubber: Scrubber) -> None:
    """Windows of a line of megabytes overlap: nothing is lost or counted twice between them."""
    written = b"".join(b'{"n":%d,"password":"hunter2-%06d"},' % (n, n) for n in range(20_000))
    scan = Scan(scrubber)
    scan.look_through("a", _blocks(b"[" + written + b"{}]\nto zara@example.com", size))
    found = {exposure.kind: exposure.count for exposure in scan.exposures}
    assert found == {"password": 20_000, "email": 1}
    assert scan.lines == 2
    assert [place.line for place in scan.exposures[1].places] == [2]


@pytest.mark.parametrize("megabytes", [20, pytest.param(100, marks=pytest.mark.long)])
def test_memory_does_not_grow_with_a_line(shell: Shell, megabytes: int) -> None:
    """A line of 100 MB, and a compressed one of as much, within the memory of a short one."""
    with (shell.directory / "long.log").open("wb") as file:
        for _ in range(megabytes):
            file.write(b"x" * 1_000_000)
        file.write(b" password=hunter2-Tr0ub4dor")
    writer = zstandard.ZstdCompressor().compressobj()
    bomb = b"".join(writer.compress(bytes(1_000_000)) for _ in range(megabytes)) + writer.flush()
    assert len(bomb) < 100_000
    (shell.directory / "bomb.zst").write_bytes(bomb)
    found = shell.scan("long.log", "--json", exit_code=1, memory=150_000_000, engine="hyperscan")[0]
    assert json.loads(found.splitlines()[0])["count"] == 1
    shell.scan("bomb.zst", exit_code=0, memory=150_000_000)


def test_places_are_bounded_and_counts_are_not(scrubber: Scrubber) -> None:
    """Memory doesn't grow with what is found."""
    scan = Scan(scrubber)
    for name in ("a", "b"):
        scan.look_through(name, [b"to zara@example.com\n" * 500])
    (exposure,) = scan.exposures
    assert (exposure.count, exposure.lines) == (1_000, 1_000)
    assert len(exposure.places) == 2 * MAX_PLACES


def test_a_scan_finds_what_the_scrubber_finds(scrubber: Scrubber) -> None:
    """Line by line, in any blocks."""
    lines = [line.text for line in seeded_lines(seed=7, per_kind=5)]
    expected = sum(len(scrubber.find(without_escapes(line))) for line in lines)
    for size in (1, 7, 1_000):
        scan = Scan(scrubber)
        scan.look_through("a", _blocks("\r\n".join(lines).encode(), size))
        assert sum(exposure.count for exposure in scan.exposures) == expected
        assert scan.lines == len(lines)


_PIECES = [
    *(line.text.encode() for line in seeded_lines(seed=8, per_kind=2)),
    *(line.text.encode() for line in clean_lines(seed=9, count=40)),
    *(
        LOG.encode(),
        b"password=",
        b"hunter2",
        b'"password":',
        b"password\n=x4\nhunter2",
        b"IP 9.9.9.9",
    ),
    *(b"to zara@example.com", "Zoë É password=ünter-2".encode(), b"a::1 " * 30, b"4111 1111 1111 "),
    *(
        b'{"m":"pin: \\n4711, \\ud800 \\u0040"}',
        b"\\",
        b"\\n",
        b"\\u00",
        b"level=info a=b",
        b"otp ",
    ),
    *(b"078-05-1120", b"(415) 555-2671"),
    *(b"\0", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\r", b"\n\n\n", b"@" * 90, b"1" * 90),
    *(b"x" * 9_000, b"token=" + b"y" * 33_000, b"z" * 40_000 + b" password=hunter2-Tr0ub4dor"),
]
_LOGS = st.lists(
    st.tuples(
        st.sampled_from(_PIECES) | st.binary(max_size=30),
        st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"", b" ", b"\0"]),
    ),
    min_size=1,
    max_size=40,
).map(lambda pairs: b"a log\n" + b"".join(map(b"".join, pairs)))


def _told(scan: Scan) -> tuple[object, ...]:
    return scan.exposures, scan.lines, scan.bytes


@pytest.fixture(scope="module")
def on_re() -> Scrubber:
    return Scrubber(engine="re")


@pytest.mark.parametrize("engine", ["hyperscan", "re2"])
def test_lines_at_once_tell_what_each_tells_by_itself(engine: EngineName, on_re: Scrubber) -> None:
    """Counts, places and samples, whatever the lines hold and however they are compressed."""
    scrubber = Scrubber(engine=engine)

    @settings(max_examples=150, deadline=None)
    @given(_LOGS, st.sampled_from(["plain", "gzip", "zstd", "zstd-stream"]), st.integers(1, 99_999))
    def tell_the_same(log: bytes, kind: str, size: int) -> None:
        each = Scan(on_re)
        each.look_through("a", _lines(log))
        at_once, in_pieces = Scan(scrubber), Scan(scrubber)
        at_once.look_through("a", read_blocks(io.BytesIO(_compressed(kind, log)), "a", _nobody))
        in_pieces.look_through("a", _blocks(log, size))
        assert _told(at_once) == _told(in_pieces) == _told(each)

    tell_the_same()


def _lines(log: bytes) -> Iterator[bytes]:
    *lines, rest = log.split(b"\n")
    yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def _nobody(done: int) -> None:
    """Progress is of no interest."""


@pytest.mark.parametrize("engine", ["hyperscan", "re2", "re"])
def test_no_value_goes_from_line_to_line(engine: EngineName) -> None:
    """What stands in one line is of no name in another; new lines that were escaped are text."""
    scan = Scan(Scrubber(engine=engine))
    scan.look_through("a", [b"password=\nhunter2\npassword\n: hunter2\n4111 1111\n1111 1111\n"])
    assert scan.exposures == []
    scan.look_through("b", [b"\n\n", b"password:\\n\\thunter2\n\npassword\\n: hunter2\n"])
    scan.look_through("c", [b"call\ncall (415) 555-2671\n ok\n078-05-1120\n"])
    assert [(e.kind, [p.line for p in e.places]) for e in scan.exposures] == [
        *(("password", [3, 5]), ("national-id", [4]), ("phone", [2])),
    ]


def test_what_matches_everywhere_takes_no_more_memory() -> None:
    """A block with more matches than are noted is looked at line by line, and tells the same."""
    rule = Rule("ones", "personal", "1{1,40}", ("1",))
    always = Rule("twos", "personal", "2{1,40}")
    log = (b"1" * 40 + b"\n") * 9_000 + b"no\n2\n"
    for rules, found in (((rule,), {"ones": 9_000}), ((rule, always), {"ones": 9_000, "twos": 1})):
        scan = Scan(Scrubber(rules, engine="hyperscan"))
        scan.look_through("a", [log])
        assert {e.kind: e.lines for e in scan.exposures} == found
        assert scan.lines == 9_002


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("1234", "*** (4 characters)"),
        ("hunter2", "*** (7 characters)"),
        ("hunter22", "hu*** (8 characters)"),
        ("+49 151 12345678", "*** (16 characters)"),
        ("émile zola", "*** (10 characters)"),
        ("\x1b[31mred", "*** (8 characters)"),
    ],
)
def test_samples_are_masked(value: str, masked: str) -> None:
    """At most two characters, none of a short value, and the length."""
    assert mask(value) == masked


def test_progress_is_told_in_the_bytes_of_the_file(tmp_path: Path) -> None:
    """Of a compressed file, too: what was read of it, up to its size."""
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(os.urandom(1_000_000)))
    told: list[int] = []
    with path.open("rb") as file:
        assert sum(map(len, read_blocks(file, "a.gz", told.append))) == 1_000_000
    assert told == sorted(told)
    assert told[-1] == path.stat().st_size
