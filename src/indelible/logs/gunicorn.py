"""For gunicorn: `logger_class = "indelible.logs.gunicorn.Logger"`.

gunicorn puts a request's line together by a format of its configuration, out of every header: none
of it could be shown. Here a request is fields, judged by their names as any others.
"""

from __future__ import annotations

import datetime as dt
import logging.config
import sys
from typing import Any

try:
    from gunicorn import glogging
except ImportError as error:  # pragma: no cover - in an environment without it
    raise ImportError("expected gunicorn: pip install gunicorn") from error

from indelible.logs.setup import current, dict_config


class Logger(glogging.Logger):  # type: ignore[misc]
    """gunicorn's own lines and, with `accesslog`, one for each request, through the safe handler.

    Where no `logconfig` of any kind is given, logging is configured by `dict_config()`; what
    `accesslog` and `errorlog` name isn't opened then.
    """

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        if not (cfg.logconfig_dict or cfg.logconfig_json or cfg.logconfig):
            logging.config.dictConfig(dict_config(self.loglevel))

    def access(
        self, resp: Any, req: Any, environ: dict[str, Any], request_time: dt.timedelta
    ) -> None:
        if not self.cfg.accesslog or not self.access_log.isEnabledFor(logging.INFO):
            return
        running = current()
        frame = sys._getframe()
        body = running.lines.body(
            "info",
            self.access_log.name,
            "request",
            caller=lambda: frame,
            fields={
                "client": environ.get("REMOTE_ADDR"),
                "method": environ.get("REQUEST_METHOD"),
                "path": environ.get("PATH_INFO"),
                "status_code": resp.status_code,
                "bytes": resp.sent,
                "duration_ms": round(request_time.total_seconds() * 1_000, 1),
            },
        )
        running.stream.write("L", body)
