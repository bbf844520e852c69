"""How long it takes to export a trail, and to verify it from elsewhere.

`python -m bench publishing [--events N]`: the seeded mix of `bench.mix`, exported to a folder, and
again with 1,000 events more, served by `indelible serve` on this machine, and verified over HTTP,
heads alone and with bodies. Elapsed time, and the processor's in this process.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.machine import describe_machine
from bench.mix import Mix
from bench.sequencing import BATCH, Trail
from indelible.integrity.fetching import HttpFetcher
from indelible.integrity.published import PublishedTrail
from indelible.integrity.remote import verify_remote
from indelible.integrity.static_export import export_tree
from indelible.integrity.tokens import read_token_file


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench publishing")
    parser.add_argument("--events", type=int, default=100_000)
    chosen = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory(prefix="indelible-bench-", dir=".") as directory:
        measure(Path(directory).absolute(), chosen.events)
    print(describe_machine())


def measure(directory: Path, events: int) -> None:
    trail = Trail(directory)
    *most, last = Mix(events + BATCH, uuids=False).batches(BATCH)
    for batch in most:
        trail.write(batch)
    print(f"\n{trail.store.size:,} entries")
    export = _exporter(trail, directory / "export")
    _time("export", export)
    _time("export again, nothing new", export)
    trail.write(last)
    _time(f"export of {BATCH:,} events more", export)
    token = directory / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    with _served(directory, token) as url:
        for what, file in (("verify --url, heads", None), ("verify --url, with bodies", token)):
            _time(what, _verifier(trail, url, file))
    trail.store.close()


def _exporter(trail: Trail, folder: Path) -> Callable[[], str]:
    def export() -> str:
        done = export_tree(PublishedTrail(trail.store), folder)
        return f"{done.files} files"

    return export


def _verifier(trail: Trail, url: str, token_file: Path | None) -> Callable[[], str]:
    token = None if token_file is None else read_token_file(token_file)

    def verify() -> str:
        with contextlib.closing(HttpFetcher(url, token)) as fetcher:
            key = trail.key.verifier_key
            found = verify_remote(fetcher, key, with_bodies=token is not None)
        return f"{found.size:,} entries"

    return verify


@contextlib.contextmanager
def _served(directory: Path, token: Path) -> Iterator[str]:
    config = directory / "indelible.toml"
    config.write_text('[trail]\nurl = "sqlite:///trail.db"\n')
    command = (sys.executable, "-c", "from indelible.cli import main; main()", "serve", "--log")
    options = ("--listen", "127.0.0.1:0", "--token-file", str(token), "--config", str(config))
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].split(";")[0]
        process.terminate()


def _time(what: str, work: Callable[[], str]) -> None:
    began, processor = time.perf_counter(), time.process_time()
    done = work()
    elapsed, used = time.perf_counter() - began, time.process_time() - processor
    print(f"  {what:<32}{elapsed:>8.2f} s, {used:>8.2f} s of the processor; {done}")


if __name__ == "__main__":
    main()
