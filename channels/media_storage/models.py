"""What media storage keeps."""

from __future__ import annotations

from typing import Final, NamedTuple

CONTENT_TYPE: Final = "application/octet-stream"
"""Of every download: nobody has looked into what was uploaded."""

UPLOADED: Final = "media.uploaded"
"""The event of a finished upload below ``imports/``."""


class MediaObject(NamedTuple):
    """A file of a tenant."""

    path: str
    """Its key: ``imports/outreach/list-management/outreach.raw``."""
    object: str
    """The id of its bytes in the store: a UUID, another one for each upload."""
    size: int
    """Bytes."""
    md5: str
    """In hexadecimal digits."""
    sha256: str
    """In hexadecimal digits."""
    modified_ms: int
    """When it was uploaded or written, in ms since 1970 UTC."""


class Kept(NamedTuple):
    """What the sweep of objects needs to know of a file."""

    object: str
    path: str
    modified_ms: int


class Listed(NamedTuple):
    """A line of a listing: a file, or a folder."""

    path: str
    """The key; that of a folder ends with a slash."""
    size: int | None = None
    """Bytes; None: a folder."""
    modified_ms: int | None = None


class Page(NamedTuple):
    """A part of a listing."""

    lines: list[Listed]
    follows: str | None
    """The key at which the next page starts; None: this is the last one."""


class Listing(NamedTuple):
    """What a listing is answered with."""

    folder: str
    """The folder that was asked for."""
    lines: list[Listed]
    follows: str | None
    """The key at which the next page starts; None: this is the last one."""
    total: int | None
    """How many lines all pages have together; None: nobody asked, or too many to count."""


class Linked(NamedTuple):
    """A key with links to upload or to download its file."""

    key: str
    upload: bool
    found: MediaObject | None
    """The file that is there now."""
    url: str
    """The link through the hub."""
    native_url: str
    """The link to the store, where it has such links, else the same."""


class Usage(NamedTuple):
    """What a tenant's files take together."""

    bytes: int
    files: int
    links: int = 0
    """Links by which uploads were made, and which are remembered until they end."""
