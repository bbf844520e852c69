"""For Celery: `indelible.logs.celery.configure(app, service="billing")`, where the app is made.

A worker would put handlers of its own in the place of ours, and its children end by `os._exit`.
"""

from __future__ import annotations

from typing import Any

try:
    from celery import signals
except ImportError as missing:  # pragma: no cover - in an environment without the extra
    raise ImportError("expected Celery: pip install 'indelible[celery]'") from missing

from indelible.logs import setup


def configure(app: Any, **settings: Any) -> None:
    """Where Celery sets up logging (in workers and its other commands), call `logs.configure` with
    `settings` instead; what tasks print is logged, too. Who only publishes tasks isn't touched."""

    def set_up(**_: object) -> None:
        setup.configure(**settings)
        app.log.redirect_stdouts()

    def end(**_: object) -> None:
        setup.close()

    signals.setup_logging.connect(set_up, weak=False, dispatch_uid="indelible.logs.set_up")
    signals.worker_process_shutdown.connect(end, weak=False, dispatch_uid="indelible.logs.end")
