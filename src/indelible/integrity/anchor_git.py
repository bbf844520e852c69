"""An anchor that is a git repository: each checkpoint is a commit, pushed to another machine.

The repository is bare and of its own; its one branch holds one file, `checkpoint`. What a commit
says of its time is our clock's.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from indelible.errors import ConfigurationError, DeliveryError
from indelible.integrity.anchors import Held, ReadBack, Receipt, held_in, parse_answer
from indelible.integrity.faults import AnchorMismatchError
from indelible.policy.anchors import GitSettings
from indelible.store.protocol import AnchorRow
from indelible.tlog import MAX_NOTE_BYTES, Checkpoint

_BRANCH: Final = "refs/heads/main"
_PUSHED: Final = "refs/indelible/pushed"
_FILE: Final = "checkpoint"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_SAID: Final = 200


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The commit, and whether the other machine has it."""

    commit: str
    pushed: bool


_answers: Final = msgspec.json.Decoder(_Answer)


class GitAnchor:
    """Implements `indelible.integrity.anchors.Anchor`, by the program `git`."""

    kind = "git"

    def __init__(self, settings: GitSettings, origin: str) -> None:
        """Raises `ConfigurationError` where there is no git."""
        self.name = settings.name
        self.is_outside = settings.is_outside
        self._settings = settings
        self._origin = origin
        self._ends = 0.0
        program = shutil.which("git")
        if program is None:
            raise ConfigurationError(
                f"[anchors.{self.name}]: expected the program git on PATH, there is none"
            )
        self._program = program

    def keep(self, note: bytes, checkpoint: Checkpoint, last: AnchorRow | None) -> Receipt:
        self._begin()
        self._create()
        parent = self._tip(_BRANCH)
        self._check_kept(last, (_BRANCH, parent))
        # Where it could be committed, and not pushed, it is there already.
        is_there = bool(parent) and self._file_of(parent) == note
        commit = parent if is_there else self._commit(note, checkpoint, parent)
        push = self._settings.push
        if push is not None:
            self._git("push", "--quiet", "--no-verify", "--", push, f"{_BRANCH}:{_BRANCH}")
        answer = _Answer(commit=commit, pushed=push is not None)
        return Receipt(int(time.time()), msgspec.json.encode(answer), outside=answer.pushed)

    def read_back(self, last: AnchorRow | None, *, whole: bool = True) -> ReadBack:
        self._begin()
        push = self._settings.push
        if not self._settings.repository.exists():
            if last is not None:
                raise AnchorMismatchError(
                    self.name, f"expected a repository at {self._settings.repository}, it is gone"
                )
            return ReadBack([], "no commit yet")
        tips = [(_BRANCH, self._tip(_BRANCH))]
        if push is not None and self._is_at(push):
            fetched = f"+{_BRANCH}:{_PUSHED}"
            self._git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", push, fetched)
            tips.append(("what was pushed", self._tip(_PUSHED)))
        elif push is not None:
            tips.append(("what was pushed", ""))
        self._check_kept(last, *tips)
        known = [commit for _, commit in tips if commit]
        commits = self._git("rev-list", *known, "--").split() if known else []
        held = self._held(commits if whole else known)
        where = "here only" if push is None else "here and where it is pushed to"
        return ReadBack(held, f"{len(commits)} commits, {where}")

    def _commit(self, note: bytes, checkpoint: Checkpoint, parent: str) -> str:
        blob = self._git("hash-object", "-w", "--stdin", said=note).strip()
        tree = self._git("mktree", said=f"100644 blob {blob}\t{_FILE}\n".encode()).strip()
        message = f"{checkpoint.size} entries of {checkpoint.origin}\n".encode()
        parents = ("-p", parent) if parent else ()
        commit = self._git("commit-tree", tree, *parents, said=message).strip()
        # Fails where another process was first; then it is tried again, behind that one's.
        self._git("update-ref", _BRANCH, commit, parent or "0" * len(commit))
        return commit

    def _held(self, commits: Sequence[str]) -> list[Held]:
        """The checkpoints of these commits, as far as they have one of this trail."""
        asked = "".join(f"{commit}:{_FILE}\n" for commit in commits).encode()
        sized = self._git("cat-file", "--batch-check=%(objectname) %(objectsize)", said=asked)
        blobs = {}
        for line in sized.splitlines():
            name, _, length = line.partition(" ")
            # Who can push could push something huge.
            if length.isdigit() and int(length) <= MAX_NOTE_BYTES:
                blobs[name] = int(length)
        raw = self._run("cat-file", "--batch", said="".join(f"{b}\n" for b in blobs).encode())
        held = []
        at = 0
        for size in blobs.values():
            # A line says what follows: that many bytes, and a line feed.
            at = raw.find(b"\n", at) + 1
            found = held_in(raw[at : at + size], self._origin)
            at += size + 1
            if found is not None:
                held.append(found)
        return held

    def _check_kept(self, last: AnchorRow | None, *tips: tuple[str, str]) -> None:
        """What it took last is there as it was, and behind each of these commits."""
        if last is None:
            return
        answer = parse_answer(_answers, last)
        if not _COMMIT.fullmatch(answer.commit):
            raise AnchorMismatchError(self.name, "expected a commit in the trail's file")
        commit = answer.commit
        if self._file_of(commit) != last.note:
            raise AnchorMismatchError(
                self.name, f"commit {commit} doesn't have the checkpoint of {last.size} entries"
            )
        for where, tip in tips:
            if where != _BRANCH and not answer.pushed:
                continue
            if not tip or not self._is_behind(commit, tip):
                raise AnchorMismatchError(
                    self.name,
                    f"commit {commit}, which has the checkpoint of {last.size} entries, is no "
                    f"longer in {where}: its history was rewritten. If it was lost, go on under "
                    "another name",
                )

    def _file_of(self, commit: str) -> bytes:
        """Its checkpoint; nothing where it has none, or isn't there."""
        return self._run("cat-file", "blob", f"{commit}:{_FILE}", may_fail=True)

    def _is_behind(self, commit: str, tip: str) -> bool:
        found = self._git("rev-list", "--max-count=1", commit, f"^{tip}", "--")
        return not found.strip()

    def _is_at(self, push: str) -> bool:
        """Whether the branch is there."""
        return bool(self._git("ls-remote", "--", push, _BRANCH).strip())

    def _tip(self, ref: str) -> str:
        return self._git("for-each-ref", "--format=%(objectname)", "--", ref).strip()

    def _create(self) -> None:
        repository = self._settings.repository
        if not repository.exists():
            self._git("init", "--quiet", "--bare", "--initial-branch=main", "--", str(repository))

    # -- the program ----------------------------------------------------------------------------

    def _begin(self) -> None:
        """From here on `deadline_s` runs."""
        self._ends = time.monotonic() + self._settings.deadline_s

    def _git(self, *arguments: str, said: bytes = b"") -> str:
        return self._run(*arguments, said=said).decode("utf-8", "replace")

    def _run(self, *arguments: str, said: bytes = b"", may_fail: bool = False) -> bytes:
        """What git prints. Raises `DeliveryError` where it fails, or takes too long."""
        repository = self._settings.repository
        where = [] if arguments[0] == "init" else [f"--git-dir={repository}"]
        # No hook runs, whatever template or configuration brought it along.
        options = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"]
        process = subprocess.Popen(  # noqa: S603 - no shell, and what is named is behind --
            [self._program, *where, *options, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        try:
            out, err = process.communicate(said, timeout=max(0.0, self._ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            # With all that it started: ssh would go on.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise DeliveryError(
                f"git {arguments[0]} took longer than {self._settings.deadline_s:g} s"
            ) from None
        if process.returncode and not may_fail:
            raise DeliveryError(f"git {arguments[0]} failed: {self._shown(err)}")
        return out

    def _shown(self, err: bytes) -> str:
        """The last line of what git says, without the URL: there may be a token in it."""
        lines = err.decode("utf-8", "replace").strip().splitlines()
        said = next((line for line in lines if line.startswith(("fatal:", "error:"))), "")
        push = self._settings.push
        return (said.replace(push, "(push)") if push else said)[:_MAX_SAID] or "it doesn't say why"


def _environment() -> dict[str, str]:
    """That of this process, but for what would have git look elsewhere, or ask somebody (without a
    terminal, ssh doesn't)."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return {
        **kept,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_AUTHOR_NAME": "indelible",
        "GIT_AUTHOR_EMAIL": "indelible@localhost",
        "GIT_COMMITTER_NAME": "indelible",
        "GIT_COMMITTER_EMAIL": "indelible@localhost",
    }
