"""Opens the store that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from hub.core.ports import Clock
from hub.objects.local import LocalStore
from hub.objects.sends import Sends
from hub.objects.settings import ObjectsSettings
from hub.objects.sigv4 import Credentials
from hub.objects.store import ObjectStore

if TYPE_CHECKING:
    from hub.objects.remote import S3Links


_MAX_RETRIES: Final = 30
"""More than fit into ``objects.retry_s`` with its pauses, of which the longest is 2 s: that setting is the bound."""


class ObjectsSettingsError(ValueError):
    """The settings of the object store do not fit together, or the library does not take them; the text says which."""


def local_folder(settings: ObjectsSettings, data_dir: Path) -> Path | None:
    """The folder of the objects; None: they lie in the store of a cloud."""
    if settings.url is None:
        return data_dir / "objects"
    parts = urlsplit(settings.url)
    return Path(unquote(parts.netloc + parts.path)) if parts.scheme == "file" else None


def open_store(settings: ObjectsSettings, data_dir: Path, clock: Clock, sends: Sends | None = None) -> ObjectStore:
    """The store that the settings name. Nothing is read or written yet. ``sends``: see :class:`hub.objects.spool.Spool`; without it one of
    its own.

    Raises:
        ObjectsSettingsError: the library does not take an option.
    """
    folder = local_folder(settings, data_dir)
    if folder is not None:
        return LocalStore(folder)
    # imported here: obstore takes 10 MiB and 30 ms, and most hubs keep files in a folder
    from obstore import exceptions

    from hub.objects.remote import RemoteStore
    from hub.objects.spool import Spool

    parts = urlsplit(settings.url or "")
    try:
        backend = _BACKENDS[parts.scheme](parts.netloc, parts.path.strip("/"), settings)
    except (exceptions.BaseError, ValueError, TypeError) as error:
        raise ObjectsSettingsError(f"objects: the store {parts.scheme}://{parts.netloc} cannot be opened: {error}") from error
    links = _links(parts.netloc, parts.path.strip("/"), settings, clock) if settings.direct else None
    return RemoteStore(backend, Spool(data_dir / "uploads", Sends(settings.max_sends) if sends is None else sends), links)


def _s3(bucket: str, prefix: str, settings: ObjectsSettings) -> Any:
    from obstore.store import S3Store

    given: dict[str, Any] = {"region": settings.region, "virtual_hosted_style_request": not _in_path(settings)}
    if settings.endpoint is not None:
        given["endpoint"] = settings.endpoint.rstrip("/")
    if settings.access_key_id is not None and settings.secret_access_key is not None:
        given |= {"access_key_id": settings.access_key_id, "secret_access_key": settings.secret_access_key.get_secret_value()}
    if settings.kms_key_id is not None:
        given |= {"aws_server_side_encryption": "aws:kms", "aws_sse_kms_key_id": settings.kms_key_id}
    options: Mapping[str, Any] = settings.options
    plain = (settings.endpoint or "").startswith("http://")
    return S3Store(bucket, prefix=prefix or None, config={**given, **options}, **_client(settings, plain=plain))  # type: ignore[arg-type]


def _google(bucket: str, prefix: str, settings: ObjectsSettings) -> Any:
    from obstore.store import GCSStore

    return GCSStore(bucket, prefix=prefix or None, config=dict(settings.options), **_client(settings))  # type: ignore[arg-type]


def _azure(container: str, prefix: str, settings: ObjectsSettings) -> Any:
    from obstore.store import AzureStore

    return AzureStore(container, prefix=prefix or None, config=dict(settings.options), **_client(settings))  # type: ignore[arg-type]


def _client(settings: ObjectsSettings, *, plain: bool = False) -> dict[str, Any]:
    """How requests are made and repeated; ``plain``: without TLS."""
    return {
        "client_options": {"timeout": timedelta(seconds=settings.request_s), **({"allow_http": True} if plain else {})},
        "retry_config": {
            "max_retries": _MAX_RETRIES if settings.retry_s else 0,
            "retry_timeout": timedelta(seconds=settings.retry_s),
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
        },
    }


_BACKENDS: Final[Mapping[str, Callable[[str, str, ObjectsSettings], Any]]] = {"s3": _s3, "gs": _google, "az": _azure}


def s3_endpoint(settings: ObjectsSettings) -> str:
    """The URL of the server of an S3 bucket, without a slash at its end."""
    return (settings.endpoint or f"https://s3.{settings.region}.amazonaws.com").rstrip("/")


def _in_path(settings: ObjectsSettings) -> bool:
    return settings.endpoint is not None if settings.path_style is None else settings.path_style


def _links(bucket: str, prefix: str, settings: ObjectsSettings, clock: Clock) -> S3Links:
    from hub.objects.remote import S3Links

    assert settings.access_key_id is not None
    assert settings.secret_access_key is not None
    endpoint = s3_endpoint(settings)
    if _in_path(settings):
        base = f"{endpoint}/{bucket}"
    else:
        scheme, _, host = endpoint.partition("://")
        base = f"{scheme}://{bucket}.{host}"
    credentials = Credentials(settings.access_key_id, settings.secret_access_key.get_secret_value())
    return S3Links(f"{base}/{prefix}" if prefix else base, credentials, settings.region, clock, settings.kms_key_id)
