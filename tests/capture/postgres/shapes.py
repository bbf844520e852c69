"""Every shape of read on PostgreSQL, with a key query written by hand for each table it reads.

As in `reads/shapes.py`; parameters go by name, and keys are told by their text, parts joined
by `/`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    name: str
    sql: str
    rows: dict[str, str] = field(default_factory=dict)
    coverage: dict[str, str] = field(default_factory=dict)
    subjects: str | None = None
    parameters: dict[str, object] = field(default_factory=dict)
    consulted: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


SAMPLE_TABLES = """
CREATE TABLE note (customer int, body text);
INSERT INTO note VALUES (1, 'a'), (NULL, 'b');
CREATE TABLE seat (plane text, "row" int2, letter varchar(1), who text,
  PRIMARY KEY (plane, letter, "row"));
INSERT INTO seat VALUES ('a', 1, 'A', 'x'), ('a', 2, 'B', 'y'), ('b', 1, 'A', NULL),
  ('{,"', 3, '\\', 'z');
CREATE TABLE "Odd ""name" ("The Key" text PRIMARY KEY, "select" text, "a b" float8);
INSERT INTO "Odd ""name" VALUES ('k''1', 'one', 0.1), ('k"2', 'two', 'NaN'), ('', 'three', 3);
CREATE TABLE doc (id uuid PRIMARY KEY, owner int, v text);
INSERT INTO doc SELECT md5(i::text)::uuid, i % 5, 'v' || i FROM generate_series(1, 40) AS i;
CREATE TABLE account (number numeric(12,2) PRIMARY KEY, holder uuid, v text);
INSERT INTO account SELECT i + 0.5, md5(i::text)::uuid, 'v' FROM generate_series(1, 9) AS i;
CREATE TABLE padded (code char(6) PRIMARY KEY, v text);
INSERT INTO padded VALUES ('ab', 'x'), ('abcdef', 'y');
CREATE TABLE large (id bigint PRIMARY KEY, on_it bool, v text);
INSERT INTO large VALUES (9007199254740993, true, 'a'), (-9223372036854775808, false, 'b');
CREATE TABLE flag (is_on bool PRIMARY KEY, v text);
INSERT INTO flag VALUES (true, 'a'), (false, 'b');
CREATE TABLE daily (day date PRIMARY KEY, v text);
INSERT INTO daily VALUES ('2026-01-02', 'x');
CREATE TABLE unwatched (id int PRIMARY KEY, v text);
INSERT INTO unwatched VALUES (1, 'u');
CREATE TABLE vault (id int PRIMARY KEY, v text);
INSERT INTO vault VALUES (1, 'gold'), (2, 'silver');
CREATE TABLE part (id int PRIMARY KEY, parent int, name text);
INSERT INTO part VALUES (1, NULL, 'car'), (2, 1, 'wheel'), (3, 2, 'tyre'), (4, NULL, 'bike');
CREATE TABLE measured (id int, at int, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM (0) TO (10);
CREATE TABLE measured_2 PARTITION OF measured FOR VALUES FROM (10) TO (20);
INSERT INTO measured VALUES (1, 1, 'a'), (2, 11, 'b');
CREATE TABLE beast (id int PRIMARY KEY, name text);
CREATE TABLE bird (wings int) INHERITS (beast);
INSERT INTO beast VALUES (1, 'ox');
INSERT INTO bird VALUES (1, 'owl', 2);
CREATE SCHEMA crm;
CREATE TABLE crm.customer (customer_id int PRIMARY KEY, first_name text);
INSERT INTO crm.customer VALUES (7, 'another'), (8, 'one');
CREATE TABLE crm.lead (id int PRIMARY KEY, name text);
INSERT INTO crm.lead VALUES (1, 'Ann');
CREATE VIEW canadian AS SELECT customer_id, first_name FROM customer WHERE country = 'Canada';
CREATE VIEW "Odd ""view" AS SELECT o."The Key" AS "%k\\" , o."select" FROM "Odd ""name" o;
CREATE VIEW bought AS SELECT c.customer_id AS who, i.total, i.invoice_id AS nr, i.customer_id AS o
  FROM canadian c LEFT JOIN invoice i ON i.customer_id = c.customer_id AND i.total > 5;
CREATE VIEW seats AS SELECT "row", upper(who) AS "Who", plane, letter FROM seat;
CREATE VIEW invoiced AS SELECT i.invoice_id, c.last_name FROM invoice i JOIN customer c
  USING (customer_id);
CREATE VIEW spent AS SELECT customer_id, sum(total) AS s FROM invoice GROUP BY 1;
CREATE VIEW dearest AS SELECT invoice_id, billing_city FROM invoice
  ORDER BY total DESC, invoice_id LIMIT 4;
CREATE VIEW crm.far AS SELECT first_name FROM canadian UNION SELECT name FROM crm.lead;
CREATE VIEW nations AS SELECT DISTINCT country FROM customer;
CREATE VIEW running AS SELECT customer_id, sum(total) OVER (PARTITION BY customer_id
  ORDER BY invoice_date) AS upto FROM invoice;
CREATE VIEW lucky AS SELECT name FROM genre WHERE random() < 2;
CREATE MATERIALIZED VIEW totals AS SELECT customer_id, sum(total) FROM invoice GROUP BY 1;
CREATE FUNCTION peek() RETURNS text LANGUAGE sql STABLE AS 'SELECT v FROM vault WHERE id = 1';
CREATE VIEW peeking AS SELECT genre_id, peek() AS p FROM genre;
CREATE FUNCTION shout(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(t)';
CREATE FUNCTION crm.trim(n int) RETURNS text LANGUAGE sql STABLE AS 'SELECT v FROM public.vault';
CREATE FUNCTION first(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n';
CREATE FUNCTION full_name(c customer) RETURNS text LANGUAGE sql IMMUTABLE
  AS $$SELECT c.first_name || ' ' || c.last_name$$;
"""

_CUSTOMERS = "SELECT customer_id FROM customer"
_INVOICES = "SELECT invoice_id FROM invoice"

SHAPES = [
    Shape(
        "get by key",
        "SELECT * FROM customer WHERE customer_id = :id",
        {"customer": "SELECT 5"},
        subjects="SELECT 5",
        parameters={"id": 5},
    ),
    Shape(
        "get that finds nothing",
        "SELECT * FROM customer WHERE customer_id = :id",
        {"customer": ""},
        subjects="",
        parameters={"id": 5000},
    ),
    Shape(
        "list with the key selected",
        "SELECT customer_id, first_name FROM customer ORDER BY first_name, 1",
        {"customer": _CUSTOMERS},
    ),
    Shape(
        "columns without the key",
        "SELECT first_name, last_name FROM customer WHERE country = :country ORDER BY 2",
        {"customer": f"{_CUSTOMERS} WHERE country = 'USA'"},
        parameters={"country": "USA"},
    ),
    Shape(
        "an expression alone",
        "SELECT first_name || last_name AS name FROM customer WHERE country = 'USA' ORDER BY 1",
        {"customer": f"{_CUSTOMERS} WHERE country = 'USA'"},
    ),
    Shape(
        "subject column fetched beside the key",
        "SELECT invoice_id, total FROM invoice WHERE total > 15 ORDER BY 1",
        {"invoice": f"{_INVOICES} WHERE total > 15"},
        subjects="SELECT customer_id FROM invoice WHERE total > 15",
    ),
    Shape(
        "join",
        "SELECT c.first_name, i.total FROM customer c JOIN invoice i "
        "ON i.customer_id = c.customer_id WHERE c.country = 'Canada' AND i.total > 5 "
        "ORDER BY i.invoice_id",
        {
            "customer": "SELECT customer_id FROM invoice JOIN customer USING (customer_id) "
            "WHERE country = 'Canada' AND total > 5",
            "invoice": "SELECT invoice_id FROM invoice JOIN customer USING (customer_id) "
            "WHERE country = 'Canada' AND total > 5",
        },
    ),
    Shape(
        "aliases in capitals and in quotes",
        'SELECT A.first_name, "B b".total FROM customer A, invoice AS "B b" '
        'WHERE "B b".customer_id = a.customer_id AND total > 20 ORDER BY total, 1',
        {
            "customer": "SELECT customer_id FROM invoice WHERE total > 20",
            "invoice": f"{_INVOICES} WHERE total > 20",
        },
    ),
    Shape(
        "outer join whose other side is missing",
        "SELECT e.first_name, c.first_name FROM employee e LEFT JOIN customer c "
        "ON c.support_rep_id = e.employee_id WHERE e.employee_id IN (1, 3) "
        "ORDER BY e.employee_id, 2",
        {"employee": "VALUES (1), (3)", "customer": f"{_CUSTOMERS} WHERE support_rep_id = 3"},
    ),
    Shape(
        "full join",
        "SELECT a.name, b.name FROM (SELECT * FROM genre WHERE genre_id < 3) a FULL JOIN media_type"
        " b ON b.media_type_id = a.genre_id + 4 ORDER BY 1, 2",
        {"genre": "VALUES (1), (2)", "media_type": "SELECT media_type_id FROM media_type"},
    ),
    Shape(
        "join USING",
        "SELECT * FROM invoice JOIN customer USING (customer_id) WHERE total > 20 ORDER BY 1",
        {
            "customer": "SELECT customer_id FROM invoice WHERE total > 20",
            "invoice": f"{_INVOICES} WHERE total > 20",
        },
    ),
    Shape(
        "natural join",
        "SELECT title FROM album NATURAL JOIN artist WHERE artist_id = 1 ORDER BY 1",
        {"album": "SELECT album_id FROM album WHERE artist_id = 1"},
    ),
    Shape(
        "self-join by aliases",
        "SELECT e.first_name, m.first_name FROM employee AS e LEFT JOIN employee AS m "
        "ON e.reports_to = m.employee_id WHERE e.employee_id IN (1, 3) ORDER BY 1",
        {"employee": "VALUES (1), (3), (2)"},
    ),
    Shape(
        "star over two tables",
        "SELECT * FROM album a, artist b WHERE a.artist_id = b.artist_id AND a.album_id = 7",
        {"album": "SELECT 7", "artist": "SELECT artist_id FROM album WHERE album_id = 7"},
    ),
    Shape(
        "the same column name twice",
        "SELECT first_name, first_name, customer_id AS first_name FROM customer "
        "WHERE customer_id < 4 ORDER BY customer_id",
        {"customer": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "an array of keys",
        "SELECT last_name FROM customer WHERE customer_id = ANY (:ids) ORDER BY last_name",
        {"customer": "VALUES (3), (9), (11)"},
        parameters={"ids": [3, 9, 11]},
    ),
    Shape(
        "IN-lists, and what looks like them",
        "SELECT 'IN (:a, :b)' || E'\\'', CAST(:x AS int), CAST(:y AS int), customer_id "
        "FROM customer WHERE customer_id IN (:a, :b, :c) AND support_rep_id IN (:x, :y) "
        "ORDER BY last_name",
        {"customer": f"{_CUSTOMERS} WHERE customer_id IN (3, 9, 11) AND support_rep_id IN (3, 4)"},
        parameters={"a": 3, "b": 9, "c": 11, "x": 3, "y": 4},
    ),
    Shape(
        "operators that drivers double",
        "SELECT last_name FROM customer WHERE customer_id % 2 = :rest AND last_name LIKE '%a%' "
        "AND customer_id < 20 ORDER BY 1",
        {
            "customer": f"{_CUSTOMERS} WHERE mod(customer_id, 2) = 1 AND customer_id < 20 "
            "AND strpos(last_name, 'a') > 0"
        },
        parameters={"rest": 1},
    ),
    Shape(
        "count",
        "SELECT count(*) FROM customer WHERE country = :country",
        {"customer": f"{_CUSTOMERS} WHERE country = 'Brazil'"},
        parameters={"country": "Brazil"},
    ),
    Shape(
        "count of nothing",
        "SELECT count(*), max(total) FROM invoice WHERE total > 10000",
        {"invoice": ""},
        subjects="",
    ),
    Shape(
        "aggregate with subjects",
        "SELECT sum(total) FROM invoice WHERE customer_id IN (2, 3)",
        {"invoice": f"{_INVOICES} WHERE customer_id IN (2, 3)"},
        subjects="VALUES (2), (3)",
    ),
    Shape(
        "aggregate over every row",
        "SELECT count(*) FROM customer",
        {"customer": ""},
        {"customer": "superset"},
    ),
    Shape(
        "group by with having",
        "SELECT country, count(*) AS n FROM customer GROUP BY country HAVING count(*) > 4 "
        "ORDER BY n, 1",
        {
            "customer": f"{_CUSTOMERS} WHERE country IN (SELECT country FROM customer "
            "GROUP BY country HAVING count(*) > 4)"
        },
    ),
    Shape(
        "grouped by its key, whose columns come along",
        "SELECT c.*, count(i.invoice_id) FROM customer c LEFT JOIN invoice i "
        "ON i.customer_id = c.customer_id WHERE c.customer_id < 4 "
        "GROUP BY c.customer_id ORDER BY 1",
        {"customer": "VALUES (1), (2), (3)", "invoice": f"{_INVOICES} WHERE customer_id < 4"},
    ),
    Shape(
        "grouping sets",
        "SELECT country, state, count(*) FROM customer WHERE country = 'USA' "
        "GROUP BY GROUPING SETS ((country), (country, state), ()) ORDER BY 1, 2, 3",
        {"customer": f"{_CUSTOMERS} WHERE country = 'USA'"},
    ),
    Shape(
        "group by over an outer join",
        "SELECT e.employee_id, count(c.customer_id) FROM employee e LEFT JOIN customer c "
        "ON c.support_rep_id = e.employee_id WHERE e.employee_id IN (1, 3) GROUP BY 1 ORDER BY 1",
        {"employee": "VALUES (1), (3)", "customer": f"{_CUSTOMERS} WHERE support_rep_id = 3"},
    ),
    Shape(
        "aggregates that keep the order",
        "SELECT string_agg(last_name, ', ' ORDER BY last_name), array_agg(DISTINCT country), "
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY customer_id), json_agg(city ORDER BY city) "
        "FROM customer WHERE customer_id < 6",
        {"customer": f"{_CUSTOMERS} WHERE customer_id < 6"},
    ),
    Shape(
        "aggregate with a filter",
        "SELECT count(*) FILTER (WHERE total > 5) FROM invoice WHERE customer_id = 6",
        {"invoice": f"{_INVOICES} WHERE customer_id = 6"},
        {"invoice": "superset"},
    ),
    Shape(
        "a function of the application's that is called as an aggregate is elsewhere",
        "SELECT first(3) FROM genre WHERE genre_id < 3",
        {"genre": "VALUES (1), (2)"},
    ),
    Shape(
        "distinct",
        "SELECT DISTINCT country FROM customer WHERE customer_id < :n ORDER BY country",
        {"customer": f"{_CUSTOMERS} WHERE customer_id < 20"},
        parameters={"n": 20},
    ),
    Shape(
        "distinct over every row",
        "SELECT DISTINCT billing_country AS c, lower(billing_city) FROM invoice "
        "ORDER BY lower(billing_city), c",
        {"invoice": _INVOICES},
        subjects="SELECT customer_id FROM invoice",
    ),
    Shape(
        "distinct over a star, a join and NULLs",
        "SELECT DISTINCT a.*, t.composer FROM album a LEFT JOIN track t USING (album_id) "
        "WHERE a.album_id < 5 ORDER BY 1, 4",
        {
            "album": "SELECT album_id FROM album WHERE album_id < 5",
            "track": "SELECT track_id FROM track WHERE album_id < 5",
        },
    ),
    Shape(
        "distinct of aggregates",
        "SELECT DISTINCT count(*) FROM invoice GROUP BY billing_country",
        {"invoice": _INVOICES},
        subjects="SELECT customer_id FROM invoice",
    ),
    Shape(
        "distinct that leaves rows out",
        "SELECT DISTINCT country FROM customer ORDER BY country OFFSET 2",
        {"customer": f"{_CUSTOMERS} WHERE country NOT IN ('Argentina', 'Australia')"},
    ),
    Shape(
        "distinct on",
        "SELECT DISTINCT ON (country) country, last_name FROM customer WHERE customer_id < 20 "
        "ORDER BY country, customer_id",
        {
            "customer": "SELECT min(customer_id) FROM customer WHERE customer_id < 20 "
            "GROUP BY country"
        },
    ),
    Shape(
        "union",
        "SELECT last_name FROM customer WHERE customer_id < 4 UNION "
        "SELECT last_name FROM employee WHERE employee_id > 6 ORDER BY 1",
        {"customer": "VALUES (1), (2), (3)", "employee": "VALUES (7), (8)"},
        subjects="VALUES (1), (2), (3)",
    ),
    Shape(
        "union over parameters, IN-lists, types, NULLs and a row that is no table's",
        "SELECT customer_id, country FROM customer WHERE country = :c AND customer_id IN (:a, :b) "
        "UNION SELECT employee_id, NULL FROM employee WHERE employee_id IN (:d, :e) "
        "UNION SELECT 1.5, 'x' UNION SELECT invoice_id, billing_country FROM invoice "
        "WHERE invoice_id = :a ORDER BY 1, 2",
        {
            "customer": "VALUES (3), (14)",
            "employee": "VALUES (1), (2)",
            "invoice": "SELECT 3",
        },
        subjects="SELECT customer_id FROM invoice WHERE invoice_id = 3 UNION VALUES (3), (14)",
        parameters={"c": "Canada", "a": 3, "b": 14, "d": 1, "e": 2},
    ),
    Shape(
        "union with the same column twice, in another order, with a limit",
        "SELECT country, country FROM customer UNION SELECT billing_country, 'x' FROM invoice "
        "WHERE invoice_id < 4 ORDER BY 1 DESC, 2 LIMIT 3",
        {"customer": "", "invoice": ""},
        {"customer": "statement", "invoice": "statement"},
    ),
    Shape(
        "union of bracketed queries",
        "(SELECT last_name FROM customer WHERE customer_id < 4) UNION "
        "(SELECT DISTINCT last_name FROM employee WHERE employee_id > 6) ORDER BY 1",
        {"customer": "VALUES (1), (2), (3)", "employee": "VALUES (7), (8)"},
    ),
    Shape(
        "except of bracketed queries, one of them without",
        "(SELECT country FROM customer WHERE customer_id < 9) EXCEPT SELECT country FROM employee "
        "EXCEPT (SELECT 'Brazil')",
        {"customer": f"{_CUSTOMERS} WHERE customer_id < 9 AND country NOT IN ('Canada', 'Brazil')"},
        consulted=("employee",),
    ),
    Shape(
        "union all of bracketed queries, in a derived table",
        "SELECT u.n FROM ((SELECT last_name AS n, customer_id AS k FROM customer) UNION ALL "
        "(SELECT last_name, employee_id FROM employee)) AS u WHERE u.k = 2 ORDER BY 1",
        {"customer": "SELECT 2", "employee": "SELECT 2"},
    ),
    Shape(
        "union with a limit within brackets",
        "(SELECT last_name FROM customer ORDER BY last_name LIMIT 2) UNION "
        "(SELECT last_name FROM employee WHERE employee_id = 7) ORDER BY 1",
        {"customer": "", "employee": ""},
        {"customer": "statement", "employee": "statement"},
    ),
    Shape(
        "union of a union within brackets",
        "SELECT last_name FROM customer WHERE customer_id < 3 EXCEPT (SELECT last_name "
        "FROM customer WHERE customer_id = 1 EXCEPT SELECT last_name FROM customer "
        "WHERE customer_id = 1)",
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape(
        "union that finds nothing",
        "SELECT last_name FROM customer WHERE customer_id < 0 UNION "
        "SELECT last_name FROM employee WHERE employee_id < 0",
        {"customer": "", "employee": ""},
        subjects="",
    ),
    Shape(
        "union of groups and a view, behind a named query, out of a derived table",
        "WITH c AS (SELECT country AS x, customer_id AS k FROM customer WHERE customer_id < 9) "
        "SELECT u.x FROM (SELECT x FROM c GROUP BY x HAVING count(*) > 1 UNION "
        "SELECT first_name FROM canadian WHERE customer_id = 3) AS u ORDER BY 1",
        {
            "customer": f"{_CUSTOMERS} WHERE customer_id < 9 AND country IN (SELECT country "
            "FROM customer WHERE customer_id < 9 GROUP BY 1 HAVING count(*) > 1) UNION SELECT 3"
        },
    ),
    Shape(
        "except",
        "SELECT country FROM customer WHERE customer_id < 9 EXCEPT SELECT country FROM employee",
        {"customer": f"{_CUSTOMERS} WHERE customer_id < 9 AND country <> 'Canada'"},
        consulted=("employee",),
    ),
    Shape(
        "except with NULLs and rows of several tables, of text and of uuid",
        "SELECT DISTINCT state, country FROM customer WHERE customer_id < 20 UNION ALL "
        "SELECT v, NULL FROM doc WHERE v < 'v2' EXCEPT SELECT v, NULL FROM doc WHERE owner = 1 "
        "EXCEPT SELECT state, country FROM customer WHERE country = 'USA' ORDER BY 1",
        {
            "customer": f"{_CUSTOMERS} WHERE customer_id < 20 AND country <> 'USA'",
            "doc": "SELECT id FROM doc WHERE v < 'v2' AND owner <> 1",
        },
    ),
    Shape(
        "except, then union with what was taken out",
        "SELECT country FROM customer WHERE customer_id < 9 EXCEPT SELECT country FROM employee "
        "UNION SELECT billing_country FROM invoice WHERE invoice_id = 4 ORDER BY 1",
        {"customer": f"{_CUSTOMERS} WHERE customer_id < 9", "invoice": "SELECT 4"},
        {"customer": "superset", "invoice": "superset"},
        consulted=("employee",),
    ),
    Shape(
        "intersect",
        "SELECT country, city FROM customer INTERSECT SELECT country, city FROM employee "
        "INTERSECT SELECT billing_country, billing_city FROM invoice WHERE total > :t",
        {
            "customer": f"{_CUSTOMERS} WHERE city = 'Edmonton'",
            "employee": "SELECT employee_id FROM employee WHERE city = 'Edmonton'",
            "invoice": f"{_INVOICES} WHERE billing_city = 'Edmonton' AND total > 1",
        },
        parameters={"t": 1},
    ),
    Shape(
        "except that leaves as many rows as there are more",
        "SELECT country FROM customer WHERE customer_id < 9 EXCEPT ALL "
        "SELECT country FROM employee ORDER BY 1",
        {"customer": f"{_CUSTOMERS} WHERE customer_id < 9"},
        {"customer": "superset"},
    ),
    Shape(
        "union of what can't be asked again",
        "SELECT last_name FROM customer WHERE random() < 2 UNION SELECT 'x' ORDER BY 1",
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape(
        "union all",
        "SELECT last_name, NULL FROM customer WHERE customer_id < :a UNION ALL "
        "SELECT last_name, 1 FROM employee WHERE employee_id > 6 UNION ALL SELECT 'x', 2 "
        "UNION ALL SELECT last_name, 3 FROM customer WHERE customer_id = 3 ORDER BY 2, 1",
        {"customer": "VALUES (1), (2), (3)", "employee": "VALUES (7), (8)"},
        subjects="VALUES (1), (2), (3)",
        parameters={"a": 3},
    ),
    Shape(
        "union all of whole rows, with other keys and subjects",
        "SELECT * FROM doc WHERE v = 'v3' UNION ALL SELECT holder, NULL, v FROM account "
        "WHERE number < 3 UNION ALL SELECT md5(i.billing_city)::uuid, i.customer_id, 'i' "
        "FROM invoice i WHERE i.invoice_id < 3 ORDER BY 3, 1",
        {
            "doc": "SELECT id FROM doc WHERE v = 'v3'",
            "account": "SELECT number FROM account WHERE number < 3",
            "invoice": "VALUES (1), (2)",
        },
        subjects="SELECT customer_id::text FROM invoice WHERE invoice_id < 3 UNION "
        "SELECT holder::text FROM account WHERE number < 3",
    ),
    Shape(
        "union all with a limit, out of a derived table",
        "SELECT u.n FROM (SELECT last_name AS n, customer_id AS k FROM customer UNION ALL "
        "SELECT last_name, employee_id FROM employee ORDER BY k, n LIMIT 5) AS u "
        "WHERE u.k = 2 ORDER BY 1",
        {"customer": "SELECT 2", "employee": "SELECT 2"},
    ),
    Shape(
        "union all of groups",
        "SELECT count(*) FROM customer WHERE customer_id < 4 UNION ALL "
        "SELECT employee_id FROM employee WHERE employee_id = 6 ORDER BY 1",
        {"customer": "VALUES (1), (2), (3)", "employee": "SELECT 6"},
    ),
    Shape(
        "union all that is counted",
        "SELECT count(*) FROM (SELECT last_name FROM customer WHERE customer_id < 4 UNION ALL "
        "SELECT last_name FROM employee) AS u",
        {"customer": "VALUES (1), (2), (3)", "employee": "SELECT employee_id FROM employee"},
    ),
    Shape(
        "distinct rows of a named query, in a derived table",
        "WITH c AS (SELECT country AS x FROM customer WHERE customer_id < 4) "
        "SELECT d.x FROM (SELECT DISTINCT x FROM c) AS d ORDER BY 1",
        {"customer": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "CTE",
        "WITH c(n, k) AS (SELECT last_name, customer_id FROM customer WHERE customer_id < :a) "
        "SELECT n FROM c WHERE k > :b ORDER BY n",
        {"customer": "VALUES (4), (5), (6), (7), (8)"},
        parameters={"a": 9, "b": 3},
    ),
    Shape(
        "CTE used twice",
        "WITH c AS MATERIALIZED (SELECT last_name AS n, customer_id AS k FROM customer "
        "WHERE customer_id < 5) SELECT a.n, b.n FROM c AS a JOIN c AS b ON b.k = a.k + 1 "
        "WHERE a.k = 2",
        {"customer": "VALUES (2), (3)"},
    ),
    Shape(
        "star over a CTE",
        "WITH c AS (SELECT last_name, first_name FROM customer WHERE customer_id < 5) "
        "SELECT * FROM c ORDER BY last_name",
        {"customer": "VALUES (1), (2), (3), (4)"},
    ),
    Shape(
        "grouping CTE joined to a table",
        "WITH t AS (SELECT customer_id AS k, sum(total) AS s FROM invoice GROUP BY customer_id) "
        "SELECT c.last_name, t.s FROM customer c JOIN t ON t.k = c.customer_id WHERE t.s > 46 "
        "ORDER BY 1",
        {
            "customer": "SELECT customer_id FROM invoice GROUP BY 1 HAVING sum(total) > 46",
            "invoice": f"{_INVOICES} WHERE customer_id IN "
            "(SELECT customer_id FROM invoice GROUP BY 1 HAVING sum(total) > 46)",
        },
    ),
    Shape(
        "derived table",
        "SELECT D.n FROM (SELECT last_name n, country k FROM customer WHERE customer_id < 20) D "
        "WHERE d.k = 'Canada' ORDER BY n",
        {"customer": f"{_CUSTOMERS} WHERE customer_id < 20 AND country = 'Canada'"},
    ),
    Shape(
        "derived table whose columns are given other names",
        "SELECT a, b FROM (SELECT customer_id, last_name FROM customer WHERE customer_id < 4) "
        "AS d (a, b) ORDER BY 1",
        {"customer": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "a table whose columns are given other names",
        "SELECT customer_id FROM customer AS c (other, customer_id) WHERE other < 4 ORDER BY 1",
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape(
        "count over a derived table",
        "SELECT count(*) FROM (SELECT customer_id FROM customer WHERE country = 'USA') AS anon_1",
        {"customer": f"{_CUSTOMERS} WHERE country = 'USA'"},
    ),
    Shape(
        "count over distinct rows",
        "SELECT count(*) FROM (SELECT DISTINCT country FROM customer WHERE customer_id < 9) AS d",
        {"customer": f"{_CUSTOMERS} WHERE customer_id < 9"},
    ),
    Shape(
        "distinct inside, filtered outside",
        "SELECT n FROM (SELECT DISTINCT country AS n FROM customer WHERE customer_id < :n) AS d "
        "WHERE n > 'C' ORDER BY n",
        {"customer": f"{_CUSTOMERS} WHERE customer_id < 9"},
        {"customer": "superset"},
        parameters={"n": 9},
    ),
    Shape(
        "distinct rows of a few that may be others",
        "SELECT count(*) FROM (SELECT DISTINCT d.country FROM (SELECT country FROM customer "
        "WHERE customer_id < 9 ORDER BY country LIMIT 4) AS d) AS e",
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape(
        "distinct rows of what only the query around it names, as a table",
        "SELECT count(*) FROM (WITH genre AS (SELECT 1 AS genre_id) SELECT d.x FROM "
        "(SELECT DISTINCT c.country AS x FROM customer c JOIN genre ON genre_id = customer_id) "
        "AS d) AS e",
        {"customer": "", "genre": ""},
        {"customer": "statement", "genre": "statement"},
    ),
    Shape(
        "distinct rows of a lateral query",
        "SELECT c.last_name, x.billing_city FROM customer c CROSS JOIN LATERAL "
        "(SELECT DISTINCT billing_city FROM invoice WHERE invoice.customer_id = c.customer_id) x "
        "WHERE c.customer_id < 3 ORDER BY 1, 2",
        {"customer": "VALUES (1), (2)", "invoice": ""},
        {"invoice": "statement"},
    ),
    Shape(
        "distinct rows of a lateral query that says a column's name alone",
        "SELECT x.phone, x.city FROM customer c CROSS JOIN LATERAL "
        "(SELECT DISTINCT phone, billing_city AS city FROM invoice WHERE invoice_id < 3) x "
        "WHERE c.customer_id = 2",
        {"customer": "SELECT 2", "invoice": ""},
        {"invoice": "statement"},
    ),
    Shape(
        "aggregates of aggregates",
        "SELECT max(n), count(*) FROM (SELECT country, count(*) AS n FROM customer "
        "WHERE customer_id < 9 GROUP BY country) AS d WHERE n > 1",
        {
            "customer": f"{_CUSTOMERS} WHERE customer_id < 9 AND country IN (SELECT country "
            "FROM customer WHERE customer_id < 9 GROUP BY 1 HAVING count(*) > 1)"
        },
    ),
    Shape(
        "aggregates of aggregates of rows with subjects, some of them missing",
        "SELECT a.n, sum(d.n) FROM (VALUES (1), (2)) AS a (n) LEFT JOIN "
        "(SELECT customer_id % 2 AS p, count(*) AS n FROM invoice WHERE invoice_id < 9 "
        "GROUP BY customer_id) AS d ON d.p = a.n GROUP BY a.n ORDER BY 1",
        {"invoice": f"{_INVOICES} WHERE invoice_id < 9 AND customer_id % 2 = 1"},
        subjects="SELECT customer_id FROM invoice WHERE invoice_id < 9 AND customer_id % 2 = 1",
    ),
    Shape(
        "aggregates of aggregates of aggregates",
        "SELECT count(*) FROM (SELECT n FROM (SELECT country, count(*) AS n FROM customer "
        "WHERE customer_id < 9 GROUP BY country) AS d GROUP BY n) AS e WHERE n > 0",
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape(
        "entities over a limited derived table",
        "SELECT c.last_name, i.total FROM (SELECT customer_id AS k, last_name FROM customer "
        "ORDER BY customer_id LIMIT 2) AS c LEFT JOIN invoice i ON i.customer_id = c.k "
        "ORDER BY i.invoice_id",
        {"customer": "VALUES (1), (2)", "invoice": f"{_INVOICES} WHERE customer_id IN (1, 2)"},
    ),
    Shape(
        "lateral",
        "SELECT c.last_name, x.total FROM customer c LEFT JOIN LATERAL "
        "(SELECT total FROM invoice i WHERE i.customer_id = c.customer_id "
        "ORDER BY total DESC LIMIT 1) x ON true WHERE c.customer_id < 3 ORDER BY 1",
        {
            "customer": "VALUES (1), (2)",
            "invoice": "(SELECT invoice_id FROM invoice WHERE customer_id = 1 "
            "ORDER BY total DESC LIMIT 1) UNION (SELECT invoice_id FROM invoice "
            "WHERE customer_id = 2 ORDER BY total DESC LIMIT 1)",
        },
    ),
    Shape(
        "scalar subquery handed out",
        "SELECT last_name, (SELECT max(total) FROM invoice WHERE customer_id = 6) FROM customer "
        "WHERE customer_id = 2",
        {"customer": "SELECT 2", "invoice": f"{_INVOICES} WHERE customer_id = 6"},
    ),
    Shape(
        "correlated subqueries with parameters, of one row and of many",
        "SELECT last_name, (SELECT count(*) FROM invoice i WHERE i.customer_id = c.customer_id "
        "AND i.total > :least), (SELECT e.city FROM employee e WHERE e.employee_id = "
        "c.support_rep_id) FROM customer c WHERE c.customer_id IN (:a, :b) ORDER BY 1",
        {
            "customer": "VALUES (2), (3)",
            "invoice": f"{_INVOICES} WHERE customer_id IN (2, 3) AND total > 10",
            "employee": "SELECT support_rep_id FROM customer WHERE customer_id IN (2, 3)",
        },
        parameters={"least": 10, "a": 2, "b": 3},
    ),
    Shape(
        "the first of many, asked twice, may be another",
        "SELECT last_name, (SELECT i.total FROM invoice i WHERE i.customer_id = c.customer_id "
        "ORDER BY i.total DESC LIMIT 1) FROM customer c WHERE c.customer_id < 4 ORDER BY 1",
        {"customer": "VALUES (1), (2), (3)", "invoice": ""},
        {"invoice": "statement"},
    ),
    Shape(
        "a subquery beside an aggregate, by uuid",
        "SELECT d.owner, count(*), (SELECT max(v) FROM doc e WHERE e.owner = d.owner "
        "AND e.v < 'v2') FROM doc d WHERE d.owner < 2 GROUP BY d.owner ORDER BY 1",
        {"doc": "SELECT id FROM doc WHERE owner < 2"},
    ),
    Shape(
        "a subquery that finds nothing",
        "SELECT last_name, (SELECT total FROM invoice WHERE invoice_id = 5000) FROM customer "
        "WHERE customer_id = 2",
        {"customer": "SELECT 2", "invoice": ""},
    ),
    Shape(
        "a subquery that can't be asked twice",
        "SELECT last_name, (SELECT total FROM invoice ORDER BY random() LIMIT 1) IS NULL "
        "FROM customer WHERE customer_id = 2",
        {"customer": "SELECT 2", "invoice": ""},
        {"invoice": "statement"},
    ),
    Shape(
        "a subquery in a distinct one",
        "SELECT DISTINCT country, (SELECT max(total) FROM invoice) FROM customer "
        "WHERE customer_id < 5 ORDER BY 1",
        {"customer": f"{_CUSTOMERS} WHERE customer_id < 5", "invoice": ""},
        {"invoice": "superset"},
    ),
    Shape(
        "an array from a subquery",
        "SELECT last_name, ARRAY(SELECT total FROM invoice i WHERE i.customer_id = c.customer_id "
        "ORDER BY 1) FROM customer c WHERE customer_id = 2",
        {"customer": "SELECT 2", "invoice": f"{_INVOICES} WHERE customer_id = 2"},
    ),
    Shape(
        "EXISTS only consults",
        "SELECT last_name FROM customer c WHERE EXISTS (SELECT 1 FROM invoice i "
        "WHERE i.customer_id = c.customer_id AND i.total > 22) ORDER BY 1",
        {"customer": "SELECT customer_id FROM invoice WHERE total > 22"},
        consulted=("invoice",),
    ),
    Shape(
        "ANY of a subquery only consults",
        "SELECT last_name FROM customer WHERE customer_id = ANY "
        "(SELECT customer_id FROM invoice WHERE total > 22) ORDER BY 1",
        {"customer": "SELECT customer_id FROM invoice WHERE total > 22"},
        consulted=("invoice",),
    ),
    Shape(
        "row numbers",
        "SELECT last_name, row_number() OVER (ORDER BY last_name) FROM customer "
        "WHERE customer_id < 9 ORDER BY 2 FETCH FIRST 3 ROWS ONLY",
        {"customer": f"{_CUSTOMERS} WHERE customer_id < 9 ORDER BY last_name LIMIT 3"},
    ),
    Shape(
        "running total",
        "SELECT total, sum(total) OVER w FROM invoice WHERE customer_id = 2 "
        "WINDOW w AS (ORDER BY invoice_id) ORDER BY invoice_id",
        {"invoice": f"{_INVOICES} WHERE customer_id = 2"},
        subjects="SELECT 2",
    ),
    Shape(
        "running total with a limit",
        "SELECT total, sum(total) OVER (ORDER BY invoice_id) FROM invoice "
        "WHERE customer_id = :c ORDER BY invoice_id LIMIT 2",
        {"invoice": ""},
        {"invoice": "statement"},
        parameters={"c": 2},
    ),
    Shape(
        "running total in a derived table, filtered",
        "SELECT d.s FROM (SELECT sum(total) OVER (ORDER BY invoice_id) AS s FROM invoice "
        "WHERE customer_id = 2) AS d WHERE d.s > 5 ORDER BY 1",
        {"invoice": f"{_INVOICES} WHERE customer_id = 2"},
        {"invoice": "superset"},
    ),
    Shape(
        "the value of the row before, of a group, from a named query",
        "WITH t AS (SELECT billing_country AS c, sum(total) AS s FROM invoice "
        "WHERE invoice_id < 40 GROUP BY 1) SELECT c, s - lag(s) OVER (ORDER BY c) FROM t "
        "ORDER BY 1",
        {"invoice": f"{_INVOICES} WHERE invoice_id < 40"},
    ),
    Shape(
        "limit and offset",
        "SELECT name FROM track ORDER BY track_id LIMIT :n OFFSET :m",
        {"track": "VALUES (11), (12), (13)"},
        parameters={"n": 3, "m": 10},
    ),
    Shape(
        "rows that are locked",
        "SELECT v FROM vault WHERE id = 2 FOR NO KEY UPDATE OF vault SKIP LOCKED",
        {"vault": "SELECT 2"},
    ),
    Shape(
        "composite key, half of it selected",
        "SELECT playlist_id FROM playlist_track WHERE track_id = 3402 ORDER BY 1",
        {
            "playlist_track": "SELECT playlist_id || '/' || track_id FROM playlist_track "
            "WHERE track_id = 3402"
        },
    ),
    Shape(
        "count over a composite key",
        "SELECT count(*) FROM playlist_track WHERE playlist_id = 17",
        {
            "playlist_track": "SELECT playlist_id || '/' || track_id FROM playlist_track "
            "WHERE playlist_id = 17"
        },
    ),
    Shape(
        "composite key of several types, in another order than its columns",
        'SELECT who FROM seat ORDER BY plane, "row"',
        {"seat": """SELECT plane || '/' || letter || '/' || "row" FROM seat"""},
    ),
    Shape(
        "the same, aggregated",
        "SELECT count(who) FROM seat WHERE letter <> ''",
        {"seat": """SELECT plane || '/' || letter || '/' || "row" FROM seat"""},
    ),
    Shape(
        "table without a key",
        "SELECT body FROM note ORDER BY body",
        {"note": ""},
        {"note": "statement"},
    ),
    Shape(
        "names that need quotes",
        'SELECT "a b", "select" FROM "Odd ""name" AS "x Y" ORDER BY "select"',
        {'odd "name': 'SELECT "The Key" FROM "Odd ""name"'},
    ),
    Shape("uuid, selected", "SELECT id, v FROM doc ORDER BY v", {"doc": "SELECT id FROM doc"}),
    Shape("uuid, hidden", "SELECT v FROM doc ORDER BY v", {"doc": "SELECT id FROM doc"}),
    Shape(
        "uuid, aggregated",
        "SELECT owner, count(*) FROM doc GROUP BY owner ORDER BY 1",
        {"doc": "SELECT id FROM doc"},
    ),
    Shape(
        "longer subject path",
        "SELECT unit_price FROM invoice_line WHERE invoice_line_id < 3",
        {"invoice_line": "VALUES (1), (2)"},
        subjects="SELECT customer_id FROM invoice JOIN invoice_line USING (invoice_id) "
        "WHERE invoice_line_id < 3",
    ),
    Shape(
        "longer subject path, aggregated and derived",
        "SELECT d.n FROM (SELECT track_id, count(*) AS n FROM invoice_line WHERE track_id < 20 "
        "GROUP BY track_id) AS d WHERE d.track_id > 5 ORDER BY d.track_id",
        {
            "invoice_line": "SELECT invoice_line_id FROM invoice_line WHERE track_id < 20 "
            "AND track_id > 5"
        },
        subjects="SELECT customer_id FROM invoice JOIN invoice_line USING (invoice_id) "
        "WHERE track_id < 20 AND track_id > 5",
    ),
    Shape(
        "numeric, selected",
        "SELECT number FROM account ORDER BY 1",
        {"account": "SELECT number FROM account"},
        subjects="SELECT holder FROM account",
    ),
    Shape(
        "numeric with uuid subjects, aggregated",
        "SELECT count(*) FROM account WHERE number > 3",
        {"account": "SELECT number FROM account WHERE number > 3"},
        subjects="SELECT holder FROM account WHERE number > 3",
    ),
    Shape("padded, hidden", "SELECT v FROM padded", {"padded": "SELECT concat(code) FROM padded"}),
    Shape(
        "padded, selected", "SELECT code FROM padded", {"padded": "SELECT concat(code) FROM padded"}
    ),
    Shape("large integers", "SELECT v FROM large ORDER BY 1", {"large": "SELECT id FROM large"}),
    Shape(
        "large integers, aggregated",
        "SELECT count(*) FROM large WHERE v <> ''",
        {"large": "SELECT id FROM large"},
    ),
    Shape("booleans", "SELECT is_on FROM flag ORDER BY 1", {"flag": "SELECT is_on FROM flag"}),
    Shape(
        "a key whose text form hangs on settings",
        "SELECT v FROM daily",
        {"daily": ""},
        {"daily": "statement"},
    ),
    Shape(
        "comments, strings and semicolons",
        "SELECT /* FROM /* invoice */ */ last_name, 'a;b''c -- FROM' AS x, E'it\\'s', $$a'b$$ "
        "-- , invoice_id\nFROM customer -- WHERE\nWHERE customer_id = 3 /* ; */ ;",
        {"customer": "SELECT 3"},
    ),
    Shape(
        "a name that looks like ours",
        "SELECT last_name AS indelible_1 FROM customer WHERE customer_id = 3 ORDER BY indelible_1",
        {"customer": "SELECT 3"},
    ),
    Shape(
        "whole rows as values",
        "SELECT i.total, row_to_json(c), (c).city FROM invoice i JOIN customer c "
        "ON c.customer_id = i.customer_id WHERE i.invoice_id = 9",
        {"invoice": "SELECT 9", "customer": "SELECT customer_id FROM invoice WHERE invoice_id = 9"},
    ),
    Shape(
        "whole rows of a derived table as values",
        "SELECT row_to_json(d)::text FROM (SELECT last_name AS n FROM customer "
        "WHERE customer_id < 3) AS d ORDER BY 1",
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape(
        "a function of whole rows of a derived table, written as a column",
        "SELECT d.to_jsonb::text FROM (SELECT last_name AS n FROM customer "
        "WHERE customer_id < 3) AS d ORDER BY 1",
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape(
        "a column of a derived table of a function's name",
        "SELECT d.max, d.left FROM (SELECT max(last_name), left(country, 1) FROM customer "
        "WHERE customer_id < 3 GROUP BY 2) AS d ORDER BY 1",
        {"customer": "VALUES (1), (2)"},
    ),
    Shape(
        "whole rows of a lateral query",
        "SELECT c.customer_id, to_jsonb(l)::text FROM customer c CROSS JOIN LATERAL "
        "(SELECT i.total FROM invoice i WHERE i.customer_id = c.customer_id "
        "ORDER BY i.invoice_id LIMIT 1) AS l WHERE c.customer_id < 3 ORDER BY 1",
        {"customer": "", "invoice": ""},
        {"customer": "statement", "invoice": "statement"},
    ),
    Shape(
        "a column of a named query's own name",
        "WITH country(country) AS (SELECT country FROM customer WHERE customer_id < 3) "
        "SELECT country FROM country ORDER BY 1",
        {"customer": "VALUES (1), (2)"},
    ),
    Shape(
        "whole rows of a named query, grouped and counted",
        "WITH c AS (SELECT country FROM customer WHERE customer_id < 9) "
        "SELECT v.country, count(v), count(v.*) FROM c AS v GROUP BY v, v.country ORDER BY 1",
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape(
        "a function of the row, written as a column",
        "SELECT i.total, c.full_name FROM invoice i JOIN customer c USING (customer_id) "
        "WHERE i.invoice_id = 9",
        {"invoice": "SELECT 9", "customer": "SELECT customer_id FROM invoice WHERE invoice_id = 9"},
    ),
    Shape(
        "set-returning function beside the key",
        "SELECT genre_id, generate_series(1, 3) FROM genre WHERE genre_id < 3 ORDER BY 1, 2",
        {"genre": "VALUES (1), (2)"},
    ),
    Shape(
        "join with functions",
        "SELECT last_name, n FROM generate_series(3, 4) AS g(n) JOIN customer c "
        "ON c.customer_id = g.n JOIN unnest(ARRAY[3, 4]) AS u ON u = n ORDER BY 1",
        {"customer": "VALUES (3), (4)"},
    ),
    Shape(
        "values joined",
        "SELECT v.b, c.last_name FROM (VALUES (3, 'x'), (4, 'y')) AS v(a, b) JOIN customer c "
        "ON c.customer_id = v.a ORDER BY 1",
        {"customer": "VALUES (3), (4)"},
    ),
    Shape(
        "partitioned table",
        "SELECT v FROM measured ORDER BY v",
        {"measured": "SELECT id || '/' || at FROM measured"},
    ),
    Shape(
        "a partition by its own name",
        "SELECT v FROM measured_2",
        {"measured": ""},
        {"measured": "statement"},
    ),
    Shape(
        "a table that others inherit from",
        "SELECT name FROM beast ORDER BY 1",
        {"beast": ""},
        {"beast": "statement"},
    ),
    Shape(
        "a table of another schema, and a namesake in it",
        "SELECT a.first_name, b.first_name FROM crm.customer a JOIN customer b "
        "ON b.customer_id = a.customer_id ORDER BY 1",
        {"crm.customer": "VALUES (7), (8)", "customer": "VALUES (7), (8)"},
    ),
    Shape(
        "view",
        "SELECT first_name FROM canadian ORDER BY 1",
        {"customer": f"{_CUSTOMERS} WHERE country = 'Canada'"},
        subjects=f"{_CUSTOMERS} WHERE country = 'Canada'",
    ),
    Shape(
        "star over a view, with a parameter, that finds nothing",
        "SELECT v.* FROM public.canadian AS v WHERE v.customer_id = :id",
        {"customer": ""},
        parameters={"id": 2},
    ),
    Shape(
        "star over a view, with a limit",
        "SELECT * FROM canadian ORDER BY customer_id LIMIT 2",
        {"customer": "VALUES (3), (14)"},
    ),
    Shape(
        "view over a view, of an outer join",
        "SELECT who, total FROM bought ORDER BY 1, 2",
        {
            "customer": f"{_CUSTOMERS} WHERE country = 'Canada'",
            "invoice": "SELECT invoice_id FROM invoice JOIN customer USING (customer_id) "
            "WHERE country = 'Canada' AND total > 5",
        },
    ),
    Shape(
        "view of which one table is handed out",
        "SELECT total FROM bought WHERE who = 3 ORDER BY 1",
        {"invoice": f"{_INVOICES} WHERE customer_id = 3 AND total > 5"},
        subjects="SELECT 3",
        consulted=("customer",),
    ),
    Shape(
        "whole row of a view",
        "SELECT row_to_json(b)::text FROM bought b WHERE nr IS NULL",
        {"customer": "SELECT who FROM bought WHERE nr IS NULL", "invoice": ""},
    ),
    Shape(
        "view of a composite key",
        'SELECT "Who" FROM seats ORDER BY plane, "row"',
        {"seat": "SELECT concat_ws('/', plane, letter, \"row\") FROM seat"},
    ),
    Shape(
        "view that doesn't hand out every key",
        "SELECT last_name FROM invoiced WHERE invoice_id = 9",
        {"customer": "SELECT customer_id FROM invoice WHERE invoice_id = 9", "invoice": "SELECT 9"},
    ),
    Shape(
        "view that doesn't hand out every key, of which that isn't asked",
        "SELECT invoice_id FROM invoiced WHERE invoice_id = 9",
        {"invoice": "SELECT 9", "customer": "SELECT customer_id FROM invoice WHERE invoice_id = 9"},
    ),
    Shape(
        "view with names that may be taken for others",
        'SELECT "select" FROM "Odd ""view" ORDER BY 1',
        {'odd "name': ""},
        {'odd "name': "statement"},
    ),
    Shape(
        "view of groups",
        "SELECT s FROM spent WHERE customer_id = :c",
        {"invoice": f"{_INVOICES} WHERE customer_id = 2"},
        subjects="SELECT 2",
        parameters={"c": 2},
    ),
    Shape(
        "view of groups, counted",
        "SELECT count(*), max(s) FROM spent WHERE customer_id IN (:a, :b)",
        {"invoice": f"{_INVOICES} WHERE customer_id IN (2, 3)"},
        parameters={"a": 2, "b": 3},
    ),
    Shape(
        "view of groups joined to a table, with a limit",
        "SELECT last_name, s FROM customer JOIN spent USING (customer_id) "
        "ORDER BY s DESC, 1 LIMIT 2",
        {
            "customer": "SELECT customer_id FROM invoice GROUP BY 1 ORDER BY sum(total) DESC "
            "LIMIT 2",
            "invoice": "",
        },
        {"invoice": "statement"},
    ),
    Shape(
        "view of distinct rows, under another name, beside a view with its key",
        "SELECT a.n, b.first_name FROM nations AS a (n) LEFT JOIN canadian b ON b.first_name = a.n "
        "WHERE a.n < 'B' ORDER BY 1",
        {"customer": _CUSTOMERS},
        {"customer": "superset"},
    ),
    Shape(
        "view of distinct rows, all of it",
        "SELECT count(*) FROM nations",
        {"customer": _CUSTOMERS},
    ),
    Shape(
        "view of running totals",
        "SELECT upto FROM running WHERE customer_id = 2 ORDER BY 1",
        {"invoice": ""},
        {"invoice": "statement"},
    ),
    Shape(
        "view of what a function that differs each time leaves",
        "SELECT name FROM lucky ORDER BY 1",
        {"genre": ""},
        {"genre": "statement"},
    ),
    Shape(
        "a named query of a view's name",
        "WITH spent(s) AS (SELECT total FROM invoice WHERE invoice_id = 9) SELECT s FROM spent",
        {"invoice": "SELECT 9"},
    ),
    Shape(
        "a view that reads what the statement calls something else",
        "WITH invoice AS (SELECT 1 AS x) SELECT s, x FROM spent, invoice WHERE customer_id = 2",
        {"invoice": ""},
        {"invoice": "statement"},
    ),
    Shape(
        "view that calls what may read anything",
        "SELECT genre_id FROM peeking WHERE genre_id = 1",
        {"genre": ""},
        {"genre": "statement"},
    ),
    Shape(
        "view with a limit",
        "SELECT billing_city FROM dearest ORDER BY 1",
        {"invoice": f"{_INVOICES} ORDER BY total DESC, invoice_id LIMIT 4"},
    ),
    Shape(
        "view, counted, grouped",
        "SELECT first_name, count(*) FROM canadian GROUP BY 1 HAVING count(*) > 0 ORDER BY 1",
        {"customer": f"{_CUSTOMERS} WHERE country = 'Canada'"},
    ),
    Shape(
        "distinct over a view",
        "SELECT DISTINCT left(first_name, 1) FROM canadian ORDER BY 1",
        {"customer": f"{_CUSTOMERS} WHERE country = 'Canada'"},
    ),
    Shape(
        "view joined with itself, in a named query, in a set operation",
        "WITH v AS (SELECT a.first_name AS x, b.first_name AS y FROM canadian a JOIN canadian b "
        "ON b.customer_id = a.customer_id + 1 WHERE a.customer_id = 14) SELECT x, y FROM v "
        "UNION ALL SELECT name, name FROM genre WHERE genre_id = 1 ORDER BY 1",
        {"customer": "VALUES (14), (15)", "genre": "SELECT 1"},
    ),
    Shape(
        "view in a query in the select list",
        "SELECT name, (SELECT max(first_name) FROM canadian WHERE customer_id > genre_id + 30) "
        "FROM genre WHERE genre_id = 1",
        {"genre": "SELECT 1", "customer": "VALUES (32), (33)"},
    ),
    Shape(
        "a view whose columns are given other names",
        "SELECT customer_id FROM canadian AS c (other, customer_id) WHERE other < 4 ORDER BY 1",
        {"customer": "SELECT 3"},
    ),
    Shape(
        "view over views, in another schema",
        "SELECT first_name FROM crm.far ORDER BY 1",
        {"customer": f"{_CUSTOMERS} WHERE country = 'Canada'", "crm.lead": "SELECT 1"},
    ),
    Shape(
        "materialized view",
        "SELECT count(*) FROM totals",
        {"invoice": ""},
        {"invoice": "statement"},
    ),
    Shape(
        "recursive CTE",
        "WITH RECURSIVE tree(id, name) AS (SELECT id, name FROM part WHERE id = 1 UNION ALL "
        "SELECT p.id, p.name FROM part p JOIN tree t ON p.parent = t.id) "
        "SELECT name FROM tree ORDER BY 1",
        {"part": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "recursive CTE that counts, filtered, with a path that only sorts",
        "WITH RECURSIVE tree AS (SELECT id, name, 0 AS depth, ARRAY[id] AS path FROM part "
        "WHERE parent IS NULL UNION ALL SELECT p.id, p.name, depth + 1, path || p.id FROM tree "
        "JOIN part p ON p.parent = tree.id) "
        "SELECT name, depth FROM tree WHERE depth >= :n ORDER BY path DESC",
        {"part": "VALUES (2), (3)"},
        parameters={"n": 1},
    ),
    Shape(
        "recursive CTE whose rows hold what others said, all of them",
        "WITH RECURSIVE tree(id, path) AS (SELECT id, name FROM part WHERE id = 1 UNION ALL "
        "SELECT p.id, t.path || '/' || p.name FROM part p JOIN tree t ON p.parent = t.id) "
        "SELECT t.* FROM tree t ORDER BY path DESC",
        {"part": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "recursive CTE whose rows hold what others said, one of a kind",
        "WITH RECURSIVE tree(id, path) AS (SELECT id, name FROM part WHERE id = 1 UNION ALL "
        "SELECT p.id, t.path || '/' || p.name FROM part p JOIN tree t ON p.parent = t.id) "
        "SELECT DISTINCT ON (left(path, 1)) path FROM tree ORDER BY left(path, 1), path DESC",
        {"part": ""},
        {"part": "statement"},
    ),
    Shape(
        "recursive CTE whose rows hold what others said",
        "WITH RECURSIVE tree(id, path) AS (SELECT id, name FROM part WHERE id = 1 UNION ALL "
        "SELECT p.id, t.path || '/' || p.name FROM part p JOIN tree t ON p.parent = t.id) "
        "SELECT path FROM tree WHERE id = 3",
        {"part": ""},
        {"part": "statement"},
    ),
    Shape(
        "recursive CTE whose whole row is a value",
        "WITH RECURSIVE tree(id, path) AS (SELECT id, name FROM part WHERE id = 1 UNION ALL "
        "SELECT p.id, t.path || '/' || p.name FROM part p JOIN tree t ON p.parent = t.id) "
        "SELECT row_to_json(t)::text FROM tree t WHERE id = 3",
        {"part": ""},
        {"part": "statement"},
    ),
    Shape(
        "star over a recursive CTE, from a row that is no table's, by two tables",
        "WITH RECURSIVE up(id, name, n) AS (SELECT 3, 'start', 0 UNION ALL "
        "SELECT p.parent, coalesce(p.name, d.v), n + 1 FROM up JOIN part p ON p.id = up.id "
        "LEFT JOIN doc d ON d.v = 'v' || p.parent WHERE n < 5) SELECT * FROM up ORDER BY n",
        {
            "part": "VALUES (1), (2), (3)",
            "doc": "SELECT id FROM doc WHERE v IN ('v1', 'v2')",
        },
    ),
    Shape(
        "recursive CTE of distinct rows",
        "WITH RECURSIVE tree(id, name) AS (SELECT id, name FROM part WHERE id = 1 UNION "
        "SELECT p.id, p.name FROM part p JOIN tree t ON p.parent = t.id) "
        "SELECT name FROM tree ORDER BY 1",
        {"part": ""},
        {"part": "statement"},
    ),
    Shape(
        "numbers that a recursive CTE makes, beside a table",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) "
        "SELECT i, name FROM n JOIN genre ON genre_id = i ORDER BY i",
        {"genre": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "a named query of a table's name, without RECURSIVE",
        "WITH part AS (SELECT id, name FROM part WHERE id = 1 UNION ALL "
        "SELECT id, name FROM part WHERE id = 3) SELECT name FROM part ORDER BY 1",
        {"part": ""},
        {"part": "statement"},
    ),
    Shape(
        "a function that may read anything",
        "SELECT peek(), last_name FROM customer WHERE customer_id = 3",
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape(
        "a function that is called as a part of the grammar is",
        "SELECT crm.trim(1), last_name FROM customer WHERE customer_id = 3",
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape(
        "a function that hangs on its arguments alone",
        "SELECT shout(last_name) FROM customer WHERE customer_id = 3",
        {"customer": "SELECT 3"},
    ),
    Shape(
        "a function that reads tables named in a string",
        "SELECT name, query_to_xml('SELECT 1', true, true, '')::text FROM genre WHERE genre_id = 1",
        {"genre": ""},
        {"genre": "statement"},
    ),
    Shape(
        "text that may be quoted in two ways",
        "SELECT last_name FROM customer WHERE last_name = 'a\\b'",
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape("no table at all", "SELECT 1, 'x', 2.5, NULL, current_date IS NULL"),
    Shape("values", "VALUES (1, 'a'), (2, 'b')"),
    Shape(
        "explain analyze",
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT * FROM genre",
    ),
    Shape("explain", "EXPLAIN (COSTS OFF) SELECT * FROM customer"),
    Shape("setting", "SHOW transaction_isolation"),
    Shape("table whose reads aren't captured", "SELECT v FROM unwatched"),
    Shape("catalogue", "SELECT relname FROM pg_class WHERE relname = 'pg_proc'"),
    Shape(
        "information schema",
        "SELECT table_name FROM information_schema.tables WHERE table_name = 'invoice'",
    ),
]
