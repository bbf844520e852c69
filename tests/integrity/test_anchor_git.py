"""A git repository as an anchor: what is in it, pushed, rewritten, lost; the real program."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest

from indelible.errors import ConfigurationError, DeliveryError
from indelible.integrity.anchor_git import GitAnchor
from indelible.integrity.faults import AnchorMismatchError
from indelible.policy.anchors import GitSettings
from indelible.store.protocol import AnchorRow
from tests.integrity.anchored import keep
from tests.integrity.witnessed import ORIGIN
from tests.integrity.witnesses import Answer, answering


def git(*arguments: str, at: Path) -> str:
    done = subprocess.run(
        [
            *("git", "-c", "user.name=x", "-c", "user.email=x@localhost"),
            *(f"--git-dir={at}", *arguments),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """Another machine's repository."""
    path = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True)
    return path


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "anchors.git"


def anchor_at(here: Path, push: Path | str | None = None, *, deadline_s: float = 30.0) -> GitAnchor:
    settings = GitSettings(
        name="history",
        repository=here,
        push=None if push is None else str(push),
        deadline_s=deadline_s,
    )
    return GitAnchor(settings, ORIGIN)


def sizes(anchor: GitAnchor, last: AnchorRow | None) -> list[int]:
    return sorted(each.size for each in anchor.read_back(last).held)


def test_each_checkpoint_is_a_commit_that_anybody_reads(here: Path, remote: Path) -> None:
    """Plain git shows it at both places, with the one before as its parent."""
    anchor = anchor_at(here, remote)
    first = keep(anchor, 5)
    second = keep(anchor, 6, first)
    assert first.outside
    assert second.outside
    for repository in (here, remote):
        assert (
            git("show", "main:checkpoint", at=repository) == (second.note or b"").decode().strip()
        )
        assert git("show", "main~1:checkpoint", at=repository).startswith("example.com/trail\n5\n")
        assert git("rev-list", "--count", "main", at=repository) == "2"
        assert git("ls-tree", "--name-only", "main", at=repository) == "checkpoint"
        git("fsck", "--strict", at=repository)
    assert sizes(anchor, second) == [5, 6]
    assert not keep(anchor_at(here), 7, second).outside, "this machine's own hands"


def test_a_history_rewritten_here(here: Path, remote: Path) -> None:
    """The branch put back, or another in its place: nothing is added to it any more."""
    anchor = anchor_at(here)
    first = keep(anchor, 5)
    last = keep(anchor, 6, first)
    tip = git("rev-parse", "main", at=here)
    git("update-ref", "refs/heads/main", "main~1", at=here)
    said = rf"commit {tip}, which has the checkpoint of 6 entries, is no longer in refs/heads/main"
    with pytest.raises(AnchorMismatchError, match=said):
        anchor.read_back(last)
    with pytest.raises(AnchorMismatchError, match=said):
        keep(anchor, 7, last)
    git("update-ref", "refs/heads/main", orphan(here, b"another"), at=here)
    with pytest.raises(AnchorMismatchError, match="its history was rewritten"):
        anchor.read_back(last)
    git("update-ref", "-d", "refs/heads/main", at=here)
    with pytest.raises(AnchorMismatchError, match="its history was rewritten"):
        anchor.read_back(last)
    git("reflog", "expire", "--expire=all", "--all", at=here)
    git("prune", "--expire=now", at=here)
    with pytest.raises(AnchorMismatchError, match="doesn't have the checkpoint of 6 entries"):
        anchor.read_back(last)


def orphan(repository: Path, content: bytes) -> str:
    """A commit without a parent."""
    blob = subprocess.run(
        ["git", f"--git-dir={repository}", "hash-object", "-w", "--stdin"],
        input=content,
        capture_output=True,
        check=True,
    ).stdout.strip()
    tree = subprocess.run(
        ["git", f"--git-dir={repository}", "mktree"],
        input=b"100644 blob " + blob + b"\tcheckpoint\n",
        capture_output=True,
        check=True,
    ).stdout.strip()
    return git("commit-tree", tree.decode(), "-m", "x", at=repository)


def test_a_history_rewritten_where_it_is_pushed_to(here: Path, remote: Path) -> None:
    """There it is put back, or its branch deleted; here all is as it was."""
    anchor = anchor_at(here, remote)
    last = keep(anchor, 6, keep(anchor, 5))
    git("update-ref", "refs/heads/main", "main~1", at=remote)
    with pytest.raises(AnchorMismatchError, match="is no longer in what was pushed"):
        anchor.read_back(last)
    git("update-ref", "-d", "refs/heads/main", at=remote)
    with pytest.raises(AnchorMismatchError, match="is no longer in what was pushed"):
        anchor.read_back(last)


