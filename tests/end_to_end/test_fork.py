"""An application that opens its trail and then forks its workers."""

from __future__ import annotations

import os
from pathlib import Path

from indelible import Actor, Trail, acting_as


def test_a_forked_worker_records_and_its_parent_carries(tmp_path: Path) -> None:
    """The child's events go to a journal of its own and reach the trail; nothing hangs."""
    with Trail.create(f"sqlite:///{tmp_path}/trail.db") as trail:
        trail.record("worker.prepared")
        trail.flush()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with acting_as(Actor("worker", "1")):
                    trail.record("worker.worked")
                assert not trail.is_relaying
                trail.flush(20.0)
                found = {finding.event.action for finding in trail.events()}
                status = 0 if found == {"worker.prepared", "worker.worked"} else 2
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(ended) == 0
        trail.flush()
        assert len(list(trail.events(by=Actor("worker", "1")))) == 1
        trail.verify()
