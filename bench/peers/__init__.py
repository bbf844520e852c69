"""What capture costs beside what other libraries cost: `make bench-capture`.

Each variant is a process of its own (`django_worker`, `sqlalchemy_worker`) with a database of its
own, told by `rounds` what to do; all do the same (`works`).
"""
