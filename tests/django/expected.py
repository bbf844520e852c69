"""What each shape of `reads` handed out and each of `writes` changed, worked out by hand.

Of a read: `kind:id` of what is known exactly, `kind~` where the rows can't be told, nothing where
none was handed out. Of a write: `action id` of each row that it changed, in any order.
"""

from __future__ import annotations

import uuid
from typing import Final

DOCUMENT: Final = "6f1c1d525f534d6a9a550d6e2f0c9f11"


def names(kind: str, *ids: object) -> set[str]:
    return {f"{kind}:{id_}" for id_ in ids}


LINES = names("line", 11, 12, 21, 22, 31, 32)
READS: dict[str, set[str]] = {
    "get": names("customer", 2),
    "get_uuid": names("document", DOCUMENT),
    "missing": set(),
    "list": names("customer", 1, 2, 3, 4),
    "converted": names("invoice", 1, 2, 3),
    "no_key": names("customer", 2, 4),
    "deferred": names("customer", 2),
    "only": names("customer", 3),
    "in_bulk": names("customer", 1, 4),
    "select_related": names("invoice", 1, 2, 3) | names("customer", 1, 2, 3),
    "prefetch": names("customer", 1, 2, 3, 4) | names("invoice", 1, 2, 3),
    "many_to_many": names("invoice", 3) | names("label", 1, 2),
    "count": {"customer~"},
    "count_filtered": names("customer", 2, 4),
    "exists": names("customer", 2),
    "sum": names("line", 21, 22),
    "group_by": LINES,
    "distinct": names("customer", 1, 2, 3, 4),
    "union": names("customer", 1) | names("label", 2),
    "exists_filter": names("customer", 2, 3),
    "window": LINES,
    "slice": names("customer", 2, 3),
    "first": names("customer", 4),
    "iterator": names("customer", 1, 2, 3, 4),
    # Django truncates dates by a function of its own, which mustn't be called twice.
    "dates": {"invoice~"},
    "raw": names("customer", 1, 2),
    "cursor": names("customer", 2),
    "logged": names("customer", 2),
    "cursor_named": names("customer", 3),
    "partly": names("customer", 1, 2),
    "asynchronous": names("customer", 1, 3, 4),
    "other_database": names("customer", 9),
    "scalar_subquery": names("invoice", 1) | names("customer", 1),
}
SERVER_READS: dict[str, set[str]] = READS | {
    "get_uuid": {f"document:{uuid.UUID(DOCUMENT)}"},
    "dates": names("invoice", 1, 2, 3),
}
"""On PostgreSQL."""
del SERVER_READS["other_database"]
MARIADB_READS: dict[str, set[str]] = READS | {
    "get_uuid": {f"document:{uuid.UUID(DOCUMENT)}"},
    "dates": names("invoice", 1, 2, 3),
    "scalar_subquery": names("invoice", 1) | {"customer~"},
}
"""On MariaDB, where a query in the select list isn't asked for its keys."""
WRITES: dict[str, list[str]] = {
    "create": ["customer.insert 20"],
    "save": ["customer.update 1"],
    "bulk_create": ["line.insert 40", "line.insert 41", "line.insert 42"],
    "upsert": ["line.insert 43", "line.update 42"],
    "bulk_update": [f"line.update {n}" for n in (11, 12, 40, 41, 42, 43)],
    "update": ["line.update 21", "line.update 22"],
    "decimal": ["invoice.update 2"],
    "get_or_create": ["customer.insert 21"],
    "update_or_create": ["customer.update 21"],
    "cascade": [
        "customer.delete 2",
        "invoice.delete 2",
        "line.delete 21",
        "line.delete 22",
        "shop_invoice_labels.delete 1",
    ],
    "refused": [],
    "savepoint": ["label.insert 80"],
    "raw_write": ["label.insert 90", "label.insert 91", "label.update 1"],
}
