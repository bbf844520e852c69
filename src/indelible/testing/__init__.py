"""For tests of an application that is audited: what was recorded, and is tampering noticed?

>>> with in_memory_trail() as trail:
...     capture(engine, trail)
...     with capture_events(trail) as events, acting_as(Actor("staff", "alice")):
...         refund(invoice=93)
...     assert_recorded(events, action="invoice.refund", by="staff:alice", target="invoice:93")

`indelible.testing.tamper` edits a trail's file behind its back, so that an alarm can be tried.
Needs no test framework.
"""

from indelible.testing import tamper
from indelible.testing.asserting import assert_recorded
from indelible.testing.capturing import capture_events
from indelible.testing.trails import in_memory_trail

__all__ = ["assert_recorded", "capture_events", "in_memory_trail", "tamper"]
