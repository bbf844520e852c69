"""A small shop's back office, as many companies have one: staff work on customers' data.

Starlette and SQLAlchemy over SQLite. Only `serve.audited` and `sign_in` know of Indelible, and
`routes` where it states a purpose that no table shows (a refund, a refusal).
"""
