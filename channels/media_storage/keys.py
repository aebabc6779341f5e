"""The keys of files and folders as clients name them (docs/protocol/media-storage.md#keys)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from functools import lru_cache
from typing import Final, NamedTuple

from channels.media_storage.folders import FOLDERS, IMPORTS, TOPS
from hub.core.channels import to_segment
from hub.core.field_error import FieldError
from hub.core.limits import MAX_CHANNEL_LENGTH, MAX_CHANNEL_SEGMENTS
from hub.http.file_names import UNSEEN

MAX_BYTES: Final = 1024
"""UTF-8 bytes of a key: the bound of S3."""

MAX_SEGMENTS: Final = 64
"""Segments of the key of a file that is uploaded: a listing of directories nests a folder in the one above it, and many programs bound how
deep the JSON that they read may be.
"""

OPERATION: Final = "/media"
"""The operation of a folder begins so; the folder's path follows."""

_REFUSED: Final = re.compile(rf"[\x00-\x1f\x7f-\x9f{UNSEEN}\ud800-\udfff\ufffd\\]")
"""Control characters, marks that nobody sees, halves of characters, what takes the place of bytes that are no UTF-8, and backslashes.
"""


def check_key(key: str) -> str:
    """Check a key of a file or, with a slash at its end, of a folder, and return it.

    Raises:
        FieldError: it is none.
    """
    segments = key.removesuffix("/").split("/")
    if _REFUSED.search(key) or any(each in ("", ".", "..") for each in segments):
        expected = (
            "segments with a slash between, none of them empty, . or .., without control characters, marks that nobody sees and backslashes"
        )
        raise FieldError.of_value("key", expected, key)
    if len(key.encode()) > MAX_BYTES:
        raise FieldError("key", f"at most {MAX_BYTES} bytes", str(len(key.encode())))
    if segments[0] not in TOPS:
        raise FieldError.of_value("key", f"a key below {' or '.join(f'{each}/' for each in TOPS)}", key)
    return key


def is_folder(key: str) -> bool:
    """Whether a key is that of a folder: it has a slash at its end, or every tenant has a folder of this name."""
    return key.endswith("/") or key in FOLDERS


def check_file(key: str) -> str:
    """Check the key of a file, and return it.

    Raises:
        FieldError: it is none, or that of a folder.
    """
    if is_folder(check_key(key)):
        raise FieldError.of_value("key", "the key of a file, not of a folder", key)
    return key


def check_upload(key: str) -> str:
    """Check the key of a file that is to be uploaded, and return it.

    Raises:
        FieldError: it is none, lies too deep, or outside ``imports/``.
    """
    if (segments := key.count("/") + 1) > MAX_SEGMENTS:
        raise FieldError("key", f"at most {MAX_SEGMENTS} segments", str(segments))
    if not check_file(key).startswith(f"{IMPORTS}/"):
        raise FieldError.of_value("key", f"a key below {IMPORTS}/, where files can be uploaded", key)
    return key


def folder_of(key: str) -> str:
    """The folder of a key, with a slash at its end; of a folder, itself."""
    return f"{key.rpartition('/')[0]}/"


def name_of(key: str) -> str:
    """The last segment of a key."""
    return key.removesuffix("/").rpartition("/")[2]


def key_hash(key: str) -> str:
    """The MD5 of a key's UTF-8 bytes, in hexadecimal digits."""
    return hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=4096)
def operation_of(key: str) -> str:
    """The operation that a caller needs for the folder of a key: ``/media/exports/reporting/outreach``. A folder that lies deeper than
    patterns of grants can have needs that of the last folder above it that they can.
    """
    operation = OPERATION
    for segment in folder_of(key).removesuffix("/").split("/"):
        longer = f"{operation}/{to_segment(segment)}"
        # below it there must be room for the wildcard that means all of it
        if longer.count("/") >= MAX_CHANNEL_SEGMENTS or len(longer) + len("/**") > MAX_CHANNEL_LENGTH:
            break
        operation = longer
    return operation