def test_only_the_other_machine_has_what_is_gone_here(here: Path, remote: Path) -> None:
    """The repository here put back with the trail's file: what was pushed shows the rest."""
    anchor = anchor_at(here, remote)
    first = keep(anchor, 5)
    old = git("rev-parse", "main", at=here)
    keep(anchor, 6, first)
    git("update-ref", "refs/heads/main", old, at=here)
    assert sizes(anchor_at(here), first) == [5]
    assert sizes(anchor, first) == [5, 6]
    with pytest.raises(DeliveryError, match="git push failed: error: failed to push some refs"):
        keep(anchor, 7, first)


def test_a_push_that_failed_is_made_good_later(here: Path, remote: Path, tmp_path: Path) -> None:
    """By the commit that there is already."""
    away = tmp_path / "away.git"
    remote.rename(away)
    anchor = anchor_at(here, remote)
    for _ in range(3):
        with pytest.raises(DeliveryError, match="git push failed: fatal: "):
            keep(anchor, 5)
    with pytest.raises(DeliveryError, match="git ls-remote failed"):
        anchor.read_back(None)
    away.rename(remote)
    assert keep(anchor, 5).outside
    assert git("rev-list", "--count", "main", at=remote) == "1"


def test_what_others_put_there_is_left_out(here: Path, remote: Path) -> None:
    """Other files, other trails', noise and something huge in the place of a checkpoint."""
    anchor = anchor_at(here, remote)
    last = keep(anchor, 5)
    for content in (b"noise", b"x" * 3_000_000, b"another.example/trail\n9\n"):
        parent = git("rev-parse", "main", at=remote)
        tree = git("rev-parse", f"{orphan(remote, content)}^{{tree}}", at=remote)
        commit = git("commit-tree", tree, "-p", parent, "-m", "x", at=remote)
        git("update-ref", "refs/heads/main", commit, at=remote)
    found = anchor.read_back(last)
    assert [each.size for each in found.held] == [5]
    assert found.shown == "4 commits, here and where it is pushed to"


def test_no_hook_of_the_repository_runs(here: Path, remote: Path, tmp_path: Path) -> None:
    """Nor a program that GIT_… in the environment names."""
    keep(anchor_at(here), 5)
    ran = tmp_path / "ran"
    for name in ("reference-transaction", "pre-push", "post-commit", "update"):
        hook = here / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
        hook.chmod(0o755)
    keep(anchor_at(here, remote), 6)
    assert not ran.exists()


def test_git_s_own_environment_leads_nowhere_else(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that runs within a hook of git has GIT_DIR set, to another repository."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "elsewhere"))
    row = keep(anchor_at(here), 5)
    assert sizes(anchor_at(here), row) == [5]
    assert not (tmp_path / "elsewhere").exists()


def test_two_processes_at_once(here: Path) -> None:
    """One is first, the other's turn comes later: no commit is lost."""
    keep(anchor_at(here), 1)
    failed: list[DeliveryError] = []

    def add(sizes: range) -> None:
        anchor = anchor_at(here)
        for size in sizes:
            try:
                keep(anchor, size)
            except DeliveryError as error:
                failed.append(error)

    threads = [threading.Thread(target=add, args=(range(n, n + 5),)) for n in (10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = sizes(anchor_at(here), None)
    assert len(kept) + len(failed) == 11
    git("fsck", "--strict", at=here)


def test_a_server_that_is_silent_is_not_waited_for(here: Path) -> None:
    """Nor is what git started for it left behind."""
    keep(anchor_at(here), 5)
    begun = time.monotonic()
    with (
        answering(lambda method, path, body: None) as url,
        pytest.raises(DeliveryError, match="git push took longer than 2 s"),
    ):
        keep(anchor_at(here, f"{url}/r.git", deadline_s=2.0), 6)
    assert time.monotonic() - begun < 20


def test_what_git_says_is_shown_without_the_url(here: Path) -> None:
    """There may be a token in its path."""
    with (
        answering(lambda method, path, body: Answer(403, "text/plain", b"no")) as url,
        pytest.raises(DeliveryError) as caught,
    ):
        keep(anchor_at(here, f"{url}/hooktoken1234567/r.git"), 5)
    assert "git push failed" in str(caught.value)
    assert "hooktoken" not in str(caught.value)


def test_a_repository_that_isn_t_one(here: Path, tmp_path: Path) -> None:
    """A folder of something else, one that is gone, and a machine without git."""
    here.mkdir()
    with pytest.raises(DeliveryError, match="git for-each-ref failed: fatal: not a git repository"):
        keep(anchor_at(here), 5)
    here.rmdir()
    row = keep(anchor_at(here), 5)
    here.rename(tmp_path / "moved")
    with pytest.raises(AnchorMismatchError, match=f"expected a repository at {here}, it is gone"):
        anchor_at(here).read_back(row)


def test_without_git(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said when the trail is opened."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigurationError, match="expected the program git on PATH"):
        anchor_at(here)
