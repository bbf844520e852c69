"""Which statements are proven to only read; anything else counts as a write."""

from __future__ import annotations

import pytest

from indelible.capture.postgres.verbs import changes_rows, ends_something, is_proven_read


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "  -- a remark; DELETE\n select name from person where id = %(id_1)s::INTEGER;",
        "(SELECT a FROM b) UNION ALL (SELECT c FROM d) ORDER BY 1",
        "SELECT count(*), max(coalesce(a, 'x; DELETE FROM t')) FROM t GROUP BY b HAVING sum(c) > 2",
        "SELECT * FROM t WHERE id IN (%(a)s, %(b)s) FOR NO KEY UPDATE",
        "WITH x AS (SELECT a FROM t) SELECT row_number() OVER (PARTITION BY a) FROM x",
        "SELECT a FROM t JOIN (SELECT b FROM u) AS v ON (v.b = t.a) FOR UPDATE",
        "VALUES (1, 2)",
        "SHOW transaction_isolation",
        "SELECT a FROM t WHERE a = $1::INTEGER AND b = ANY (ARRAY[$2, 3]) LIMIT $3",
        "SELECT a::varchar(3) FROM t",
        "SELECT tags[1], E'it\\'s; pay(' || $x$ ; pay('$x$ FROM t WHERE a %% 2 = 0 AND b=%(b)s",
        "/* /* a */ ; pay() */ SELECT 1 /**/",
    ],
)
def test_these_only_read(text: str) -> None:
    assert is_proven_read(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INSERT INTO t VALUES (1)",
        "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone",
        "SELECT pay(1)",
        "SELECT evil.lower('x')",
        'SELECT "Pay"(1)',
        "SELECT 1; DELETE FROM t",
        "SELECT a INTO b FROM t",
        "SELECT E'\\'', pay(1), '",
        "SELECT $$'$$, pay(1), $$'$$",
        "/* /* */ SELECT 1 */ ; DELETE FROM t",
        "SELECT nextval('s')",
        "EXPLAIN ANALYZE DELETE FROM t",
        "EXECUTE prepared",
        "CALL pay(1)",
        "COPY t FROM STDIN",
        "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
        "SELECT * FROM t FOR SHARE; UPDATE t SET a = 1",
        "SELECT a FROM t WHERE a = $1 AND pay(1)",
        "SELECT $1 $$'$$, pay(1), $$'$$",
        "SELECT (ARRAY[1, 2])[pay(1)]",
        "SELECT a[1:pay(1)] FROM t",
        "SELECT a [ pay ( 1 ) ] FROM t",
        "SELECT @pay(1), 1 #pay(2)",
        "SELECT 1 ` pay(1) ` 2",
        "SELECT 1 -- nothing\r, pay(1)",
        "SELECT 'a\\', pay(1), '",
        "SELECT U&'a', 1",
        "SELECT 1 /* /* */ , 2",
    ],
)
def test_these_may_write(text: str) -> None:
    assert not is_proven_read(text)


def test_what_may_take_back_what_was_told() -> None:
    assert ends_something("rollback to savepoint a")
    assert ends_something("SELECT 1; ROLLBACK TO a")
    assert ends_something("/* x */ COMMIT")
    assert not ends_something("SELECT 1;")
    assert not ends_something("UPDATE t SET a = 1")


def test_what_gets_a_transaction_of_its_own_in_autocommit() -> None:
    assert changes_rows("UPDATE t SET a = ';'")
    assert changes_rows("INSERT INTO t VALUES (1); DELETE FROM t WHERE a = '; SELECT';;")
    assert not changes_rows("INSERT INTO t VALUES (1); COMMIT")
    assert not changes_rows("DELETE FROM t; SELECT 1")
    assert not changes_rows("SELECT 1; DELETE FROM t")
    assert not changes_rows("DELETE FROM t; $$'$$ ; COMMIT '")