def to_token(key: str) -> str:
    """The token of the page that starts at a key: its base64 (RFC 4648 section 4)."""
    return base64.b64encode(key.encode()).decode()


def of_token(name: str, token: str, below: str) -> str:
    """The key at which a page starts.

    Args:
        name: of the parameter, for the error.
        token: what the page before said.
        below: the folder that is listed: pages of another one have other tokens.

    Raises:
        FieldError: it is no token of this folder's pages.
    """
    try:
        # a plus sign that was not percent-encoded has become a blank on its way
        key = base64.b64decode(token.replace(" ", "+"), validate=True).decode()
    except (binascii.Error, ValueError):
        raise FieldError.of_value(name, "the token of an answer before", token) from None
    if not key.startswith(below) or len(key.encode()) > MAX_BYTES + 1:
        raise FieldError.of_value(name, f"the token of an answer before about {below}", token)
    return key


INCOMING: Final = "media-incoming/"
"""The folder of the store into which native links lead."""

_TIMES: Final = re.compile(r"(\d{1,15})-(\d{1,15})", re.ASCII)
_CHUNK: Final = 200
"""Characters of a segment of such a key: stores take 255."""


class Incoming(NamedTuple):
    """What the key of a native upload says."""

    tenant: str
    key: str
    """That of the file."""
    ends_ms: int
    """The end of the link."""
    born_ms: int
    """When the tenant was made: a later one of its name has nothing to do with the link."""


def to_incoming(incoming: Incoming) -> str | None:
    """The key in the store to which a native link leads: tenant, the end of the link and the birth of the tenant, and the base64url of the
    file's key, cut into segments. None: it would be longer than stores take.
    """
    text = _to_base64url(incoming.key)
    chunks = "/".join(text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK))
    made = f"{INCOMING}{incoming.tenant}/{incoming.ends_ms}-{incoming.born_ms}/{chunks}"
    return made if len(made.encode()) <= MAX_BYTES else None


def of_incoming(made: str) -> Incoming | None:
    """What a key in the store says; None: it is not one that :func:`to_incoming` made."""
    tenant, _, rest = made.removeprefix(INCOMING).partition("/")
    times, _, chunks = rest.partition("/")
    key = _of_base64url(chunks.replace("/", ""))
    found = _TIMES.fullmatch(times)
    if not tenant or found is None or not key:
        return None
    return Incoming(tenant, key, int(found[1]), int(found[2]))


LINKED: Final = "key."
"""The ids of links to media storage begin so; base64url of the key follows, without its padding (RFC 4648 section 5), a random part, and
when the tenant was made.
"""

_NONCE_BYTES: Final = 8
_BORN: Final = re.compile(r"\d{1,15}", re.ASCII)


def to_link_id(key: str, born_ms: int) -> str:
    """The id that a link to a key has: another one with each call, so that a link is told from others of the same millisecond. ``born_ms``
    says when the tenant was made: a later one of its name has nothing to do with the link.
    """
    return f"{LINKED}{_to_base64url(key)}.{secrets.token_urlsafe(_NONCE_BYTES)}.{born_ms}"


def of_link_id(identifier: str) -> tuple[str, int] | None:
    """The key of a link, and when its tenant was made; None: it is no link to media storage."""
    if not identifier.startswith(LINKED):
        return None
    text, _, rest = identifier.removeprefix(LINKED).partition(".")
    key, born = _of_base64url(text), rest.partition(".")[2]
    return (key, int(born)) if key is not None and _BORN.fullmatch(born) else None


def link_hash(identifier: str, ends_ms: int) -> str:
    """What a link is remembered by: the SHA-256 of its id and its end, in hexadecimal digits."""
    return hashlib.sha256(f"{identifier} {ends_ms}".encode()).hexdigest()


def _to_base64url(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _of_base64url(text: str) -> str | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
