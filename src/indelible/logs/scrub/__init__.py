"""What patterns find in a text that shouldn't be in a log: the second net, behind declared fields.

Patterns know the shapes that they were written for; a name, a bare token or an encoded value has
none. What is to be safe has to be declared (`indelible.logs.fields`).
"""

from indelible.logs.scrub.engines import EngineName
from indelible.logs.scrub.model import DATA_CLASSES, DataClass, Finding, Rule, Scrubbed
from indelible.logs.scrub.rules import DEFAULT_RULES
from indelible.logs.scrub.scrubber import MAX_TEXT, Scrubber

__all__ = [
    "DATA_CLASSES",
    "DEFAULT_RULES",
    "MAX_TEXT",
    "DataClass",
    "EngineName",
    "Finding",
    "Rule",
    "Scrubbed",
    "Scrubber",
]
