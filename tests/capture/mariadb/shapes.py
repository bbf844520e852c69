"""Every shape of read on MariaDB, with a key query written by hand for each table it reads.

As in `postgres/shapes.py`.
"""

from __future__ import annotations

from tests.capture.postgres.shapes import Shape

SAMPLE_TABLES = (
    "CREATE TABLE note (customer INT, body VARCHAR(20))",
    "INSERT INTO note VALUES (1, 'a'), (NULL, 'b')",
    "CREATE TABLE seat (plane VARCHAR(9), `row` SMALLINT, letter CHAR(4), who TEXT,"
    " PRIMARY KEY (plane, letter, `row`))",
    "INSERT INTO seat VALUES ('a', 1, 'A', 'x'), ('a', 2, 'B', 'y'), ('b', 1, 'Ä', NULL),"
    " ('{,\"', 3, '?', 'z')",
    "CREATE TABLE `odd ``name` (`The Key` VARCHAR(20) PRIMARY KEY, `select` TEXT, `a b` DOUBLE)",
    "INSERT INTO `odd ``name` VALUES ('k''1', 'one', 0.1), ('k\"2', 'two', 1e300), ('', '3', 3)",
    "CREATE TABLE doc (id UUID PRIMARY KEY, owner INT, v VARCHAR(9))",
    "INSERT INTO doc SELECT CONCAT(LPAD(HEX(seq), 8, 'a'), '-0000-4000-8000-000000000000'),"
    " seq % 5, CONCAT('v', seq) FROM seq_1_to_40",
    "CREATE TABLE token (id CHAR(36) CHARACTER SET latin1 PRIMARY KEY, owner INT, v VARCHAR(9))",
    "INSERT INTO token VALUES ('größe', 1, 'a'), ('b', 2, 'b'), ('c ', 3, 'c')",
    "CREATE TABLE account (number DECIMAL(12,2) PRIMARY KEY, v VARCHAR(9))",
    "INSERT INTO account VALUES (1.5, 'a')",
    "CREATE TABLE large (id BIGINT UNSIGNED PRIMARY KEY, v VARCHAR(9))",
    "INSERT INTO large VALUES (18446744073709551615, 'a'), (7, 'b')",
    "CREATE TABLE small (y YEAR PRIMARY KEY, v VARCHAR(9))",
    "INSERT INTO small VALUES (2026, 'a'), (0, 'b')",
    "CREATE TABLE stamped (at TIMESTAMP PRIMARY KEY, v VARCHAR(9))",
    "INSERT INTO stamped VALUES ('2026-01-02', 'a')",
    "CREATE TABLE percent (id INT PRIMARY KEY, `100%` INT)",
    "INSERT INTO percent VALUES (1, 2)",
    "CREATE TABLE secretive (x INT INVISIBLE, id INT PRIMARY KEY, v VARCHAR(9))",
    "INSERT INTO secretive (x, id, v) VALUES (5, 1, 'a'), (6, 2, 'b')",
    "CREATE TABLE unwatched (id INT PRIMARY KEY, v VARCHAR(9))",
    "INSERT INTO unwatched VALUES (1, 'u')",
    "CREATE TABLE vault (id INT PRIMARY KEY, v VARCHAR(9))",
    "INSERT INTO vault VALUES (1, 'gold'), (2, 'silver')",
    "CREATE TABLE Vault2 (id INT PRIMARY KEY, v VARCHAR(9))",
    "INSERT INTO Vault2 VALUES (1, 'lead')",
    "CREATE TABLE part (id INT PRIMARY KEY, parent INT, name VARCHAR(9))",
    "INSERT INTO part VALUES (1, NULL, 'car'), (2, 1, 'wheel'), (3, 2, 'tyre'), (4, NULL, 'bike')",
    "CREATE TABLE spelled (id INT PRIMARY KEY, v VARCHAR(9))",
    "INSERT INTO spelled VALUES (3, 'ab'), (1, 'AB'), (2, 'Ab'), (4, 'c'), (5, 'aB')",
    "CREATE VIEW canadian AS SELECT CustomerId, FirstName FROM Customer WHERE Country = 'Canada'",
    "CREATE VIEW bought AS SELECT c.CustomerId AS who, i.Total, i.InvoiceId AS `n``r`, "
    "i.CustomerId AS o FROM canadian c LEFT JOIN Invoice i ON i.CustomerId = c.CustomerId "
    "AND i.Total > 5",
    "CREATE VIEW named (id, t) AS SELECT v, id FROM token",
    "CREATE VIEW spent AS SELECT CustomerId, sum(Total) AS s FROM Invoice GROUP BY CustomerId",
    "CREATE VIEW nations AS SELECT DISTINCT Country FROM Customer",
    "CREATE VIEW people (n) AS SELECT FirstName FROM canadian UNION "
    "SELECT LastName FROM Employee WHERE EmployeeId > 6",
    "CREATE VIEW invoiced AS SELECT i.InvoiceId, c.LastName FROM Invoice i JOIN Customer c "
    "ON c.CustomerId = i.CustomerId",
    "CREATE VIEW lucky AS SELECT GenreId, RAND() AS r FROM Genre WHERE RAND() < 2",
    "CREATE FUNCTION peek() RETURNS VARCHAR(9) READS SQL DATA "
    "RETURN (SELECT v FROM vault WHERE id = 1)",
    "CREATE VIEW peeking AS SELECT GenreId, peek() AS p FROM Genre",
    "CREATE FUNCTION concat_ws(a INT) RETURNS VARCHAR(9) READS SQL DATA "
    "RETURN (SELECT v FROM vault WHERE id = a)",
)

