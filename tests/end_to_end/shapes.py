"""Read shapes as plain SQL, each with the rows whose values it hands out, in hand-written words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .oracle import Witness


@dataclass(frozen=True)
class Rows:
    """The rows `t` of a table that `where` finds; not `sure` where more may be said to be read."""

    table: str
    where: str
    parameters: Sequence[object] = ()
    sure: bool = True


@dataclass(frozen=True)
class Shape:
    """One statement; `consults` are tables of which it hands out nothing."""

    name: str
    sql: str
    parameters: Sequence[object] = ()
    reads: Sequence[Rows] = ()
    consults: Sequence[str] = ()
    ordered: bool = True

    def declare(self, witness: Witness) -> None:
        for rows in self.reads:
            witness.reads(rows.table, rows.where, *rows.parameters, sure=rows.sure)
        witness.probes(*self.consults)


SHAPES: Sequence[Shape] = (
    Shape(
        "get by key",
        "SELECT * FROM Customer WHERE CustomerId = ?",
        (5,),
        [Rows("Customer", "t.CustomerId = 5")],
    ),
    Shape(
        "list",
        "SELECT * FROM Invoice WHERE BillingCountry = ? ORDER BY InvoiceId",
        ("Norway",),
        [Rows("Invoice", "t.BillingCountry = 'Norway'")],
    ),
    Shape(
        "columns without the key",
        "SELECT FirstName, LastName AS Name FROM Customer WHERE Country = ? ORDER BY 2, 1",
        ("Canada",),
        [Rows("Customer", "t.Country = 'Canada'")],
    ),
    Shape(
        "join",
        "SELECT c.LastName, i.Total FROM Customer AS c JOIN Invoice AS i"
        " ON i.CustomerId = c.CustomerId WHERE c.City = ? ORDER BY i.InvoiceId",
        ("Prague",),
        [
            Rows("Customer", "t.City = 'Prague'"),
            Rows(
                "Invoice",
                "t.CustomerId IN (SELECT CustomerId FROM Customer WHERE City = 'Prague')",
            ),
        ],
    ),
    Shape(
        "join that only filters",
        "SELECT i.Total FROM Invoice i JOIN Customer c USING (CustomerId)"
        " WHERE c.Country = 'Chile' ORDER BY i.InvoiceId",
        (),
        [
            Rows(
                "Invoice",
                "t.CustomerId IN (SELECT CustomerId FROM Customer WHERE Country = 'Chile')",
            )
        ],
        consults=["Customer"],
    ),
    Shape(
        "outer join",
        "SELECT c.LastName, l.CardNo, l.Points FROM Customer c LEFT JOIN LoyaltyCard l"
        " ON l.CustomerId = c.CustomerId WHERE c.CustomerId <= 8 ORDER BY c.CustomerId",
        (),
        [Rows("Customer", "t.CustomerId <= 8"), Rows("LoyaltyCard", "t.CustomerId <= 8")],
    ),
    Shape(
        "count",
        "SELECT count(*) FROM Invoice WHERE CustomerId = ?",
        (7,),
        [Rows("Invoice", "t.CustomerId = 7")],
    ),
    Shape(
        "count of all",
        "SELECT count(*) FROM Playlist",
        (),
        [Rows("Playlist", "1", sure=False)],
    ),
    Shape(
        "sum and average",
        "SELECT sum(Total), avg(Total), min(InvoiceDate), max(Total) FROM Invoice"
        " WHERE CustomerId IN (?, ?)",
        (2, 3),
        [Rows("Invoice", "t.CustomerId IN (2, 3)")],
    ),
    Shape(
        "group by, having",
        "SELECT CustomerId, sum(Total) AS s FROM Invoice WHERE BillingCountry = 'USA'"
        " GROUP BY CustomerId HAVING sum(Total) > 39 ORDER BY s DESC, CustomerId",
        (),
        [
            Rows(
                "Invoice",
                "t.BillingCountry = 'USA' AND t.CustomerId IN (SELECT CustomerId FROM Invoice"
                " WHERE BillingCountry = 'USA' GROUP BY 1 HAVING sum(Total) > 39)",
            )
        ],
    ),
    Shape(
        "group by over a join",
        "SELECT g.Name, count(*), max(t.Milliseconds) FROM Genre g JOIN Track t"
        " ON t.GenreId = g.GenreId WHERE g.GenreId IN (18, 20, 25) GROUP BY g.GenreId, g.Name"
        " HAVING count(*) > 5 ORDER BY g.GenreId",
        (),
        [
            Rows(
                "Genre",
                "t.GenreId IN (18, 20, 25)"
                " AND (SELECT count(*) FROM Track x WHERE x.GenreId = t.GenreId) > 5",
            ),
            Rows(
                "Track",
                "t.GenreId IN (18, 20, 25)"
                " AND (SELECT count(*) FROM Track x WHERE x.GenreId = t.GenreId) > 5",
            ),
        ],
    ),
    Shape(
        "distinct",
        "SELECT DISTINCT Country FROM Customer WHERE SupportRepId = ? ORDER BY Country",
        (3,),
        [Rows("Customer", "t.SupportRepId = 3")],
    ),
    Shape(
        "count of distinct",
        "SELECT count(DISTINCT City) FROM Customer WHERE Country = 'France'",
        (),
        [Rows("Customer", "t.Country = 'France'")],
    ),
    Shape(
        "union",
        "SELECT City FROM Customer WHERE Country = ? UNION SELECT City FROM Employee"
        " WHERE Title LIKE ? ORDER BY 1",
        ("Canada", "IT%"),
        [Rows("Customer", "t.Country = 'Canada'"), Rows("Employee", "t.Title LIKE 'IT%'")],
    ),
    Shape(
        "union all of one table",
        "SELECT Name FROM Genre WHERE GenreId < 3 UNION ALL SELECT Name FROM Genre"
        " WHERE GenreId = 2 OR GenreId > 23",
        (),
        [Rows("Genre", "t.GenreId < 3 OR t.GenreId > 23")],
        ordered=False,
    ),
    Shape(
        "common table expression",
        "WITH big AS (SELECT InvoiceId, CustomerId, Total FROM Invoice WHERE Total > 15)"
        " SELECT c.LastName, big.Total FROM big JOIN Customer c"
        " ON c.CustomerId = big.CustomerId ORDER BY big.InvoiceId",
        (),
        [
            Rows("Invoice", "t.Total > 15"),
            Rows("Customer", "t.CustomerId IN (SELECT CustomerId FROM Invoice WHERE Total > 15)"),
        ],
    ),
    Shape(
        "derived table",
        "SELECT d.Name FROM (SELECT Name, Milliseconds FROM Track WHERE AlbumId = ?) AS d"
        " WHERE d.Milliseconds > 240000 ORDER BY d.Name",
        (4,),
        [Rows("Track", "t.AlbumId = 4 AND t.Milliseconds > 240000")],
    ),
    Shape(
        "scalar subquery",
        "SELECT LastName, (SELECT max(Total) FROM Invoice WHERE BillingCountry = 'Spain') AS m"
        " FROM Customer WHERE CustomerId IN (49, 50) ORDER BY CustomerId",
        (),
        [
            Rows("Customer", "t.CustomerId IN (49, 50)"),
            Rows("Invoice", "t.BillingCountry = 'Spain'"),
        ],
    ),
    Shape(
        "scalar subquery that only filters",
        "SELECT InvoiceId, InvoiceDate FROM Invoice WHERE Total ="
        " (SELECT max(Total) FROM Invoice WHERE BillingCountry = 'Italy')"
        " AND BillingCountry = 'Italy' ORDER BY InvoiceId",
        (),
        [
            Rows(
                "Invoice",
                "t.BillingCountry = 'Italy' AND t.Total ="
                " (SELECT max(Total) FROM Invoice WHERE BillingCountry = 'Italy')",
            )
        ],
    ),
    Shape(
        "exists",
        "SELECT c.Email FROM Customer c WHERE EXISTS (SELECT 1 FROM Invoice i"
        " WHERE i.CustomerId = c.CustomerId AND i.Total > 20) ORDER BY c.CustomerId",
        (),
        [Rows("Customer", "t.CustomerId IN (SELECT CustomerId FROM Invoice WHERE Total > 20)")],
        consults=["Invoice"],
    ),
    Shape(
        "in a subquery",
        "SELECT Name FROM Track WHERE TrackId IN (SELECT TrackId FROM PlaylistTrack"
        " WHERE PlaylistId = ?) ORDER BY TrackId",
        (16,),
        [
            Rows(
                "Track",
                "t.TrackId IN (SELECT TrackId FROM PlaylistTrack WHERE PlaylistId = 16)",
            )
        ],
        consults=["PlaylistTrack"],
    ),
    Shape(
        "window function",
        "SELECT CustomerId, Total, row_number() OVER (PARTITION BY CustomerId ORDER BY InvoiceId)"
        " FROM Invoice WHERE CustomerId IN (11, 12) ORDER BY InvoiceId",
        (),
        [Rows("Invoice", "t.CustomerId IN (11, 12)")],
    ),
    Shape(
        "limit and offset",
        "SELECT TrackId, Name FROM Track ORDER BY TrackId LIMIT ? OFFSET ?",
        (10, 20),
        [Rows("Track", "t.TrackId IN (SELECT TrackId FROM Track ORDER BY 1 LIMIT 10 OFFSET 20)")],
    ),
    Shape(
        "limit without the key",
        "SELECT Name FROM Track WHERE GenreId = 2 ORDER BY Milliseconds DESC, TrackId LIMIT 5",
        (),
        [
            Rows(
                "Track",
                "t.TrackId IN (SELECT TrackId FROM Track WHERE GenreId = 2"
                " ORDER BY Milliseconds DESC, TrackId LIMIT 5)",
            )
        ],
    ),
    Shape(
        "composite key",
        "SELECT * FROM PlaylistTrack WHERE PlaylistId = ? AND TrackId = ?",
        (17, 3),
        [Rows("PlaylistTrack", "t.PlaylistId = 17 AND t.TrackId = 3")],
    ),
    Shape(
        "part of a composite key",
        "SELECT TrackId FROM PlaylistTrack WHERE PlaylistId = 17 ORDER BY TrackId",
        (),
        [Rows("PlaylistTrack", "t.PlaylistId = 17")],
    ),
    Shape(
        "self-join",
        "SELECT e.LastName, m.LastName AS Manager FROM Employee e JOIN Employee m"
        " ON m.EmployeeId = e.ReportsTo WHERE e.Title LIKE '%Agent' ORDER BY e.EmployeeId",
        (),
        [
            Rows(
                "Employee",
                "t.Title LIKE '%Agent' OR t.EmployeeId IN"
                " (SELECT ReportsTo FROM Employee WHERE Title LIKE '%Agent')",
            )
        ],
    ),
    Shape(
        "table without a key",
        "SELECT Page, Seconds FROM Visit WHERE CustomerId = ? ORDER BY Seconds",
        (5,),
        [Rows("Visit", "t.CustomerId = 5")],
    ),
    Shape(
        "text key of a table without rowid",
        "SELECT Name, Value, typeof(Value) FROM Setting ORDER BY Name",
        (),
        [Rows("Setting", "1")],
    ),
    Shape(
        "generated columns",
        "SELECT Slug, TitleLength FROM SupportCase WHERE CustomerId = 5 ORDER BY CaseId",
        (),
        [Rows("SupportCase", "t.CustomerId = 5")],
    ),
    Shape(
        "lines of an invoice",
        "SELECT l.UnitPrice, l.Quantity FROM InvoiceLine l WHERE l.InvoiceId = ?"
        " ORDER BY l.InvoiceLineId",
        (96,),
        [Rows("InvoiceLine", "t.InvoiceId = 96")],
    ),
    Shape(
        "nothing found",
        "SELECT * FROM Customer WHERE Email = ?",
        ("nobody@example.org",),
        [],
        consults=["Customer"],
    ),
    Shape(
        "recursive",
        "WITH RECURSIVE up(EmployeeId, ReportsTo, Depth) AS (SELECT EmployeeId, ReportsTo, 0"
        " FROM Employee WHERE EmployeeId = 8 UNION ALL SELECT e.EmployeeId, e.ReportsTo,"
        " Depth + 1 FROM Employee e JOIN up ON e.EmployeeId = up.ReportsTo)"
        " SELECT EmployeeId, Depth FROM up ORDER BY Depth",
        (),
        [
            Rows(
                "Employee",
                "t.EmployeeId IN (WITH RECURSIVE up(EmployeeId, ReportsTo) AS (SELECT EmployeeId,"
                " ReportsTo FROM Employee WHERE EmployeeId = 8 UNION ALL SELECT e.EmployeeId,"
                " e.ReportsTo FROM Employee e JOIN up ON e.EmployeeId = up.ReportsTo)"
                " SELECT EmployeeId FROM up)",
            )
        ],
    ),
    Shape(
        "correlated subquery",
        "SELECT c.LastName, (SELECT count(*) FROM Invoice i WHERE i.CustomerId = c.CustomerId)"
        " FROM Customer c WHERE c.Country = 'Germany' ORDER BY c.CustomerId",
        (),
        [
            Rows("Customer", "t.Country = 'Germany'", sure=False),
            Rows(
                "Invoice",
                "t.CustomerId IN (SELECT CustomerId FROM Customer WHERE Country = 'Germany')",
                sure=False,
            ),
        ],
    ),
    Shape(
        "view",
        "SELECT LastName, Total FROM CustomerTotal WHERE CustomerId = ?",
        (8,),
        [
            Rows("Customer", "t.CustomerId = 8", sure=False),
            Rows("Invoice", "t.CustomerId = 8", sure=False),
        ],
    ),
    Shape(
        "best of each",
        "SELECT CustomerId, Total FROM (SELECT CustomerId, Total, row_number() OVER"
        " (PARTITION BY CustomerId ORDER BY Total DESC, InvoiceId) AS n FROM Invoice"
        " WHERE CustomerId < 4) WHERE n = 1 ORDER BY CustomerId",
        (),
        [
            Rows(
                "Invoice",
                "t.InvoiceId IN (SELECT InvoiceId FROM (SELECT InvoiceId, row_number() OVER"
                " (PARTITION BY CustomerId ORDER BY Total DESC, InvoiceId) AS n FROM Invoice"
                " WHERE CustomerId < 4) WHERE n = 1)",
                sure=False,
            )
        ],
    ),
    Shape("no table", "SELECT 1 AS one, 'two', 3.0, x'04', NULL"),
    Shape(
        "text that looks like SQL",
        "SELECT LastName /* FROM Invoice ? */ FROM Customer -- WHERE ?\n"
        " WHERE City <> '?; DELETE FROM Customer' AND CustomerId = ? ORDER BY 1",
        (44,),
        [Rows("Customer", "t.CustomerId = 44")],
    ),
)
"""Every shape must be captured exactly, but for rows that aren't `sure`."""
