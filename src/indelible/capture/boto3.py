"""Every call of S3 through boto3: reads, writes, deletions and listings, signed URLs included.

```python
session = boto3.Session()
record_objects(session, trail)     # the clients and resources that it makes from here on
```

An event is named by what the caller asked for: `s3object.read` of `s3object:bucket/key`, and, for
what concerns a bucket, `s3bucket.list` of `s3bucket:bucket`. Retries are one event. An object
counts as read when it is handed out, however much of it is then taken from the stream; a HEAD
counts, too (metadata is part of an object), and so does a signed URL when it is made, for what it
lets its holder do. A copy reads one and writes one. Listings are neither a read nor a write. An
upload in parts is a write when it is completed. `upload_file` and its like act for their caller,
whatever thread they run in, as one event for each operation and object.

A call that fails is an event of its failure, or of having been denied. Where no answer tells
whether it was carried out, a change counts as done, and as failed. No body, key, signature or
metadata is recorded.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

try:
    import boto3.session
    import botocore.session
    from boto3.s3 import transfer
    from botocore.client import BaseClient
    from botocore.exceptions import (
        ClientError,
        ConnectTimeoutError,
        EndpointConnectionError,
        ProxyConnectionError,
    )
except ImportError as missing:
    raise ImportError("expected boto3: pip install 'indelible[boto3]'") from missing

from indelible.capture.outside import Outside, Recording
from indelible.capture.s3_calls import DENIALS, Touch, answered, touches_of, touches_of_url
from indelible.errors import CaptureError
from indelible.events.context import carry
from indelible.events.model import Outcome, Subject

_UNCONNECTED: Final = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)
_tries: Final = contextvars.ContextVar("indelible_s3_tries", default=0)
"""How many requests of the call that runs may have reached S3."""


def record_objects(
    source: Any,
    trail: Recording,
    *,
    kind: str = "s3object",
    subject: Callable[[str], Subject | None] = lambda name: None,
    strict: bool = False,
) -> None:
    """Record the S3 calls of a client or resource, or of all that a session makes from here on.

    `subject` tells from `bucket/key` whose data an object is. Results and errors stay as they are.
    An event that can't be written is logged, and the call goes on; with `strict` it is on disk
    before anything is sent, or `DeliveryError` is raised and nothing is. Raises `CaptureError`
    where `source` isn't S3's, or is asynchronous.
    """
    told = _Told(
        Outside(trail, kind, subject=subject, strict=strict),
        Outside(trail, "s3bucket", strict=strict),
    )

    def make_class(class_attributes: dict[str, Any], base_classes: list[type], **_: Any) -> None:
        plain = type("S3", tuple(base_classes), dict(class_attributes))
        class_attributes.clear()
        base_classes[:] = [_recorded(plain, told)]

    if isinstance(source, boto3.session.Session | botocore.session.Session):
        is_boto3 = isinstance(source, boto3.session.Session)
        events = source.events if is_boto3 else source.get_component("event_emitter")
        events.register_last("creating-client-class.s3", make_class)
    else:
        client = source if isinstance(source, BaseClient) else _client_of(source)
        service = client.meta.service_model.service_name
        if service != "s3":
            raise CaptureError(f"expected a client of s3, got one of {service}")
        client.__class__ = _recorded(type(client), told)
        events = client.meta.events
    events.register_first("before-send.s3", _note_try)
    events.register_first("response-received.s3", _note_answer)


def _note_try(**_: Any) -> None:
    _tries.set(_tries.get() + 1)


def _note_answer(exception: Exception | None = None, **_: Any) -> None:
    if isinstance(exception, _UNCONNECTED):
        _tries.set(_tries.get() - 1)


class _Told:
    """What calls did to objects and buckets, written down."""

    def __init__(self, objects: Outside, buckets: Outside) -> None:
        self.objects = objects
        self.buckets = buckets

    def tell(self, touch: Touch, outcome: Outcome = Outcome.SUCCESS) -> None:
        if touch.is_part and outcome is Outcome.SUCCESS:
            return
        things = self.buckets if touch.is_bucket else self.objects
        things.tell(touch.verb, *touch.names, outcome=outcome, details=touch.details)

    def announce(self, touches: Sequence[Touch]) -> None:
        """Tell on disk of what is about to be done."""
        for touch in touches:
            self.tell(touch)
        self.objects.sync()

    @contextlib.contextmanager
    def of_call(self, touches: Sequence[Touch]) -> Iterator[Callable[[Any], None]]:
        """What is done inside is told by its outcome; the answer goes to what this yields."""
        answers: list[Any] = []
        strict = self.objects.strict
        tries_before = _tries.set(0)
        if strict:
            self.announce(touches)
        try:
            yield answers.append
        except BaseException as error:
            outcome, code, is_unclear = _failure(error)
            for touch in touches:
                if is_unclear and touch.is_change and not strict:
                    self.tell(touch)
                self.tell(touch.of(*touch.names, error=code), outcome)
            raise
        finally:
            _tries.reset(tries_before)
        for touch in touches:
            for each, outcome in answered(touch, *answers):
                if not strict or outcome is not Outcome.SUCCESS:
                    self.tell(each, outcome)


class _ToldOfTransfer(_Told):
    """What a transfer did, for who began it: the same thing done again is the same event."""

    def __init__(self, told: _Told) -> None:
        super().__init__(told.objects, told.buckets)
        self._tell = carry(told.tell)
        self._lock = threading.RLock()
        self._known: set[tuple[object, ...]] = set()

    def tell(self, touch: Touch, outcome: Outcome = Outcome.SUCCESS) -> None:
        known = (touch.verb, touch.details["operation"], touch.names, outcome)
        with self._lock:
            if outcome is not Outcome.SUCCESS or known not in self._known:
                self._tell(touch, outcome)
                self._known.add(known)

    def announce(self, touches: Sequence[Touch]) -> None:
        with self._lock:  # nobody goes on before what another thread tells is on disk
            super().announce(touches)


class _RecordedClient(BaseClient):  # type: ignore[misc]  # botocore has no types
    """The front of a client's class. Each operation, whoever calls it, is one `_make_api_call`."""

    _told: _Told

    def _make_api_call(self, operation_name: str, api_params: dict[str, Any]) -> Any:
        with self._told.of_call(touches_of(operation_name, api_params)) as tell:
            answer = super()._make_api_call(operation_name, api_params)
            tell(answer)
        return answer

    def generate_presigned_url(
        self,
        ClientMethod: str,
        Params: dict[str, Any] | None = None,
        ExpiresIn: int = 3600,
        HttpMethod: str | None = None,
    ) -> Any:
        operation = self.meta.method_to_api_mapping.get(ClientMethod, str(ClientMethod))
        params = Params if isinstance(Params, dict) else {}
        touches = touches_of_url(operation, params, method=HttpMethod, expires_in_s=ExpiresIn)
        with self._told.of_call(touches) as tell:
            url = super().generate_presigned_url(ClientMethod, Params, ExpiresIn, HttpMethod)
            tell({})
        return url

    def generate_presigned_post(
        self,
        Bucket: str,
        Key: str,
        Fields: Any = None,
        Conditions: Any = None,
        ExpiresIn: int = 3600,
    ) -> Any:
        params = {"Bucket": Bucket, "Key": Key}
        touches = touches_of_url("PostObject", params, method=None, expires_in_s=ExpiresIn)
        with self._told.of_call(touches) as tell:
            form = super().generate_presigned_post(Bucket, Key, Fields, Conditions, ExpiresIn)
            tell({})
        return form

    def _for_caller(self) -> _RecordedClient:
        """This client for one transfer, whose threads act for who calls this."""
        view: _RecordedClient = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._told = _ToldOfTransfer(self._told)
        return view


