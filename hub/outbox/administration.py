"""Create, check, change and remove endpoints, and rotate their secrets. REST and the `hub` command share this module."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from hub.audit.changes import differences
from hub.audit.log import Recorder
from hub.audit.models import Event
from hub.core.field_error import FieldError
from hub.core.ports import Clock
from hub.outbox import endpoint_store
from hub.outbox.guard import Guard
from hub.outbox.models import Endpoint, Policy, Secret, Success, Throttle
from hub.outbox.settings import OutboxSettings
from hub.outbox.sign import check_headers, new_secret, secret_problem
from hub.security.queries import begin_change
from hub.storage.transactions import Transaction

MAX_CONCURRENT: Final = 1_000
MIN_SECRET_LENGTH: Final = 8
MAX_SECRET_LENGTH: Final = 1_024
MAX_URL_LENGTH: Final = 2_048
MAX_ENTRIES: Final = 50
"""How many types, media or headers one endpoint may have."""

MAX_DESCRIPTION_LENGTH: Final = 500

_TYPE: Final = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*(\.\*)?")
_MEDIUM: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class UnknownEndpointError(LookupError):
    """The tenant has no such endpoint, or the endpoint belongs to a family."""


@dataclass(frozen=True, slots=True)
class Change:
    """The fields to set. None leaves a field as it is, or takes its default."""

    url: str | None = None
    types: Sequence[str] | None = None
    media: Sequence[str] | None = None
    headers: Mapping[str, str] | None = None
    description: str | None = None
    concurrency: int | None = None
    success: str | None = None
    enabled: bool | None = None
    throttle: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointTerms:
    """What whoever changes endpoints goes by: the addresses and the numbers that are allowed, and how an endpoint is written."""

    guard: Guard
    clock: Clock
    settings: OutboxSettings
    save: Callable[[Transaction, Endpoint], object] = endpoint_store.save
    """Writes an endpoint; in a hub that runs, also into the copy of this process."""
    drop: Callable[[Transaction, str], object] | None = None
    """Deletes one, likewise; None: in the database alone."""

    @classmethod
    def of(cls, settings: OutboxSettings, clock: Clock) -> EndpointTerms:
        """For a command, which has no copy of endpoints."""
        return cls(Guard(settings.allowed_networks, settings.https_only), clock, settings)

    def remove(self, transaction: Transaction, identifier: str) -> None:
        """Delete an endpoint."""
        if self.drop is None:
            endpoint_store.remove(transaction, identifier, self.clock.wall_ms())
        else:
            self.drop(transaction, identifier)


class Administration:
    """Its methods run inside transactions. What they change is recorded in the audit log, in the same transaction."""

    __slots__ = ("_recorder", "_terms")

    def __init__(self, terms: EndpointTerms, recorder: Recorder) -> None:
        """``recorder`` records who makes the changes."""
        self._terms = terms
        self._recorder = recorder

    def add(self, transaction: Transaction, tenant: str, change: Change, secret: str | None) -> tuple[Endpoint, str]:
        """Create an endpoint. Returns it with its secret, which is generated where none is given.

        Raises:
            FieldError: a field is wrong, or the tenant has too many.
        """
        if change.url is None:
            raise FieldError.of_value("url", "a URL", None)
        begin_change(transaction)
        most = self._terms.settings.max_endpoints
        if (present := endpoint_store.count(transaction, tenant)) >= most:
            raise FieldError.of_value("endpoints", f"at most {most} of a tenant (outbox.max_endpoints)", present + 1)
        secret = checked_secret(secret) if secret is not None else new_secret()
        made = Endpoint(
            endpoint_store.new_id(),
            tenant,
            "",
            (Secret(secret),),
            policy=Policy(Success.EXACTLY_200),
            created_ms=self._terms.clock.wall_ms(),
        )
        made = self._changed(made, change)
        self._terms.save(transaction, made)
        self._recorder.record(transaction, Event.ENDPOINT_ADDED, tenant, made.id, after=_recorded(made))
        return made, secret

    def change(self, transaction: Transaction, tenant: str, identifier: str, change: Change) -> Endpoint:
        """Set the fields of ``change`` that are not None.

        Raises:
            UnknownEndpointError: the tenant has no such endpoint.
            FieldError: a field is wrong.
        """
        begin_change(transaction)
        found = self.find(transaction, tenant, identifier, to_change=True)
        made = self._changed(found, change)
        self._terms.save(transaction, made)
        before, after = differences(_recorded(found), _recorded(made))
        self._recorder.record(transaction, Event.ENDPOINT_CHANGED, tenant, made.id, before=before, after=after)
        return made

    def rotate(self, transaction: Transaction, tenant: str, identifier: str, secret: str | None) -> tuple[Endpoint, str]:
        """Give an endpoint a new secret. The old one also signs for ``outbox.secret_overlap_h`` hours.

        Raises:
            UnknownEndpointError: the tenant has no such endpoint.
            FieldError: the secret cannot be used.
        """
        begin_change(transaction)
        endpoint = self.find(transaction, tenant, identifier, to_change=True)
        secret = checked_secret(secret) if secret is not None else new_secret()
        now_ms = self._terms.clock.wall_ms()
        overlap_ms = round(self._terms.settings.secret_overlap_h * 3_600_000)
        made = replace(endpoint, secrets=rotated(endpoint.secrets, secret, now_ms, overlap_ms))
        self._terms.save(transaction, made)
        self._recorder.record(transaction, Event.ENDPOINT_CHANGED, tenant, made.id, after={"secret": "rotated"})
        return made, secret

    def remove(self, transaction: Transaction, tenant: str, identifier: str) -> Endpoint:
        """Remove an endpoint. Its pending deliveries become dead.

        Raises:
            UnknownEndpointError: the tenant has no such endpoint.
        """
        begin_change(transaction)
        endpoint = self.find(transaction, tenant, identifier, to_change=True)
        self._terms.remove(transaction, identifier)
        self._recorder.record(transaction, Event.ENDPOINT_REMOVED, tenant, identifier, before=_recorded(endpoint))
        return endpoint

    def find(self, transaction: Transaction, tenant: str, identifier: str, *, to_change: bool = False) -> Endpoint:
        """Find an endpoint that an administrator created. ``to_change``: see :func:`hub.outbox.endpoint_store.find`.

        Raises:
            UnknownEndpointError: the tenant has no such endpoint.
        """
        found = endpoint_store.find(transaction, tenant, identifier, to_change=to_change)
        if found is None or found.owner:
            raise UnknownEndpointError(identifier)
        return found

    def all(self, transaction: Transaction, tenant: str | None) -> list[Endpoint]:
        """The endpoints that administrators created, the oldest first."""
        return [each for each in endpoint_store.of_tenant(transaction, tenant) if not each.owner]

    def _changed(self, endpoint: Endpoint, change: Change) -> Endpoint:
        changed: dict[str, Any] = {}
        if change.url is not None:
            changed["url"] = checked_url(self._terms.guard, change.url)
            if change.url != endpoint.url:
                endpoint = forgiven(endpoint)
        if change.types is not None:
            changed["types"] = _checked_list("types", change.types, _TYPE, "an event type such as interaction.started, or interaction.*")
        if change.media is not None:
            changed["media"] = _checked_list("media", change.media, _MEDIUM, "a medium such as chat")
        if change.headers is not None:
            changed["headers"] = _checked_headers(change.headers)
        if change.description is not None:
            if len(change.description) > MAX_DESCRIPTION_LENGTH:
                raise FieldError.of_value("description", f"at most {MAX_DESCRIPTION_LENGTH} characters", len(change.description))
            changed["description"] = change.description
        if change.concurrency is not None:
            if not 0 <= change.concurrency <= MAX_CONCURRENT:
                raise FieldError.of_value("concurrency", f"0 (the hub's own) to {MAX_CONCURRENT}", change.concurrency)
            changed["concurrency"] = change.concurrency
        if change.success is not None:
            if change.success not in {each.value for each in Success}:
                raise FieldError.of_value("success", "200 or 2xx", change.success)
            endpoint = replace(endpoint, policy=endpoint.policy._replace(success=Success(change.success)))
        if change.throttle is not None:
            endpoint = throttled(endpoint, change.throttle)
        if change.enabled is not None:
            endpoint = switched(endpoint, change.enabled)
        return replace(endpoint, **changed)


def _recorded(endpoint: Endpoint) -> dict[str, Any]:
    """What the audit log tells of an endpoint: no secrets, and neither the query of its URL nor the values of its headers, which may hold
    some.
    """
    return {
        "url": endpoint.url.partition("?")[0],
        "types": list(endpoint.types),
        "media": list(endpoint.media),
        "headers": sorted(endpoint.headers),
        "enabled": endpoint.enabled,
        "concurrency": endpoint.concurrency,
    }


def throttled(endpoint: Endpoint, throttle: str) -> Endpoint:
    """Set which deliveries wait after the endpoint answered 429: those of the same key (``order``), or all (``endpoint``).

    Raises:
        FieldError: ``throttle`` is neither.
    """
    if throttle not in {each.value for each in Throttle}:
        raise FieldError.of_value("throttle", "order or endpoint", throttle)
    return replace(endpoint, policy=endpoint.policy._replace(throttle=Throttle(throttle)))


def switched(endpoint: Endpoint, enabled: bool) -> Endpoint:
    """Enable or disable an endpoint."""
    reason = "" if enabled else endpoint.disabled_reason or "by an administrator"
    again = enabled and not endpoint.enabled
    failing_since_ms = None if again else endpoint.failing_since_ms  # an old value would disable it again at the first failure
    switched = replace(endpoint, enabled=enabled, disabled_reason=reason, failing_since_ms=failing_since_ms)
    return forgiven(switched) if again else switched


def forgiven(endpoint: Endpoint) -> Endpoint:
    """Forget past failures of an endpoint: it has another URL, or is enabled again."""
    return replace(endpoint, silent=0, closed_until_ms=0)


def checked_url(guard: Guard, url: str, field: str = "url") -> str:
    """Check that a URL may be called, as far as that is known before its name is resolved.

    Raises:
        FieldError: the URL may not be called.
    """
    if len(url) > MAX_URL_LENGTH:
        raise FieldError.of_value(field, f"at most {MAX_URL_LENGTH} characters", len(url))
    try:
        guard.check_url(url)
    except ValueError as error:
        wrong = _of_text("url", url, error)
        raise FieldError(field, wrong.expected, wrong.got) from None
    return url


def rotated(secrets: Sequence[Secret], new: str, now_ms: int, overlap_ms: int) -> tuple[Secret, ...]:
    """The secrets after a rotation: the new one, and the ones that are valid now until their overlap ends."""
    until_ms = now_ms + overlap_ms
    old = [
        Secret(each.text, until_ms if each.until_ms is None else each.until_ms)
        for each in secrets
        if each.text != new and (each.until_ms is None or each.until_ms > now_ms)
    ]
    return (Secret(new), *old[: MAX_ENTRIES - 1])


def checked_secret(secret: str) -> str:
    """Check a secret that the caller chose.

    Raises:
        FieldError: the secret cannot be used.
    """
    if not MIN_SECRET_LENGTH <= len(secret) <= MAX_SECRET_LENGTH or not secret.isprintable():
        raise FieldError.of_value("secret", f"{MIN_SECRET_LENGTH} to {MAX_SECRET_LENGTH} printable characters", f"{len(secret)} characters")
    if error := secret_problem(secret):
        raise FieldError.of_value("secret", "base64 of 24 to 64 bytes after whsec_ (or a text that does not begin so)", error)
    return secret


def _checked_list(field: str, values: Sequence[str], shape: re.Pattern[str], expected: str) -> tuple[str, ...]:
    if len(values) > MAX_ENTRIES:
        raise FieldError.of_value(field, f"at most {MAX_ENTRIES}", len(values))
    for value in values:
        if len(value) > 64 or not shape.fullmatch(value):
            raise FieldError.of_value(field, expected, value)
    return tuple(dict.fromkeys(values))


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    if len(headers) > MAX_ENTRIES:
        raise FieldError.of_value("headers", f"at most {MAX_ENTRIES}", len(headers))
    try:
        check_headers(headers)
    except ValueError as error:
        raise _of_text("headers", dict(headers), error) from None
    return dict(headers)


_TEXT: Final = re.compile(r"(?P<field>[\w.-]+): expected (?P<expected>.*?), got (?P<got>.*)", re.DOTALL)


def _of_text(field: str, value: object, error: ValueError) -> FieldError:
    """Split the text of an error into field, expected and got."""
    if parts := _TEXT.fullmatch(str(error)):
        return FieldError.of_value(field if parts["field"] == field else f"{field}.{parts['field']}", parts["expected"], value)
    return FieldError.of_value(field, str(error), value)
