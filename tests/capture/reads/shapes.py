"""Every shape of read, with a key query written by hand for each table that it reads.

`rows` maps a kind to the query of the keys that must be recorded, `coverage` names those kinds
that aren't exact. A kind with an empty query is a target without ids. `subjects` is the query of
the customers whose data it is, None where that isn't looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    name: str
    sql: str
    parameters: tuple[object, ...] = ()
    rows: dict[str, str] = field(default_factory=dict)
    coverage: dict[str, str] = field(default_factory=dict)
    subjects: str | None = None
    consulted: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


_CUSTOMERS = "SELECT CustomerId FROM Customer"
_INVOICES = "SELECT InvoiceId FROM Invoice"

SHAPES = [
    Shape(
        "get by key",
        "SELECT * FROM Customer WHERE CustomerId = ?",
        (5,),
        {"customer": "SELECT 5"},
        subjects="SELECT 5",
    ),
    Shape(
        "get that finds nothing",
        "SELECT * FROM Customer WHERE CustomerId = ?",
        (5000,),
        {"customer": ""},
        subjects="",
    ),
    Shape(
        "list with the key selected",
        "SELECT CustomerId, FirstName FROM Customer ORDER BY FirstName",
        (),
        {"customer": _CUSTOMERS},
    ),
    Shape(
        "columns without the key",
        "SELECT FirstName, LastName FROM Customer WHERE Country = ? ORDER BY 2",
        ("USA",),
        {"customer": f"{_CUSTOMERS} WHERE Country = 'USA'"},
    ),
    Shape(
        "an expression without any column alone",
        "SELECT FirstName || LastName AS name FROM Customer WHERE Country = 'USA' ORDER BY 1",
        (),
        {"customer": f"{_CUSTOMERS} WHERE Country = 'USA'"},
    ),
    Shape(
        "subject column fetched beside the key",
        "SELECT InvoiceId, Total FROM Invoice WHERE Total > 15 ORDER BY 1",
        (),
        {"invoice": f"{_INVOICES} WHERE Total > 15"},
        subjects="SELECT CustomerId FROM Invoice WHERE Total > 15",
    ),
    Shape(
        "join",
        "SELECT c.FirstName, i.Total FROM Customer c JOIN Invoice i ON i.CustomerId = c.CustomerId "
        "WHERE c.Country = 'Canada' AND i.Total > 5 ORDER BY i.InvoiceId",
        (),
        {
            "customer": "SELECT CustomerId FROM Invoice JOIN Customer USING (CustomerId) "
            "WHERE Country = 'Canada' AND Total > 5",
            "invoice": "SELECT InvoiceId FROM Invoice JOIN Customer USING (CustomerId) "
            "WHERE Country = 'Canada' AND Total > 5",
        },
    ),
    Shape(
        "comma join",
        "SELECT FirstName, Total FROM Customer, Invoice "
        "WHERE Invoice.CustomerId = Customer.CustomerId AND Total > 20 ORDER BY Total, 1",
        (),
        {
            "customer": "SELECT CustomerId FROM Invoice WHERE Total > 20",
            "invoice": f"{_INVOICES} WHERE Total > 20",
        },
    ),
    Shape(
        "outer join whose other side is missing",
        "SELECT e.FirstName, c.FirstName FROM Employee e LEFT JOIN Customer c "
        "ON c.SupportRepId = e.EmployeeId WHERE e.EmployeeId IN (1, 3) ORDER BY e.EmployeeId, 2",
        (),
        {
            "employee": "VALUES (1), (3)",
            "customer": f"{_CUSTOMERS} WHERE SupportRepId = 3",
        },
    ),
    Shape(
        "join USING",
        "SELECT * FROM Invoice JOIN Customer USING (CustomerId) WHERE Total > 20 ORDER BY 1",
        (),
        {
            "customer": "SELECT CustomerId FROM Invoice WHERE Total > 20",
            "invoice": f"{_INVOICES} WHERE Total > 20",
        },
    ),
    Shape(
        "natural join",
        "SELECT Title FROM Album NATURAL JOIN Artist WHERE ArtistId = 1 ORDER BY 1",
        (),
        {"album": "SELECT AlbumId FROM Album WHERE ArtistId = 1"},
    ),
    Shape(
        "brackets around a join",
        "SELECT c.LastName, l.Quantity FROM Customer c LEFT JOIN (Invoice i JOIN InvoiceLine l "
        "ON l.InvoiceId = i.InvoiceId) ON i.CustomerId = c.CustomerId AND i.Total > 20 "
        "WHERE c.CustomerId IN (6, 7) ORDER BY 1, l.InvoiceLineId",
        (),
        {
            "customer": "VALUES (6), (7)",
            "invoiceline": "SELECT InvoiceLineId FROM InvoiceLine WHERE InvoiceId IN "
            "(SELECT InvoiceId FROM Invoice WHERE Total > 20 AND CustomerId IN (6, 7))",
        },
    ),
    Shape(
        "self-join by aliases",
        "SELECT e.FirstName, m.FirstName FROM Employee AS e LEFT JOIN Employee AS m "
        "ON e.ReportsTo = m.EmployeeId WHERE e.EmployeeId IN (1, 3) ORDER BY 1",
        (),
        {"employee": "VALUES (1), (3), (2)"},
    ),
    Shape(
        "star over two tables",
        "SELECT * FROM Album a, Artist b WHERE a.ArtistId = b.ArtistId AND a.AlbumId = 7",
        (),
        {"album": "SELECT 7", "artist": "SELECT ArtistId FROM Album WHERE AlbumId = 7"},
    ),
    Shape(
        "the same column name twice",
        "SELECT FirstName, FirstName, CustomerId AS FirstName FROM Customer WHERE CustomerId < 4 "
        "ORDER BY CustomerId",
        (),
        {"customer": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "IN list",
        "SELECT LastName FROM Customer WHERE CustomerId IN (?, ?,?) ORDER BY LastName",
        (3, 9, 11),
        {"customer": "VALUES (3), (9), (11)"},
    ),
    Shape(
        "parameters among the items",
        "SELECT ?, ?, CustomerId FROM Customer WHERE CustomerId IN (?, ?) ORDER BY 3",
        (8, 9, 3, 4),
        {"customer": "VALUES (3), (4)"},
    ),
    Shape(
        "a function of parameters that is an aggregate of one",
        "SELECT max(?, ?), LastName FROM Customer WHERE CustomerId < 3 ORDER BY CustomerId",
        (8, 9),
        {"customer": "VALUES (1), (2)"},
    ),
    Shape(
        "what looks like an IN-list",
        "SELECT 'IN (?, ?, ?)' AS \"IN (?, ?)\", LastName /* IN (?, ?) */ FROM Customer "
        "WHERE CustomerId IN (?, ?) -- IN (?, ?)\nORDER BY CustomerId",
        (3, 4),
        {"customer": "VALUES (3), (4)"},
    ),
    Shape(
        "count",
        "SELECT count(*) FROM Customer WHERE Country = ?",
        ("Brazil",),
        {"customer": f"{_CUSTOMERS} WHERE Country = 'Brazil'"},
    ),
    Shape(
        "count of nothing",
        "SELECT count(*), max(Total) FROM Invoice WHERE Total > 10000",
        (),
        {"invoice": ""},
        subjects="",
    ),
    Shape(
        "aggregate with subjects",
        "SELECT sum(Total) FROM Invoice WHERE CustomerId IN (2, 3)",
        (),
        {"invoice": f"{_INVOICES} WHERE CustomerId IN (2, 3)"},
        subjects="VALUES (2), (3)",
    ),
    Shape(
        "aggregate over every row",
        "SELECT count(*) FROM Customer",
        (),
        {"customer": ""},
        {"customer": "superset"},
    ),
    Shape(
        "group by with having",
        "SELECT Country, count(*) AS n FROM Customer GROUP BY Country HAVING n > 4 ORDER BY n, 1",
        (),
        {
            "customer": f"{_CUSTOMERS} WHERE Country IN (SELECT Country FROM Customer "
            "GROUP BY Country HAVING count(*) > 4)"
        },
    ),
    Shape(
        "group by over a join, with a limit",
        "SELECT c.CustomerId, sum(i.Total) t FROM Customer c JOIN Invoice i "
        "ON i.CustomerId = c.CustomerId GROUP BY c.CustomerId ORDER BY t DESC, 1 LIMIT 2",
        (),
        {
            "customer": "VALUES (6), (26)",
            "invoice": f"{_INVOICES} WHERE CustomerId IN (6, 26)",
        },
    ),
    Shape(
        "group by over an outer join",
        "SELECT e.EmployeeId, count(c.CustomerId) FROM Employee e LEFT JOIN Customer c "
        "ON c.SupportRepId = e.EmployeeId WHERE e.EmployeeId IN (1, 3) GROUP BY 1 ORDER BY 1",
        (),
        {
            "employee": "VALUES (1), (3)",
            "customer": f"{_CUSTOMERS} WHERE SupportRepId = 3",
        },
    ),
    Shape(
        "columns beside max",
        "SELECT max(Total), BillingCity FROM Invoice WHERE CustomerId = 6",
        (),
        {"invoice": f"{_INVOICES} WHERE CustomerId = 6"},
    ),
    Shape(
        "aggregate with a filter",
        "SELECT count(*) FILTER (WHERE Total > 5) FROM Invoice WHERE CustomerId = 6",
        (),
        {"invoice": f"{_INVOICES} WHERE CustomerId = 6"},
        {"invoice": "superset"},
    ),
    Shape(
        "distinct",
        "SELECT DISTINCT Country FROM Customer WHERE CustomerId < ? ORDER BY Country",
        (20,),
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 20"},
    ),
    Shape(
        "distinct with a limit",
        "SELECT DISTINCT Country FROM Customer WHERE CustomerId < 20 ORDER BY Country LIMIT 2",
        (),
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 20"},
        {"customer": "superset"},
    ),
    Shape(
        "distinct that finds nothing",
        "SELECT DISTINCT Country FROM Customer WHERE CustomerId < 0",
        (),
        {"customer": ""},
    ),
    Shape(
        "count distinct",
        "SELECT count(DISTINCT Country) FROM Customer WHERE CustomerId < 20",
        (),
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 20"},
    ),
    Shape(
        "union",
        "SELECT LastName FROM Customer WHERE CustomerId < ? UNION "
        "SELECT LastName FROM Employee WHERE EmployeeId > ? ORDER BY 1",
        (4, 6),
        {"customer": "VALUES (1), (2), (3)", "employee": "VALUES (7), (8)"},
    ),
    Shape(
        "union all",
        "SELECT LastName FROM Customer WHERE CustomerId < 4 UNION ALL "
        "SELECT count(*) FROM Employee WHERE EmployeeId > 6",
        (),
        {"customer": "VALUES (1), (2), (3)", "employee": "VALUES (7), (8)"},
    ),
    Shape(
        "except",
        "SELECT Country FROM Customer WHERE CustomerId < 9 EXCEPT SELECT Country FROM Employee",
        (),
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 9"},
        {"customer": "superset"},
        consulted=("Employee",),
    ),
    Shape(
        "CTE",
        "WITH c(n, k) AS (SELECT LastName, CustomerId FROM Customer WHERE CustomerId < ?) "
        "SELECT n FROM c WHERE k > ? ORDER BY n",
        (9, 3),
        {"customer": "VALUES (4), (5), (6), (7), (8)"},
    ),
    Shape(
        "CTE used twice",
        "WITH c AS (SELECT LastName AS n, CustomerId AS k FROM Customer WHERE CustomerId < 5) "
        "SELECT a.n, b.n FROM c AS a JOIN c AS b ON b.k = a.k + 1 WHERE a.k = 2",
        (),
        {"customer": "VALUES (2), (3)"},
    ),
    Shape(
        "star over a CTE",
        "WITH c AS (SELECT LastName, FirstName FROM Customer WHERE CustomerId < 5) "
        "SELECT * FROM c ORDER BY LastName",
        (),
        {"customer": "VALUES (1), (2), (3), (4)"},
    ),
    Shape(
        "grouping CTE joined to a table",
        "WITH t AS (SELECT CustomerId AS k, sum(Total) AS s FROM Invoice GROUP BY CustomerId) "
        "SELECT c.LastName, t.s FROM Customer c JOIN t ON t.k = c.CustomerId WHERE t.s > 46 "
        "ORDER BY 1",
        (),
        {
            "customer": "SELECT CustomerId FROM Invoice GROUP BY 1 HAVING sum(Total) > 46",
            "invoice": f"{_INVOICES} WHERE CustomerId IN "
            "(SELECT CustomerId FROM Invoice GROUP BY 1 HAVING sum(Total) > 46)",
        },
    ),
    Shape(
        "derived table",
        "SELECT d.n FROM (SELECT LastName n, Country k FROM Customer WHERE CustomerId < 20) d "
        "WHERE d.k = 'Canada' ORDER BY n",
        (),
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 20 AND Country = 'Canada'"},
    ),
    Shape(
        "count over a derived table",
        "SELECT count(*) FROM (SELECT CustomerId FROM Customer WHERE Country = 'USA') AS anon_1",
        (),
        {"customer": f"{_CUSTOMERS} WHERE Country = 'USA'"},
    ),
    Shape(
        "count over distinct rows",
        "SELECT count(*) FROM (SELECT DISTINCT Country FROM Customer WHERE CustomerId < 9)",
        (),
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 9"},
    ),
    Shape(
        "entities over a limited derived table",
        "SELECT c.LastName, i.Total FROM (SELECT CustomerId AS k, LastName FROM Customer "
        "ORDER BY CustomerId LIMIT 2) AS c LEFT JOIN Invoice i ON i.CustomerId = c.k "
        "ORDER BY i.InvoiceId",
        (),
        {
            "customer": "VALUES (1), (2)",
            "invoice": f"{_INVOICES} WHERE CustomerId IN (1, 2)",
        },
    ),
    Shape(
        "distinct inside, filtered outside",
        "SELECT n FROM (SELECT DISTINCT Country AS n FROM Customer WHERE CustomerId < 9) "
        "WHERE n > 'C' ORDER BY n",
        (),
        {"customer": f"{_CUSTOMERS} WHERE CustomerId < 9"},
        {"customer": "superset"},
    ),
    Shape(
        "scalar subquery handed out",
        "SELECT LastName, (SELECT max(Total) FROM Invoice WHERE CustomerId = ?) FROM Customer "
        "WHERE CustomerId = ?",
        (6, 2),
        {"customer": "SELECT 2", "invoice": f"{_INVOICES} WHERE CustomerId = 6"},
    ),
    Shape(
        "scalar subquery of one row",
        "SELECT (SELECT LastName FROM Customer WHERE CustomerId = 4)",
        (),
        {"customer": "SELECT 4"},
    ),
    Shape(
        "scalar subquery only tested",
        "SELECT InvoiceId FROM Invoice WHERE Total = (SELECT max(Total) FROM Invoice) ORDER BY 1",
        (),
        {"invoice": f"{_INVOICES} WHERE Total = 25.86"},
    ),
    Shape(
        "EXISTS only consults",
        "SELECT LastName FROM Customer c WHERE EXISTS (SELECT 1 FROM Invoice i "
        "WHERE i.CustomerId = c.CustomerId AND i.Total > 22) ORDER BY 1",
        (),
        {"customer": "SELECT CustomerId FROM Invoice WHERE Total > 22"},
        consulted=("Invoice",),
    ),
    Shape(
        "IN a subquery only consults",
        "SELECT LastName FROM Customer WHERE CustomerId IN "
        "(SELECT CustomerId FROM Invoice WHERE Total > ?) ORDER BY 1",
        (22,),
        {"customer": "SELECT CustomerId FROM Invoice WHERE Total > 22"},
        consulted=("Invoice",),
    ),
    Shape(
        "an EXISTS as the only value",
        "SELECT EXISTS (SELECT 1 FROM Invoice WHERE Total > 22)",
        (),
        {},
        consulted=("Invoice",),
    ),
    Shape(
        "correlated subquery handed out",
        "SELECT LastName, (SELECT count(*) FROM Invoice i WHERE i.CustomerId = c.CustomerId) "
        "FROM Customer c WHERE c.CustomerId = 2",
        (),
        {"customer": "SELECT 2", "invoice": f"{_INVOICES} WHERE CustomerId = 2"},
    ),
    Shape(
        "correlated subqueries of one row",
        "SELECT c.LastName, (SELECT e.City FROM Employee e WHERE e.EmployeeId = c.SupportRepId), "
        "(SELECT n.body FROM note n WHERE n.customer = c.CustomerId) FROM Customer c "
        "WHERE c.CustomerId IN (?, ?) ORDER BY 1",
        (2, 59),
        {
            "customer": "VALUES (2), (59)",
            "employee": "SELECT SupportRepId FROM Customer WHERE CustomerId IN (2, 59)",
            "note": "SELECT rowid FROM note WHERE customer = 2",
        },
    ),
    Shape(
        "correlated sums",
        "SELECT LastName, (SELECT sum(Total) FROM Invoice i WHERE i.CustomerId = c.CustomerId), "
        "(SELECT group_concat(i.Total) FROM Invoice i WHERE i.CustomerId = c.CustomerId) "
        "FROM Customer c WHERE c.CustomerId < 4 ORDER BY 1",
        (),
        {
            "customer": "VALUES (1), (2), (3)",
            "invoice": f"{_INVOICES} WHERE CustomerId < 4",
        },
    ),
    Shape(
        "the first of many, asked twice, may be another",
        "SELECT LastName, (SELECT i.Total FROM Invoice i WHERE i.CustomerId = c.CustomerId "
        "ORDER BY i.Total DESC LIMIT 1) FROM Customer c WHERE c.CustomerId < 4 ORDER BY 1",
        (),
        {"customer": "VALUES (1), (2), (3)", "invoice": ""},
        {"invoice": "statement"},
    ),
    Shape(
        "correlated subquery with a parameter of its own",
        "SELECT LastName, (SELECT count(*) FROM Invoice i WHERE i.CustomerId = c.CustomerId "
        "AND i.Total > ?) FROM Customer c WHERE c.CustomerId = ?",
        (5, 2),
        {"customer": "SELECT 2", "invoice": ""},
        {"invoice": "statement"},
    ),
    Shape(
        "correlated subquery over rows that are left out",
        "SELECT LastName, (SELECT max(Total) FROM Invoice i WHERE i.CustomerId = c.CustomerId) "
        "FROM Customer c ORDER BY CustomerId LIMIT 2",
        (),
        {"customer": "VALUES (1), (2)", "invoice": ""},
        {"invoice": "statement"},
    ),
    Shape(
        "row numbers",
        "SELECT LastName, row_number() OVER (ORDER BY LastName) FROM Customer "
        "WHERE CustomerId < 9 ORDER BY 2 LIMIT 3",
        (),
        {
            "customer": f"{_CUSTOMERS} WHERE CustomerId < 9 ORDER BY LastName LIMIT 3",
        },
    ),
    Shape(
        "running total",
        "SELECT Total, sum(Total) OVER (ORDER BY InvoiceId) FROM Invoice WHERE CustomerId = 2 "
        "ORDER BY InvoiceId",
        (),
        {"invoice": f"{_INVOICES} WHERE CustomerId = 2"},
    ),
    Shape(
        "latest of each group by row number",
        "SELECT LastName FROM (SELECT LastName, row_number() OVER (PARTITION BY Country "
        "ORDER BY CustomerId) AS rn FROM Customer WHERE CustomerId < 20) WHERE rn = 1 ORDER BY 1",
        (),
        {"customer": "SELECT min(CustomerId) FROM Customer WHERE CustomerId < 20 GROUP BY Country"},
    ),
    Shape(
        "limit and offset",
        "SELECT Name FROM Track ORDER BY TrackId LIMIT ? OFFSET ?",
        (3, 10),
        {"track": "VALUES (11), (12), (13)"},
    ),
    Shape(
        "composite key, half of it selected",
        "SELECT PlaylistId FROM PlaylistTrack WHERE TrackId = 3402 ORDER BY 1",
        (),
        {"playlisttrack": "SELECT PlaylistId, TrackId FROM PlaylistTrack WHERE TrackId = 3402"},
    ),
    Shape(
        "count over a composite key",
        "SELECT count(*) FROM PlaylistTrack WHERE PlaylistId = 17",
        (),
        {"playlisttrack": "SELECT PlaylistId, TrackId FROM PlaylistTrack WHERE PlaylistId = 17"},
    ),
    Shape(
        "WITHOUT ROWID, key in another order than its columns",
        "SELECT who FROM seat WHERE plane = 'a' ORDER BY row",
        (),
        {"seat": "SELECT plane, letter, row FROM seat WHERE plane = 'a'"},
    ),
    Shape(
        "table without a key",
        "SELECT body FROM note WHERE customer < 3 ORDER BY body",
        (),
        {"note": "SELECT rowid FROM note WHERE customer < 3"},
        subjects="VALUES (1), (2)",
    ),
    Shape(
        "a row that belongs to nobody",
        "SELECT body, rowid FROM note WHERE customer IS NULL",
        (),
        {"note": "SELECT rowid FROM note WHERE customer IS NULL"},
        subjects="",
    ),
    Shape(
        "names that need quotes",
        'SELECT "a b", [select] FROM "odd ""name" AS "x y" ORDER BY `select`',
        (),
        {'odd "name': 'SELECT "the key" FROM "odd ""name"'},
    ),
    Shape(
        "keys of every type",
        "SELECT v FROM mixed ORDER BY v",
        (),
        {"mixed": "SELECT key FROM mixed"},
    ),
    Shape(
        "keys of every type, aggregated",
        "SELECT count(v) FROM mixed WHERE v <> ''",
        (),
        {"mixed": "SELECT key FROM mixed"},
    ),
    Shape(
        "keys of every type, selected",
        "SELECT key FROM mixed ORDER BY v",
        (),
        {"mixed": "SELECT key FROM mixed"},
    ),
    Shape(
        "comments, strings and semicolons",
        "SELECT /* FROM Invoice */ LastName, 'a;b''c -- FROM' AS x -- , InvoiceId\n"
        "FROM Customer -- WHERE\nWHERE CustomerId = 3 /* ; */ ;",
        (),
        {"customer": "SELECT 3"},
    ),
    Shape(
        "a name that looks like ours",
        "SELECT LastName AS indelible_1 FROM Customer WHERE CustomerId = 3 ORDER BY indelible_1",
        (),
        {"customer": "SELECT 3"},
    ),
    Shape(
        "longer subject path",
        "SELECT UnitPrice FROM InvoiceLine WHERE InvoiceLineId < 3",
        (),
        {"invoiceline": "VALUES (1), (2)"},
        subjects="SELECT CustomerId FROM Invoice JOIN InvoiceLine USING (InvoiceId) "
        "WHERE InvoiceLineId < 3",
    ),
    Shape(
        "longer subject path, of rows that are missing",
        "SELECT Title, l.Quantity FROM Album a LEFT JOIN InvoiceLine l "
        "ON l.InvoiceLineId = a.AlbumId + 2239 WHERE AlbumId IN (1, 2) ORDER BY 1",
        (),
        {"album": "VALUES (1), (2)", "invoiceline": "SELECT 2240"},
        subjects="SELECT CustomerId FROM Invoice JOIN InvoiceLine USING (InvoiceId) "
        "WHERE InvoiceLineId = 2240",
    ),
    Shape(
        "longer subject path, aggregated",
        "SELECT TrackId, count(*) FROM InvoiceLine WHERE TrackId < 20 GROUP BY TrackId ORDER BY 1",
        (),
        {"invoiceline": "SELECT InvoiceLineId FROM InvoiceLine WHERE TrackId < 20"},
        subjects="SELECT CustomerId FROM Invoice JOIN InvoiceLine USING (InvoiceId) "
        "WHERE TrackId < 20",
    ),
    Shape(
        "longer subject path, of rows that are left out",
        "SELECT UnitPrice FROM InvoiceLine ORDER BY InvoiceLineId LIMIT 2",
        (),
        {"invoiceline": "VALUES (1), (2)"},
        subjects="SELECT '(unknown)'",
    ),
    Shape(
        "view",
        "SELECT FirstName FROM canadian ORDER BY 1",
        (),
        {"customer": f"{_CUSTOMERS} WHERE Country = 'Canada'"},
        subjects=f"{_CUSTOMERS} WHERE Country = 'Canada'",
    ),
    Shape(
        "view, by its schema's name, under an alias, filtered by a parameter",
        "SELECT v.FirstName, ? FROM main.canadian AS v WHERE v.CustomerId IN (?, ?, ?) ORDER BY 1",
        ("x", 3, 14, 2),
        {"customer": "VALUES (3), (14)"},
    ),
    Shape(
        "view that finds nothing",
        "SELECT * FROM canadian WHERE CustomerId = 2",
        (),
        {"customer": ""},
    ),
    Shape(
        "star over a view, with a limit",
        "SELECT * FROM canadian ORDER BY CustomerId LIMIT 2",
        (),
        {"customer": "VALUES (3), (14)"},
    ),
    Shape(
        "view of a star",
        "SELECT v.* FROM whole v WHERE GenreId < 3 ORDER BY Name",
        (),
        {"genre": "VALUES (1), (2)"},
    ),
    Shape(
        "view with names of its own that need quotes",
        'SELECT "first ""name", "odd ""view".N FROM "odd ""view" ORDER BY 1',
        (),
        {"customer": f"{_CUSTOMERS} WHERE Country = 'USA'"},
    ),
    Shape(
        "view over a view, of an outer join",
        "SELECT FirstName, Total FROM bought ORDER BY 2, 1",
        (),
        {
            "customer": f"{_CUSTOMERS} WHERE Country = 'Canada'",
            "invoice": "SELECT InvoiceId FROM Invoice JOIN Customer USING (CustomerId) "
            "WHERE Country = 'Canada' AND Total > 5",
        },
    ),
    Shape(
        "view of groups",
        "SELECT s FROM spent WHERE c IN (2, 3) ORDER BY 1",
        (),
        {"invoice": f"{_INVOICES} WHERE CustomerId IN (2, 3)"},
        subjects="VALUES (2), (3)",
    ),
    Shape(
        "view of a union",
        "SELECT count(*) FROM everyone",
        (),
        {"customer": _CUSTOMERS, "employee": "SELECT EmployeeId FROM Employee"},
    ),
    Shape(
        "view of a limited named query",
        "SELECT BillingCity FROM dearest",
        (),
        {"invoice": f"{_INVOICES} ORDER BY Total DESC, InvoiceId LIMIT 4"},
    ),
    Shape(
        "view joined with itself and a table",
        "SELECT a.FirstName, b.FirstName, Total FROM canadian a JOIN canadian AS b "
        "ON b.CustomerId = a.CustomerId + 1 JOIN Invoice i ON i.CustomerId = a.CustomerId "
        "WHERE Total > 8 ORDER BY 3, 1",
        (),
        {
            "customer": "SELECT a.CustomerId FROM Customer a WHERE Country = 'Canada' AND EXISTS ("
            "SELECT 1 FROM Customer b WHERE b.Country = 'Canada' "
            "AND b.CustomerId IN (a.CustomerId + 1, a.CustomerId - 1) AND EXISTS (SELECT 1 "
            "FROM Invoice WHERE Total > 8 AND CustomerId = min(a.CustomerId, b.CustomerId)))",
            "invoice": f"{_INVOICES} i WHERE Total > 8 AND CustomerId IN (SELECT a.CustomerId "
            "FROM Customer a JOIN Customer b ON b.CustomerId = a.CustomerId + 1 "
            "WHERE a.Country = 'Canada' AND b.Country = 'Canada')",
        },
    ),
    Shape(
        "count over a view",
        "SELECT count(*) FROM canadian",
        (),
        {"customer": f"{_CUSTOMERS} WHERE Country = 'Canada'"},
    ),
    Shape(
        "distinct over a view",
        "SELECT DISTINCT substr(FirstName, 1, 1) FROM canadian ORDER BY 1",
        (),
        {"customer": f"{_CUSTOMERS} WHERE Country = 'Canada'"},
    ),
    Shape(
        "view that is only consulted",
        "SELECT LastName FROM Customer WHERE CustomerId IN (SELECT CustomerId FROM canadian) "
        "AND CustomerId < 15 ORDER BY 1",
        (),
        {"customer": "VALUES (3), (14)"},
    ),
    Shape(
        "view of which the statement gives a name another meaning",
        "WITH Customer AS (SELECT 'x' AS FirstName, 'Canada' AS Country, 1 AS CustomerId) "
        "SELECT v.FirstName, Customer.FirstName FROM canadian v, Customer ORDER BY 1",
        (),
        {"customer": ""},
        {"customer": "statement"},
    ),
    Shape(
        "recursive CTE",
        "WITH RECURSIVE tree(id, name) AS (SELECT id, name FROM part WHERE id = 1 UNION ALL "
        "SELECT p.id, p.name FROM part p JOIN tree t ON p.parent = t.id) SELECT name FROM tree",
        (),
        {"part": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "recursive CTE that counts, filtered",
        "WITH RECURSIVE tree AS (SELECT id, name, 0 AS depth FROM part WHERE parent IS NULL "
        "UNION ALL SELECT p.id, p.name, depth + ? FROM tree JOIN part p ON p.parent = tree.id) "
        "SELECT name, depth FROM tree WHERE depth > 0 ORDER BY 2 LIMIT 1",
        (1,),
        {"part": "SELECT 2"},
    ),
    Shape(
        "recursive CTE with a path that only sorts",
        "WITH RECURSIVE tree(id, name, path) AS (SELECT id, name, name FROM part WHERE id = 1 "
        "UNION ALL SELECT p.id, p.name, t.path || '/' || p.name FROM part p JOIN tree t "
        "ON p.parent = t.id) SELECT name FROM tree ORDER BY path DESC LIMIT 2",
        (),
        {"part": "VALUES (2), (3)"},
    ),
    Shape(
        "recursive CTE whose rows hold what others said, all of them",
        "WITH RECURSIVE tree(id, path) AS (SELECT id, name FROM part WHERE id = 1 UNION ALL "
        "SELECT p.id, t.path || '/' || p.name FROM part p JOIN tree t ON p.parent = t.id) "
        "SELECT path FROM tree ORDER BY path DESC",
        (),
        {"part": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "recursive CTE whose rows hold what others said",
        "WITH RECURSIVE tree(id, path) AS (SELECT id, name FROM part WHERE id = 1 UNION ALL "
        "SELECT p.id, t.path || '/' || p.name FROM part p JOIN tree t ON p.parent = t.id) "
        "SELECT path FROM tree WHERE id = 3",
        (),
        {"part": ""},
        {"part": "statement"},
    ),
    Shape(
        "star over a recursive CTE, from a row that is no table's, by two tables",
        "WITH RECURSIVE up(id, name, n) AS (SELECT 3, 'start', 0 UNION ALL "
        "SELECT p.parent, coalesce(p.name, g.Name), n + 1 FROM up JOIN part p ON p.id = up.id "
        "LEFT JOIN Genre g ON g.GenreId = p.parent WHERE n < 5) SELECT * FROM up ORDER BY n",
        (),
        {"part": "VALUES (1), (2), (3)", "genre": "VALUES (1), (2)"},
    ),
    Shape(
        "recursive CTE of distinct rows",
        "WITH RECURSIVE tree(id, name) AS (SELECT id, name FROM part WHERE id = 1 UNION "
        "SELECT p.id, p.name FROM part p JOIN tree t ON p.parent = t.id) SELECT name FROM tree",
        (),
        {"part": ""},
        {"part": "statement"},
    ),
    Shape(
        "recursive CTE, counted, of rows whose keys are text",
        "WITH RECURSIVE t(k, v) AS (SELECT uuid, v FROM doc WHERE v = 1 UNION ALL "
        "SELECT d.uuid, d.v FROM t JOIN doc d ON d.v = t.v * 2 WHERE d.v < 2000) "
        "SELECT count(*) FROM t",
        (),
        {"doc": "SELECT uuid FROM doc WHERE v IN (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)"},
    ),
    Shape(
        "numbers that a recursive CTE makes, beside a table",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) "
        "SELECT i, Name FROM n JOIN Genre ON GenreId = i ORDER BY i",
        (),
        {"genre": "VALUES (1), (2), (3)"},
    ),
    Shape(
        "union all, with NULLs and a limit, out of a derived table",
        "SELECT n FROM (SELECT LastName AS n, CustomerId AS k FROM Customer WHERE CustomerId < 4 "
        "UNION ALL SELECT NULL, EmployeeId FROM Employee UNION ALL SELECT 'x', 2) "
        "WHERE k = 2 ORDER BY n",
        (),
        {"customer": "SELECT 2", "employee": "SELECT 2"},
    ),
    Shape(
        "union all of whole rows",
        "SELECT * FROM Genre WHERE GenreId < 3 UNION ALL SELECT * FROM MediaType "
        "WHERE MediaTypeId > 3 UNION ALL SELECT * FROM Genre WHERE GenreId = 2 ORDER BY 2, 1",
        (),
        {"genre": "VALUES (1), (2)", "mediatype": "VALUES (4), (5)"},
    ),
    Shape(
        "join with json_each",
        "SELECT LastName FROM json_each(?) j JOIN Customer c ON c.CustomerId = j.value ORDER BY 1",
        ("[3,4]",),
        {"customer": "VALUES (3), (4)"},
    ),
    Shape(
        "row values",
        "SELECT who FROM seat WHERE (plane, row) IN (VALUES ('a', 1), ('b', 1)) ORDER BY plane",
        (),
        {"seat": "SELECT plane, letter, row FROM seat WHERE row = 1"},
    ),
    Shape("no table at all", "SELECT 1, 'x', 2.5, NULL, x'00'", ()),
    Shape("values", "VALUES (1, 'a'), (2, 'b')", ()),
    Shape("pragma", "PRAGMA table_info(Customer)", ()),
    Shape("explain", "EXPLAIN QUERY PLAN SELECT * FROM Customer", ()),
    Shape("table whose reads aren't captured", "SELECT v FROM unwatched", ()),
    Shape("catalogue", "SELECT name FROM sqlite_master ORDER BY 1 LIMIT 2", ()),
]
