"""Whatever a recursion, a view or a UNION ALL is made of: a row that isn't named as read left no
trace in the result."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.capture.sqlite3 import Connection, connect

from .host import MemoryHost, targets

TABLES = """
CREATE TABLE node (id INTEGER PRIMARY KEY, parent INTEGER, name TEXT, size TEXT);
INSERT INTO node VALUES (1, NULL, 'a', 'k'), (2, 1, 'b', 'l'), (3, 2, 'c', 'm'), (4, 3, 'd', 'n'),
  (5, 1, 'e', 'o'), (6, NULL, 'f', 'p'), (7, 6, 'g', 'q');
CREATE VIEW leaf AS SELECT id, parent, name AS size, size AS name FROM node WHERE id IN (4, 5, 7);
CREATE VIEW twice (id, parent, name, size) AS
  SELECT id, parent, name, 'x' FROM leaf UNION ALL SELECT id, parent, 'y', size FROM node;
"""
FROM = st.sampled_from(["node", "leaf", "twice", "(SELECT * FROM node WHERE id > 1)"])
BEGIN = st.sampled_from(["n.name", "n.size", "'-'", "n.id", "n.name || n.size"])
STEP = st.sampled_from(
    ["n.name", "n.size", "t.u", "t.v", "t.u || n.name", "t.v || '+'", "'-'", "u", "v || name",
     "coalesce(n.size, t.u)", "name", "n.id + 1", "max(t.v, n.size)"]
)  # fmt: skip
SHOWN = st.lists(
    st.sampled_from(
        ["t.u", "v", "t.d", "t.k", "'-'", "t.u || t.v", "length(t.v)", "(SELECT t.u)", "t.*", "*"]
    ),
    min_size=1,
    max_size=3,
)
GROUPED = st.sampled_from(["count(*)", "max(t.u)", "count(t.v)", "d, min(v)", "k, count(*)"])
WHERE = st.sampled_from(["", " WHERE t.d > 0", " WHERE t.d = 1", " WHERE k % 2 = 0"])
WITH = (
    "WITH RECURSIVE t({k}, u, v, d) AS (SELECT n.id, {a}, {b}, 0 FROM {first} n WHERE n.id {which} "
    "UNION ALL SELECT n.id, {c}, {e}, d + 1 FROM {second} n JOIN t ON n.parent = t.k "
    "WHERE d < 4) "
)


@st.composite
def queries(draw: st.DrawFn) -> str:
    with_ = WITH.format(
        k="k",
        a=draw(BEGIN),
        b=draw(BEGIN),
        c=draw(STEP),
        e=draw(STEP),
        first=draw(FROM),
        second=draw(FROM),
        which=draw(st.sampled_from(["= 1", "= 2", "IN (1, 6)", "< 0"])),
    )
    where = draw(WHERE)
    shown = ", ".join(draw(SHOWN))
    match draw(st.sampled_from(["plain", "grouped", "derived", "joined", "united", "named"])):
        case "plain":
            return f"{with_}SELECT {shown} FROM t{where}"
        case "grouped":
            item = draw(GROUPED)
            group = " GROUP BY 1" if "," in item else ""
            return f"{with_}SELECT {item} FROM t{where}{group}"
        case "derived":
            return f"{with_}SELECT q.d FROM (SELECT {shown}, t.d, t.u FROM t{where}) AS q"
        case "joined":
            other = draw(FROM)
            return f"{with_}SELECT t.u, o.name FROM t LEFT JOIN {other} o ON o.id = t.k + 1{where}"
        case "united":
            other = draw(FROM)
            return (
                f"{with_}SELECT u, d FROM t{where} UNION ALL SELECT o.name, 1 FROM {other} o "
                "WHERE o.id > 5 UNION ALL SELECT 'z', 2"
            )
    return f"{with_}, s AS (SELECT t.k AS k, t.v AS v, t.d AS d FROM t{where}) SELECT v, k FROM s"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Connection, MemoryHost, Path]]:
    """A captured connection, its trail, and the path of the same tables without capture."""
    directory = tmp_path_factory.mktemp("traces")
    for name in ("captured", "plain"):
        with closing(sqlite3.connect(directory / name)) as made:
            made.executescript(TABLES)
    host = MemoryHost()
    connection = connect(directory / "captured", trail=host)
    yield connection, host, directory / "plain"
    connection.close()


@settings(max_examples=150, deadline=None)
@given(query=queries())
def test_what_is_not_named_left_no_trace(
    pair: tuple[Connection, MemoryHost, Path], query: str
) -> None:
    """Other values in all rows that an exact access doesn't name change nothing of its result."""
    captured, host, path = pair
    with closing(sqlite3.connect(path)) as plain:
        try:
            expected = plain.execute(query).fetchall()
        except sqlite3.Error as error:
            with pytest.raises(sqlite3.Error, match="^" + str(error).replace("(", r"\(")):
                captured.execute(query)
            host.take()
            return
        assert captured.execute(query).fetchall() == expected
        found = [target for target in targets(host.take()) if target.kind == "node"]
        if all(target.coverage == "exact" for target in found):
            named = {id_[0] for target in found for id_ in target.ids}
            keys = ", ".join(map(str, named)) or "NULL"
            plain.execute(
                f"UPDATE node SET name = name || '~', size = size || '~' WHERE id NOT IN ({keys})"
                if named
                else "UPDATE node SET name = name || '~', size = size || '~'"
            )
            assert sorted(map(repr, plain.execute(query).fetchall())) == sorted(map(repr, expected))
