"""Reads and writes of files and objects, through any fsspec filesystem.

```python
files = AuditedFileSystem(fsspec.filesystem("s3"), trail)
with files.open("bucket/reports/zara.pdf") as file: ...
```

What was opened counts as read, what was opened for writing as written, however much of it was; a
signed URL counts as a read. Listing names is neither. Names are URLs, without user and query.
With `strict` what was to be done is on disk before it is done, and counts as done; where it failed,
an event says so behind it.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, Final

try:
    from fsspec.spec import AbstractFileSystem
except ImportError as missing:
    raise ImportError("expected fsspec: pip install 'indelible[fsspec]'") from missing

from indelible.capture.outside import Outside, Recording
from indelible.events.model import Outcome, Subject
from indelible.events.values import Native, Value

_READ: Final = "read"
_WRITE: Final = "write"
_DELETE: Final = "delete"


class AuditedFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A filesystem over `fs`, with the same results and errors.

    `kind` is that of its targets, `subject` tells from a file's URL whose data it is. An event
    that can't be written is logged, and the file handed out all the same; with `strict`
    `DeliveryError` is raised, before any file is opened, changed or deleted.
    """

    cachable = False

    def __init__(
        self,
        fs: AbstractFileSystem,
        trail: Recording,
        *,
        kind: str = "file",
        subject: Callable[[str], Subject | None] = lambda url: None,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self._fs = fs
        self._files = Outside(trail, kind, subject=subject, strict=strict)
        self._strip_protocol = fs._strip_protocol
        self.protocol = fs.protocol
        self.root_marker = fs.root_marker
        self.blocksize = fs.blocksize

    # -- what hands out or changes contents ------------------------------------------------------

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        with contextlib.ExitStack() as told:
            if "r" in mode or "+" in mode:
                told.enter_context(self._told(_READ, path))
            if set(mode) & set("wax+"):
                told.enter_context(self._told(_WRITE, path))
            if options.pop("autocommit", True):
                return self._fs.open(path, mode, **options)
            return self._fs.open(path, mode, autocommit=False, **options)  # in a transaction

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        with self._told(_READ, path1), self._told(_WRITE, path2):
            self._fs.cp_file(path1, path2, **options)

    def rm_file(self, path: str) -> None:
        with self._told(_DELETE, path):
            self._fs.rm_file(path)

    def _rm(self, path: str) -> None:
        self.rm_file(path)

    def sign(self, path: str, expiration: int = 100, **options: Any) -> str:
        with self._told(_READ, path, {"as": "url", "expires_in_s": expiration}):
            url: str = self._fs.sign(path, expiration, **options)
        return url

    # -- what tells names ------------------------------------------------------------------------

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        return self._fs.ls(path, detail=detail, **options)

    def info(self, path: str, **options: Any) -> Any:
        return self._fs.info(path, **options)

    def created(self, path: str) -> Any:
        return self._fs.created(path)

    def modified(self, path: str) -> Any:
        return self._fs.modified(path)

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        self._fs.mkdir(path, create_parents, **options)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._fs.makedirs(path, exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        self._fs.rmdir(path)

    @contextlib.contextmanager
    def _told(
        self, verb: str, path: str, details: dict[str, Native | Value] | None = None
    ) -> Iterator[None]:
        """What is done inside is an event of its outcome, before its result is handed out."""
        url = _without_secrets(self._fs.unstrip_protocol(path))
        if self._files.strict:
            self._files.tell(verb, url, details=details)
            self._files.sync()
        try:
            yield
        except Exception as error:
            denied = isinstance(error, PermissionError)
            outcome = Outcome.DENIED if denied else Outcome.FAILURE
            self._files.tell(
                verb, url, outcome=outcome, details={"error": type(error).__qualname__}
            )
            raise
        if not self._files.strict:
            self._files.tell(verb, url, details=details)


def _without_secrets(url: str) -> str:
    """The URL without user, password, query and fragment, where tokens are."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https", "ftp", "sftp", "ssh", "smb", "webdav"):
        return url
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))