_CUSTOMERS = "SELECT CustomerId FROM Customer"
_INVOICES = "SELECT InvoiceId FROM Invoice"


def _told_by_statement(
    name: str, sql: str, *kinds: str, consulted: tuple[str, ...] = (), **parameters: object
) -> Shape:
    return Shape(
        name,
        sql,
        dict.fromkeys(kinds, ""),
        dict.fromkeys(kinds, "statement"),
        parameters=parameters,
        consulted=consulted,
    )


SHAPES = [
    Shape(
        "get by key",
        "SELECT * FROM Customer WHERE CustomerId = :id",
        {"customer": "SELECT 5"},
        subjects="SELECT 5",
        parameters={"id": 5},
    ),
    Shape(
        "get that finds nothing",
        "SELECT * FROM Customer WHERE CustomerId = :id",
        {"customer": ""},
        subjects="",
        parameters={"id": 5000},
    ),
    Shape(
        "list with the key selected",
        "SELECT CustomerId, FirstName FROM Customer ORDER BY FirstName, 1",
        {"customer": _CUSTOMERS},
    ),
    Shape(
        "columns without the key",
        "SELECT FirstName, LastName FROM Customer WHERE Country = :country ORDER BY 2",
        {"customer": f"{_CUSTOMERS} WHERE Country = 'USA'"},
        parameters={"country": "USA"},
    ),
    Shape(
        "an expression alone",
        "SELECT CONCAT(FirstName, LastName) AS name FROM Customer WHERE Country = 'USA' ORDER BY 1",
        {"customer": f"{_CUSTOMERS} WHERE Country = 'USA'"},
    ),
    Shape(
        "subject column fetched beside the key",
        "SELECT InvoiceId, Total FROM Invoice WHERE Total > 15 ORDER BY 1",
        {"invoice": f"{_INVOICES} WHERE Total > 15"},
        subjects="SELECT CustomerId FROM Invoice WHERE Total > 15",
    ),
    Shape(
        "longer subject path",
        "SELECT UnitPrice FROM InvoiceLine WHERE InvoiceLineId < 3",
        {"invoiceline": "VALUES (1), (2)"},
        subjects="SELECT CustomerId FROM Invoice JOIN InvoiceLine USING (InvoiceId) "
        "WHERE InvoiceLineId < 3",
    ),
    Shape(
        "longer subject path, out of a derived table, with a limit",
        "SELECT d.p FROM (SELECT UnitPrice AS p, InvoiceLineId AS k FROM InvoiceLine "
        "ORDER BY InvoiceLineId LIMIT 5) AS d WHERE d.k > 3 ORDER BY d.k",
        {"invoiceline": "VALUES (4), (5)"},
        subjects="SELECT CustomerId FROM Invoice JOIN InvoiceLine USING (InvoiceId) "
        "WHERE InvoiceLineId IN (4, 5)",
    ),
    Shape(
        "join",
        "SELECT c.FirstName, i.Total FROM Customer c JOIN Invoice i "
        "ON i.CustomerId = c.CustomerId WHERE c.Country = 'Canada' AND i.Total > 5 "
        "ORDER BY i.InvoiceId",
        {
            "customer": "SELECT CustomerId FROM Invoice JOIN Customer USING (CustomerId) "
            "WHERE Country = 'Canada' AND Total > 5",
            "invoice": "SELECT InvoiceId FROM Invoice JOIN Customer USING (CustomerId) "
            "WHERE Country = 'Canada' AND Total > 5",
        },
    ),
    Shape(
        "aliases in quotes, a comma",
        "SELECT a.FirstName, `B ``b`.Total FROM Customer a, Invoice AS `B ``b` "
        "WHERE `B ``b`.CustomerId = a.CustomerId AND Total > 20 ORDER BY Total, 1",
        {
            "customer": "SELECT CustomerId FROM Invoice WHERE Total > 20",
            "invoice": f"{_INVOICES} WHERE Total > 20",
        },
    ),
    _told_by_statement(
        "aliases that differ in case only",
        "SELECT a.*, A.FirstName FROM Customer a JOIN Customer A ON a.CustomerId = A.SupportRepId "
        "WHERE A.CustomerId < 4 ORDER BY A.CustomerId",
        "customer",
    ),
    Shape(
        "outer join whose other side is missing",
        "SELECT e.FirstName, c.FirstName FROM Employee e LEFT JOIN Customer c "
        "ON c.SupportRepId = e.EmployeeId WHERE e.EmployeeId IN (1, 3) ORDER BY e.EmployeeId, 2",
        {"employee": "VALUES (1), (3)", "customer": f"{_CUSTOMERS} WHERE SupportRepId = 3"},
    ),
    Shape(
        "right join whose other side is missing, of texts",
        "SELECT t.v, c.FirstName FROM token t RIGHT JOIN Customer c ON c.CustomerId = t.owner "
        "WHERE c.CustomerId IN (1, 9) ORDER BY 2",
        {"token": "SELECT id FROM token WHERE owner = 1", "customer": "VALUES (1), (9)"},
    ),
    Shape(
        "join USING",
        "SELECT * FROM Invoice JOIN Customer USING (CustomerId) WHERE Total > 20 ORDER BY 1, 2",
        {
            "customer": "SELECT CustomerId FROM Invoice WHERE Total > 20",
            "invoice": f"{_INVOICES} WHERE Total > 20",
        },
    ),
    Shape(
        "natural join",
        "SELECT Title FROM Album NATURAL JOIN Artist WHERE ArtistId = 1 ORDER BY 1",
        {"album": "SELECT AlbumId FROM Album WHERE ArtistId = 1"},
    ),
    Shape(
        "self-join by aliases",
        "SELECT e.FirstName, m.FirstName FROM Employee AS e LEFT JOIN Employee AS m "
        "ON e.ReportsTo = m.EmployeeId WHERE e.EmployeeId IN (1, 3) ORDER BY 1",
        {"employee": "VALUES (1), (3), (2)"},
    ),
    Shape(
        "star over two tables",
        "SELECT * FROM Album a, Artist b WHERE a.ArtistId = b.ArtistId AND a.AlbumId = 7",
        {"album": "SELECT 7", "artist": "SELECT ArtistId FROM Album WHERE AlbumId = 7"},
    ),
    Shape(
        "the same column name twice",
        "SELECT FirstName, FirstName, CustomerId AS FirstName FROM Customer "
        "WHERE CustomerId < 4 ORDER BY CustomerId",
        {"customer": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "names with their database",
        "SELECT chinook.Genre.Name FROM chinook.Genre WHERE chinook.Genre.GenreId = 3",
        {"genre": "SELECT 3"},
    ),
    Shape(
        "IN-lists, and what looks like them",
        "SELECT 'IN (:a, :b)', :x + 0, :y + 0, CustomerId FROM Customer "
        "WHERE CustomerId IN (:a, :b, :c) AND SupportRepId IN (:x, :y) ORDER BY LastName",
        {"customer": f"{_CUSTOMERS} WHERE CustomerId IN (3, 9, 11) AND SupportRepId IN (3, 4)"},
        parameters={"a": 3, "b": 9, "c": 11, "x": 3, "y": 4},
    ),
    Shape(
        "an IN-list with hidden columns",
        "SELECT LastName FROM Customer WHERE CustomerId IN (:a, :b, :c) ORDER BY LastName",
        {"customer": "VALUES (3), (9), (11)"},
        parameters={"a": 3, "b": 9, "c": 11},
    ),
    Shape(
        "operators that drivers double",
        "SELECT LastName FROM Customer WHERE CustomerId % 2 = :rest AND LastName LIKE '%a%' "
        "AND CustomerId < 20 AND NOT CustomerId <=> 3 ORDER BY 1",
        {
            "customer": f"{_CUSTOMERS} WHERE mod(CustomerId, 2) = 1 AND CustomerId < 20 "
            "AND CustomerId <> 3 AND LastName LIKE '%a%'"
        },
        parameters={"rest": 1},
    ),
    Shape(
        "functions and intervals",
        "SELECT DATE_ADD(InvoiceDate, INTERVAL 1 DAY), IF(Total > 1, 'much', 'little'), "
        "IFNULL(BillingState, '-'), SUBSTRING(BillingCity FROM 1 FOR 2), Total DIV 2, "
        "CAST(Total AS CHAR(9)), TIMESTAMPDIFF(DAY, InvoiceDate, '2030-01-01') FROM Invoice "
        "WHERE InvoiceDate BETWEEN '2021-01-01' AND '2021-02-01' ORDER BY InvoiceId",
        {"invoice": f"{_INVOICES} WHERE InvoiceDate BETWEEN '2021-01-01' AND '2021-02-01'"},
    ),
    Shape(
        "count",
        "SELECT count(*) FROM Customer WHERE Country = :c",
        {"customer": f"{_CUSTOMERS} WHERE Country = 'Brazil'"},
        subjects=f"{_CUSTOMERS} WHERE Country = 'Brazil'",
        parameters={"c": "Brazil"},
    ),
    Shape(
        "count of nothing",
        "SELECT count(*), max(Total) FROM Invoice WHERE Total > 10000",
        {"invoice": ""},
        subjects="",
    ),
    Shape(
        "aggregate with subjects",
        "SELECT sum(Total), avg(InvoiceId * 2 + 1) FROM Invoice WHERE CustomerId IN (:a, :b)",
        {"invoice": f"{_INVOICES} WHERE CustomerId IN (2, 3)"},
        subjects="VALUES (2), (3)",
        parameters={"a": 2, "b": 3},
    ),
    Shape(
        "group by over an outer join, by number, with a total of all",
        "SELECT e.EmployeeId, count(c.CustomerId) FROM Employee e LEFT JOIN Customer c "
        "ON c.SupportRepId = e.EmployeeId WHERE e.EmployeeId IN (1, 3) GROUP BY 1 WITH ROLLUP",
        {"employee": "VALUES (1), (3)", "customer": f"{_CUSTOMERS} WHERE SupportRepId = 3"},
    ),
    Shape(
        "group by over text, of which some may be equal that differ in case",
        "SELECT v, count(*) AS n FROM spelled WHERE id < :most GROUP BY v ORDER BY n DESC, v",
        {"spelled": "SELECT id FROM spelled WHERE id < 5"},
        parameters={"most": 5},
    ),
    Shape(
        "composite key of several types, counted",
        "SELECT count(who) FROM seat WHERE letter <> ''",
        {"seat": "SELECT CONCAT_WS('/', plane, letter, `row`) FROM seat"},
    ),
    Shape(
        "uuid and texts, grouped by what they belong to",
        "SELECT d.owner, count(t.v), max(d.v) FROM doc d LEFT JOIN token t ON t.owner = d.owner "
        "WHERE d.owner IN (1, 4) GROUP BY d.owner ORDER BY 1",
        {"doc": "SELECT id FROM doc WHERE owner IN (1, 4)", "token": "SELECT 'größe'"},
    ),
    Shape(
        "aggregates of aggregates",
        "SELECT max(n), count(*) FROM (SELECT SupportRepId, count(*) AS n FROM Customer "
        "WHERE CustomerId < 9 GROUP BY SupportRepId) AS d WHERE n > 1",
        {
            "customer": f"{_CUSTOMERS} WHERE CustomerId < 9 AND SupportRepId IN (SELECT "
            "SupportRepId FROM Customer WHERE CustomerId < 9 GROUP BY 1 HAVING count(*) > 1)"
        },
    ),
    Shape(
        "columns beside max",
        "SELECT max(Total), BillingCity FROM Invoice WHERE CustomerId = 6",
        {"invoice": f"{_INVOICES} WHERE CustomerId = 6"},
    ),
    Shape(
        "group by with having",
        "SELECT Country, count(*) AS n FROM Customer GROUP BY Country HAVING count(*) > 4 "
        "ORDER BY n, 1",
        {
            "customer": f"{_CUSTOMERS} WHERE Country IN (SELECT Country FROM Customer "
            "GROUP BY Country HAVING count(*) > 4)"
        },
    ),
    _told_by_statement(
        "group by over text, in an order that isn't handed out",
        "SELECT Country FROM Customer GROUP BY Country ORDER BY count(*) DESC, 1 LIMIT 3",
        "customer",
    ),
    Shape(
        "aggregates that keep the order",
        "SELECT GROUP_CONCAT(LastName ORDER BY LastName SEPARATOR ', ') FROM Customer "
        "WHERE CustomerId < 6",
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 6"},
    ),
    Shape(
        "aggregate over every row",
        "SELECT count(*) FROM Customer",
        {"customer": ""},
        {"customer": "superset"},
    ),
    Shape(
        "grouping derived table joined to a table",
        "SELECT c.LastName, t.s FROM Customer c JOIN (SELECT CustomerId AS k, max(Total) AS s "
        "FROM Invoice GROUP BY CustomerId) AS t ON t.k = c.CustomerId WHERE t.s > 20 ORDER BY 1",
        {
            "customer": "SELECT CustomerId FROM Invoice GROUP BY 1 HAVING max(Total) > 20",
            "invoice": f"{_INVOICES} WHERE CustomerId IN (SELECT CustomerId FROM Invoice "
            "GROUP BY 1 HAVING max(Total) > 20)",
        },
    ),
    Shape(
        "distinct",
        "SELECT DISTINCT Country FROM Customer ORDER BY Country",
        {"customer": _CUSTOMERS},
    ),
    Shape(
        "distinct with values, two columns, an order downwards",
        "SELECT DISTINCT c.Country AS n, lower(c.City) FROM Customer c JOIN Invoice i "
        "ON i.CustomerId = c.CustomerId WHERE c.CustomerId < :n AND i.Total > :t "
        "ORDER BY n DESC, lower(c.City)",
        {
            "customer": "SELECT CustomerId FROM Invoice WHERE CustomerId < 20 AND Total > 10",
        },
        parameters={"n": 20, "t": 10},
    ),
    Shape(
        "distinct with a limit",
        "SELECT DISTINCT Country FROM Customer WHERE CustomerId < 20 ORDER BY Country LIMIT 2",
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 20"},
        {"customer": "superset"},
    ),
    Shape(
        "distinct that finds nothing",
        "SELECT DISTINCT Country FROM Customer WHERE CustomerId < 0",
        {"customer": ""},
        subjects="",
    ),
    _told_by_statement(
        "distinct with two columns of a name",
        "SELECT DISTINCT Country, Country FROM Customer ORDER BY 1",
        "customer",
    ),
    _told_by_statement(
        "distinct of what differs each time",
        "SELECT DISTINCT Country, RAND() < 2 FROM Customer ORDER BY 1",
        "customer",
    ),
    Shape(
        "texts that differ in case, distinct",
        "SELECT DISTINCT v FROM spelled ORDER BY v",
        {"spelled": "SELECT id FROM spelled"},
    ),
    _told_by_statement(
        "distinct by its other name",
        "SELECT DISTINCTROW Country FROM Customer ORDER BY Country",
        "customer",
    ),
    Shape(
        "union",
        "SELECT LastName FROM Customer WHERE CustomerId < 4 UNION "
        "SELECT LastName FROM Employee WHERE EmployeeId > 6 ORDER BY 1",
        {"customer": "VALUES (1), (2), (3)", "employee": "VALUES (7), (8)"},
        subjects="VALUES (1), (2), (3)",
    ),
    Shape(
        "union over values, IN-lists, NULLs and a row that is no table's",
        "SELECT CustomerId, Country FROM Customer WHERE Country = :c AND CustomerId IN (:a, :b) "
        "UNION DISTINCT SELECT EmployeeId, NULL FROM Employee WHERE EmployeeId IN (:d, :e) "
        "UNION SELECT 1.5, 'x' UNION SELECT InvoiceId, BillingCountry FROM Invoice "
        "WHERE InvoiceId = :f ORDER BY CustomerId, 2",
        {"customer": "VALUES (3), (14)", "employee": "VALUES (1), (2)", "invoice": "SELECT 3"},
        parameters={"c": "Canada", "a": 3, "b": 14, "d": 1, "e": 2, "f": 3},
    ),
    Shape(
        "union of texts that differ in case, with a limit",
        "SELECT v FROM spelled UNION SELECT upper(v) FROM spelled ORDER BY 1 LIMIT 2",
        {"spelled": "SELECT id FROM spelled"},
        {"spelled": "superset"},
    ),
    Shape(
        "union of bracketed queries",
        "(SELECT LastName AS n FROM Customer WHERE CustomerId < 4) UNION "
        "(SELECT LastName FROM Employee WHERE EmployeeId > 6) ORDER BY n DESC",
        {"customer": "VALUES (1), (2), (3)", "employee": "VALUES (7), (8)"},
    ),
    Shape(
        "except",
        "SELECT Country FROM Customer WHERE CustomerId < 9 EXCEPT SELECT Country FROM Employee "
        "ORDER BY 1",
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 9 AND Country <> 'Canada'"},
        consulted=("Employee",),
    ),
    Shape(
        "intersect",
        "SELECT Country, City FROM Customer INTERSECT SELECT Country, City FROM Employee "
        "ORDER BY 1",
        {
            "customer": f"{_CUSTOMERS} WHERE City = 'Edmonton'",
            "employee": "SELECT EmployeeId FROM Employee WHERE City = 'Edmonton'",
        },
    ),
    Shape(
        "union all",
        "SELECT LastName, NULL FROM Customer WHERE CustomerId < :a UNION ALL "
        "SELECT LastName, 1 FROM Employee WHERE EmployeeId > 6 UNION ALL SELECT 'x', 2 "
        "UNION ALL SELECT LastName, 3 FROM Customer WHERE CustomerId = 3 ORDER BY 2, 1",
        {"customer": "VALUES (1), (2), (3)", "employee": "VALUES (7), (8)"},
        subjects="VALUES (1), (2), (3)",
        parameters={"a": 3},
    ),
    Shape(
        "union all of whole rows, with other keys",
        "SELECT * FROM token UNION ALL SELECT CONCAT(id), owner, v FROM doc WHERE v = 'v3' "
        "UNION ALL SELECT CustomerId, CustomerId, BillingCity FROM Invoice WHERE InvoiceId < 3 "
        "ORDER BY 3, 1",
        {
            "doc": "SELECT id FROM doc WHERE v = 'v3'",
            "token": "SELECT id FROM token",
            "invoice": "VALUES (1), (2)",
        },
    ),
    Shape(
        "union all out of a derived table",
        "SELECT u.n FROM (SELECT LastName AS n, CustomerId AS k FROM Customer UNION ALL "
        "SELECT LastName, EmployeeId FROM Employee) AS u WHERE u.k = 2 ORDER BY 1",
        {"customer": "SELECT 2", "employee": "SELECT 2"},
    ),
    Shape(
        "CTE",
        "WITH c(n, k) AS (SELECT LastName, CustomerId FROM Customer WHERE CustomerId < :a) "
        "SELECT n FROM c WHERE k > :b ORDER BY n",
        {"customer": "VALUES (4), (5), (6), (7), (8)"},
        parameters={"a": 9, "b": 3},
    ),
    Shape(
        "CTE used twice",
        "WITH c AS (SELECT LastName AS n, CustomerId AS k FROM Customer "
        "WHERE CustomerId < 5) SELECT a.n, b.n FROM c AS a JOIN c AS b ON b.k = a.k + 1 "
        "WHERE a.k = 2",
        {"customer": "VALUES (2), (3)"},
    ),
    Shape(
        "star over a CTE",
        "WITH c AS (SELECT LastName, FirstName FROM Customer WHERE CustomerId < 5) "
        "SELECT * FROM c ORDER BY LastName",
        {"customer": "VALUES (1), (2), (3), (4)"},
    ),
    Shape(
        "derived table",
        "SELECT d.n FROM (SELECT LastName n, Country k FROM Customer WHERE CustomerId < 20) d "
        "WHERE d.k = 'Canada' ORDER BY n",
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 20 AND Country = 'Canada'"},
    ),
    Shape(
        "entities over a limited derived table",
        "SELECT c.LastName, i.Total FROM (SELECT CustomerId AS k, LastName FROM Customer "
        "ORDER BY CustomerId LIMIT 2) AS c LEFT JOIN Invoice i ON i.CustomerId = c.k "
        "ORDER BY i.InvoiceId",
        {"customer": "VALUES (1), (2)", "invoice": f"{_INVOICES} WHERE CustomerId IN (1, 2)"},
    ),
    Shape(
        "count over a derived table",
        "SELECT count(*) FROM (SELECT CustomerId FROM Customer WHERE Country = 'USA') AS anon_1",
        {"customer": f"{_CUSTOMERS} WHERE Country = 'USA'"},
    ),
    Shape(
        "count over distinct rows",
        "SELECT count(*) FROM (SELECT DISTINCT Country FROM Customer WHERE CustomerId < 9) AS d",
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 9"},
    ),
    Shape(
        "derived table of distinct rows",
        "SELECT d.Country FROM (SELECT DISTINCT Country FROM Customer) AS d ORDER BY 1",
        {"customer": _CUSTOMERS},
    ),
    _told_by_statement(
        "distinct rows of a few that may be others",
        "SELECT count(*) FROM (SELECT DISTINCT d.Country FROM (SELECT Country FROM Customer "
        "WHERE CustomerId < 9 ORDER BY Country LIMIT 4) AS d) AS e",
        "customer",
    ),
    Shape(
        "a scalar subquery handed out",
        "SELECT LastName, (SELECT max(Total) FROM Invoice WHERE CustomerId = 6) FROM Customer "
        "WHERE CustomerId = 2",
        {"customer": "SELECT 2", "invoice": ""},
        {"invoice": "statement"},
    ),
    Shape(
        "EXISTS only consults",
        "SELECT LastName FROM Customer c WHERE EXISTS (SELECT 1 FROM Invoice i "
        "WHERE i.CustomerId = c.CustomerId AND i.Total > 22) ORDER BY 1",
        {"customer": "SELECT CustomerId FROM Invoice WHERE Total > 22"},
        consulted=("Invoice",),
    ),
    Shape(
        "IN of a subquery only consults",
        "SELECT LastName FROM Customer WHERE CustomerId IN "
        "(SELECT CustomerId FROM Invoice WHERE Total > 22) ORDER BY 1",
        {"customer": "SELECT CustomerId FROM Invoice WHERE Total > 22"},
        consulted=("Invoice",),
    ),
    Shape(
        "row numbers",
        "SELECT LastName, row_number() OVER (ORDER BY LastName) AS n FROM Customer "
        "WHERE CustomerId < 9 ORDER BY n",
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 9"},
    ),
    Shape(
        "running total",
        "SELECT Total, sum(Total) OVER (ORDER BY InvoiceId) FROM Invoice WHERE CustomerId = 2 "
        "ORDER BY InvoiceId",
        {"invoice": f"{_INVOICES} WHERE CustomerId = 2"},
        subjects="SELECT 2",
    ),
    Shape(
        "running total with a limit",
        "SELECT Total, sum(Total) OVER (ORDER BY InvoiceId) AS s FROM Invoice "
        "WHERE CustomerId = :c ORDER BY s LIMIT 2",
        {"invoice": f"{_INVOICES} WHERE CustomerId = 2"},
        {"invoice": "superset"},
        parameters={"c": 2},
    ),
    Shape(
        "limit and offset",
        "SELECT Name FROM Track ORDER BY TrackId LIMIT :n OFFSET :m",
        {"track": "VALUES (11), (12), (13)"},
        parameters={"n": 3, "m": 10},
    ),
    Shape(
        "limit with its offset before",
        "SELECT Name FROM Track ORDER BY TrackId LIMIT :m, :n",
        {"track": "VALUES (11), (12), (13)"},
        parameters={"n": 3, "m": 10},
    ),
    Shape(
        "limit over an order that ends with the key",
        "SELECT Name FROM Track ORDER BY Milliseconds DESC, TrackId LIMIT 3",
        {"track": "(SELECT TrackId FROM Track ORDER BY Milliseconds DESC, TrackId LIMIT 3)"},
    ),
    _told_by_statement(
        "limit over an order that rows may share, and have to be sorted for",
        "SELECT Name FROM Track ORDER BY Milliseconds DESC LIMIT 3",
        "track",
    ),
    _told_by_statement(
        "limit over an order by what only has the key's name",
        "SELECT Name, Milliseconds AS TrackId FROM Track ORDER BY TrackId LIMIT 3",
        "track",
    ),
    Shape(
        "limit over an order that an index has",
        "SELECT InvoiceLineId FROM InvoiceLine ORDER BY InvoiceId LIMIT 3",
        {"invoiceline": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "fetch first",
        "SELECT Name FROM Track ORDER BY TrackId OFFSET 10 ROWS FETCH FIRST 3 ROWS ONLY",
        {"track": "VALUES (11), (12), (13)"},
    ),
    Shape(
        "rows that are locked, with their keys",
        "SELECT id, v FROM vault WHERE id = 2 FOR UPDATE",
        {"vault": "SELECT 2"},
    ),
    _told_by_statement(
        "rows that are locked, without their keys",
        "SELECT v FROM vault WHERE id = 2 FOR UPDATE",
        "vault",
    ),
    _told_by_statement(
        "rows that are locked to be read",
        "SELECT v FROM vault WHERE id = 2 LOCK IN SHARE MODE",
        "vault",
    ),
    Shape(
        "composite key, half of it selected",
        "SELECT PlaylistId FROM PlaylistTrack WHERE TrackId = 3402 ORDER BY 1",
        {
            "playlisttrack": "SELECT CONCAT(PlaylistId, '/', TrackId) FROM PlaylistTrack "
            "WHERE TrackId = 3402"
        },
    ),
    Shape(
        "composite key, all of it selected",
        "SELECT TrackId, PlaylistId FROM PlaylistTrack WHERE TrackId = 3402 ORDER BY 2",
        {
            "playlisttrack": "SELECT CONCAT(PlaylistId, '/', TrackId) FROM PlaylistTrack "
            "WHERE TrackId = 3402"
        },
    ),
    Shape(
        "composite key of several types, in another order than its columns",
        "SELECT who FROM seat ORDER BY plane, `row`",
        {"seat": "SELECT CONCAT(plane, '/', letter, '/', `row`) FROM seat"},
    ),
    _told_by_statement("table without a key", "SELECT body FROM note ORDER BY body", "note"),
    Shape(
        "names that need quotes",
        "SELECT `a b`, `select` FROM `odd ``name` AS `x Y` ORDER BY `select`",
        {"odd `name": "SELECT `The Key` FROM `odd ``name`"},
    ),
    Shape("uuid, selected", "SELECT id, v FROM doc ORDER BY v", {"doc": "SELECT id FROM doc"}),
    Shape("uuid, hidden", "SELECT v FROM doc ORDER BY v", {"doc": "SELECT id FROM doc"}),
    Shape(
        "texts of another character set",
        "SELECT v FROM token ORDER BY v",
        {"token": "SELECT id FROM token"},
        subjects="VALUES (1), (2), (3)",
    ),
    Shape(
        "texts, selected",
        "SELECT id FROM token ORDER BY id",
        {"token": "SELECT id FROM token"},
    ),
    Shape("large integers", "SELECT v FROM large ORDER BY 1", {"large": "SELECT id FROM large"}),
    Shape("years", "SELECT v FROM small ORDER BY 1", {"small": "VALUES (2026), (0)"}),
    _told_by_statement("a key of decimals", "SELECT number FROM account", "account"),
    _told_by_statement("a key of times", "SELECT v FROM stamped", "stamped"),
    _told_by_statement(
        "a percent sign in a name", "SELECT id FROM percent WHERE id = :n", "percent", n=1
    ),
    _told_by_statement(
        "a star that leaves a column out", "SELECT * FROM secretive ORDER BY id", "secretive"
    ),
    Shape(
        "columns that a star leaves out",
        "SELECT x, v FROM secretive ORDER BY id",
        {"secretive": "VALUES (1), (2)"},
    ),
    Shape(
        "comments, strings and semicolons",
        "SELECT /* FROM Invoice */ LastName, 'a;b''c -- FROM' AS x # , InvoiceId\n"
        "FROM Customer -- WHERE\nWHERE CustomerId = 3 /* ; */ ;",
        {"customer": "SELECT 3"},
    ),
    _told_by_statement(
        "a comment that is executed",
        "SELECT LastName FROM Customer /*! , Genre */ WHERE CustomerId = 3 ORDER BY 1 LIMIT 2",
        "customer",
        "genre",
    ),
    _told_by_statement(
        "two minus signs",
        "SELECT 5--CustomerId, CustomerId FROM Customer WHERE CustomerId = 3",
        "customer",
    ),
    Shape(
        "a name that looks like ours",
        "SELECT LastName AS indelible_1 FROM Customer WHERE CustomerId = 3 ORDER BY indelible_1",
        {"customer": "SELECT 3"},
    ),
    Shape(
        "view",
        "SELECT FirstName FROM canadian ORDER BY 1",
        {"customer": f"{_CUSTOMERS} WHERE Country = 'Canada'"},
        subjects=f"{_CUSTOMERS} WHERE Country = 'Canada'",
    ),
    Shape(
        "view beside a table",
        "SELECT v.FirstName, i.Total FROM canadian v JOIN Invoice i ON i.CustomerId = v.CustomerId "
        "WHERE i.Total > 13 ORDER BY 2, 1",
        {
            "customer": "SELECT CustomerId FROM Invoice JOIN Customer USING (CustomerId) "
            "WHERE Country = 'Canada' AND Total > 13",
            "invoice": "SELECT InvoiceId FROM Invoice JOIN Customer USING (CustomerId) "
            "WHERE Country = 'Canada' AND Total > 13",
        },
    ),
    Shape(
        "star over a view, that finds nothing",
        "SELECT * FROM chinook.canadian AS v WHERE v.CustomerId = :id",
        {"customer": ""},
        parameters={"id": 2},
    ),
    Shape(
        "view over a view, of an outer join",
        "SELECT who, Total FROM bought ORDER BY 1, 2",
        {
            "customer": f"{_CUSTOMERS} WHERE Country = 'Canada'",
            "invoice": "SELECT InvoiceId FROM Invoice JOIN Customer USING (CustomerId) "
            "WHERE Country = 'Canada' AND Total > 5",
        },
    ),
    Shape(
        "view of which one table is handed out",
        "SELECT Total FROM bought WHERE who = 3 ORDER BY 1",
        {"invoice": f"{_INVOICES} WHERE CustomerId = 3 AND Total > 5"},
        subjects="SELECT 3",
        consulted=("Customer",),
    ),
    Shape(
        "view with names of its own, of a key of text",
        "SELECT id FROM named ORDER BY id",
        {"token": "SELECT id FROM token"},
    ),
    Shape(
        "view of groups",
        "SELECT s FROM spent WHERE CustomerId = :c",
        {"invoice": f"{_INVOICES} WHERE CustomerId = 2"},
        subjects="SELECT 2",
        parameters={"c": 2},
    ),
    Shape(
        "star over a view of groups, joined to a table",
        "SELECT s.*, c.LastName FROM spent AS s JOIN Customer c ON c.CustomerId = s.CustomerId "
        "WHERE s.CustomerId IN (2, 3) ORDER BY CustomerId DESC",
        {"invoice": f"{_INVOICES} WHERE CustomerId IN (2, 3)", "customer": "VALUES (2), (3)"},
    ),
    Shape(
        "view of distinct rows, counted",
        "SELECT count(*), max(Country) FROM nations",
        {"customer": _CUSTOMERS},
    ),
    Shape(
        "view of a set operation, over a view",
        "SELECT n FROM people ORDER BY n",
        {"customer": f"{_CUSTOMERS} WHERE Country = 'Canada'", "employee": "VALUES (7), (8)"},
    ),
    Shape(
        "view that doesn't hand out every key",
        "SELECT LastName FROM invoiced WHERE InvoiceId = 9",
        {"customer": "SELECT CustomerId FROM Invoice WHERE InvoiceId = 9", "invoice": "SELECT 9"},
    ),
    _told_by_statement(
        "view of what differs each time", "SELECT DISTINCT GenreId FROM lucky ORDER BY 1", "genre"
    ),
    _told_by_statement(
        "view that calls what may read anything",
        "SELECT GenreId FROM peeking WHERE GenreId = 1",
        "genre",
    ),
    Shape(
        "recursive CTE",
        "WITH RECURSIVE tree(id, name) AS (SELECT id, name FROM part WHERE id = 1 UNION ALL "
        "SELECT p.id, p.name FROM part p JOIN tree t ON p.parent = t.id) "
        "SELECT name FROM tree ORDER BY 1",
        {"part": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "recursive CTE that counts, of keys of text",
        "WITH RECURSIVE t AS (SELECT id, owner, 0 AS n FROM token WHERE owner = 3 UNION ALL "
        "SELECT d.id, d.owner, n + 1 FROM t JOIN token d ON d.owner = t.owner - 1) "
        "SELECT owner, n FROM t WHERE n > :n ORDER BY n",
        {"token": "SELECT id FROM token WHERE owner < 3"},
        parameters={"n": 0},
    ),
    Shape(
        "recursive CTE whose rows hold what others said, all of them",
        "WITH RECURSIVE tree(id, path) AS (SELECT id, CAST(name AS CHAR(99)) FROM part "
        "WHERE id = 1 UNION ALL SELECT p.id, CONCAT(t.path, '/', p.name) FROM part p "
        "JOIN tree t ON p.parent = t.id) SELECT path FROM tree ORDER BY path DESC",
        {"part": "VALUES (1), (2), (3)"},
    ),
    _told_by_statement(
        "recursive CTE whose rows hold what others said",
        "WITH RECURSIVE tree(id, path) AS (SELECT id, CAST(name AS CHAR(99)) FROM part "
        "WHERE id = 1 UNION ALL SELECT p.id, CONCAT(t.path, '/', p.name) FROM part p "
        "JOIN tree t ON p.parent = t.id) SELECT path FROM tree WHERE id = 3",
        "part",
    ),
    _told_by_statement(
        "recursive CTE that begins without the table",
        "WITH RECURSIVE up(id, name) AS (SELECT 3, 'start' UNION ALL SELECT p.parent, p.name "
        "FROM up JOIN part p ON p.id = up.id) SELECT name FROM up ORDER BY 1",
        "part",
    ),
    _told_by_statement(
        "text that may be quoted in two ways",
        "SELECT LastName FROM Customer WHERE LastName = 'a\\\\b'",
        "customer",
    ),
    _told_by_statement(
        "what is a string or a name",
        'SELECT LastName, "its" FROM Customer WHERE CustomerId = 3',
        "customer",
    ),
    _told_by_statement(
        "a function of the name of a CTE",
        "WITH sleep(a) AS (SELECT 0) SELECT LastName, sleep(0) FROM Customer, sleep "
        "WHERE CustomerId = 3",
        "customer",
    ),
    Shape(
        "aliases as strings",
        "SELECT LastName 'a', CustomerId AS 'b', 5 FROM Customer WHERE CustomerId = 3",
        {"customer": "SELECT 3"},
    ),
    _told_by_statement(
        "a variable that is set",
        "SELECT @n := CustomerId FROM Customer WHERE CustomerId = 3",
        "customer",
    ),
    _told_by_statement(
        "rows that are counted beyond the limit",
        "SELECT SQL_CALC_FOUND_ROWS LastName FROM Customer ORDER BY CustomerId LIMIT 2",
        "customer",
    ),
    Shape(
        "a function of the server's that may be called twice",
        "SELECT LastName, RAND() < 2 FROM Customer WHERE CustomerId = 3",
        {"customer": "SELECT 3"},
    ),
    Shape("no table at all", "SELECT 1, 'x', 2.5, NULL, current_date IS NULL FROM DUAL"),
    Shape("explain", "EXPLAIN SELECT * FROM Customer"),
    Shape("table whose reads aren't captured", "SELECT v FROM unwatched"),
    Shape(
        "information schema",
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_NAME = 'Invoice'",
    ),
    # From here on a session's names aren't settled any more.
    _told_by_statement(
        "a function that may read anything",
        "SELECT peek(), LastName FROM Customer WHERE CustomerId = 3",
        "customer",
    ),
    _told_by_statement(
        "a function of a name of the server's",
        "SELECT chinook.concat_ws(1), LastName FROM Customer WHERE CustomerId = 3",
        "customer",
    ),
]