def _transfer(name: str) -> Callable[..., Any]:
    """The client's method of this name, run on a client of its caller."""

    def method(self: _RecordedClient, *args: Any, **options: Any) -> Any:
        plain = getattr(super(_RecordedClient, self._for_caller()), name)
        try:
            call = inspect.signature(plain).bind(*args, **options)
        except TypeError:
            return plain(*args, **options)  # raises what it raises without us
        source = call.arguments.get("SourceClient")
        if isinstance(source, _RecordedClient):
            call.arguments["SourceClient"] = source._for_caller()
        if getattr(transfer, "HAS_CRT", False):
            # A transfer in native code would go round the client.
            config = copy.copy(call.arguments.get("Config")) or transfer.TransferConfig()
            config.preferred_transfer_client = "classic"
            call.arguments["Config"] = config
        return plain(*call.args, **call.kwargs)

    return method


for _name in ("upload_file", "download_file", "upload_fileobj", "download_fileobj", "copy"):
    setattr(_RecordedClient, _name, _transfer(_name))


def _recorded(plain: type, told: _Told) -> type:
    """The class of a client that tells `told`, with the same name."""
    if issubclass(plain, _RecordedClient):
        raise CaptureError("expected a client that isn't recorded yet: record it once")
    if inspect.iscoroutinefunction(getattr(plain, "_make_api_call", None)):
        raise CaptureError("expected a client of boto3 or botocore, got an asynchronous one")
    return type(plain.__name__, (_RecordedClient, plain), {"_told": told})


def _client_of(source: Any) -> Any:
    client = getattr(getattr(source, "meta", None), "client", None)
    if not isinstance(client, BaseClient):
        raise CaptureError(
            "expected a session, client or resource of boto3, got "
            f"{type(source).__module__}.{type(source).__qualname__}"
        )
    return client


def _failure(error: BaseException) -> tuple[Outcome, str, bool]:
    """The outcome, the error's code, and whether the call may have been carried out."""
    if not isinstance(error, ClientError):
        return Outcome.FAILURE, type(error).__qualname__, _tries.get() > 0
    code = str(error.response.get("Error", {}).get("Code"))
    answer = error.response.get("ResponseMetadata", {})
    status = answer.get("HTTPStatusCode", 500)
    outcome = DENIALS.get(code) or DENIALS.get(str(status), Outcome.FAILURE)
    # An earlier try may have been carried out, and refused is that there was one.
    return outcome, code, status >= 500 or _tries.get() > 1
