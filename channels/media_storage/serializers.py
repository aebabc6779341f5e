"""How listings, files and events look (docs/protocol/media-storage.md#oddities)."""

from __future__ import annotations

from typing import Any, Final

from channels.events.time_text import format_time
from channels.media_storage.keys import MAX_SEGMENTS, key_hash, name_of, to_token
from channels.media_storage.models import UPLOADED, Linked, Listed, Listing, MediaObject
from hub.core.json_text import ascii_json

V2: Final = 2
V3: Final = 3

MAX_LEVELS: Final = MAX_SEGMENTS
"""Folders within each other in an answer, at most: those who write and read JSON refuse more than some hundred levels, and each folder is
two.
"""

_NO_LINKS: Final = dict.fromkeys(("signedUploadUrl", "nativeSignedUploadUrl", "signedDownloadUrl", "nativeSignedDownloadUrl"), "")


def size_text(size: int | None) -> str:
    """The size of a file as text; empty where there is none."""
    return "" if size is None else f"{size / 1024:.1f} KB"


def listing_body(listing: Listing, version: int, *, tree: bool) -> bytes:
    """The answer to a listing, as JSON. With ``tree``, folders hold those below them."""
    body: dict[str, Any] = {"kind": "objectKeys"}
    if listing.follows is not None:
        body["continuationToken" if version == V2 else "nextToken"] = to_token(listing.follows)
    if version != V2 and listing.total is not None:
        body["totalItems"] = listing.total
    body["objectKeys"] = _tree(listing, version) if tree else [_line(each, version) for each in listing.lines]
    return ascii_json(body)


def _line(line: Listed, version: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "kind": "objectKey",
        "key": line.path,
        "keyName": name_of(line.path),
        "size": size_text(line.size),
        "keyType": "directory" if line.size is None else "file",
        "childObjectKeys": [],
    }
    if line.modified_ms is not None:
        made["lastModifiedTime"] = format_time(line.modified_ms)
    if version == V2:
        return {"lastModifiedTime": "", **made, **_NO_LINKS}
    return made


def _tree(listing: Listing, version: int) -> list[dict[str, Any]]:
    """The folders of a page, each within the one above it; those above the first stand there too, up to the folder that was asked for."""
    top = _line(Listed(listing.folder), version)
    above = [(listing.folder, top)]
    """The folders that the next one may lie in, from the top down."""
    for line in listing.lines:
        while not line.path.startswith(above[-1][0]):
            above.pop()
        inner, into = above[-1]
        end = len(inner)
        while end < len(line.path):
            end = line.path.index("/", end) + 1
            if len(above) == MAX_LEVELS - 1:  # all that lie deeper stand side by side in the last level
                end = len(line.path)
            made = _line(Listed(line.path[:end]), version)
            into["childObjectKeys"].append(made)
            if len(above) < MAX_LEVELS - 1:
                above.append((line.path[:end], made))
                into = made
    return [top]


def linked_body(linked: Linked, version: int) -> dict[str, Any]:
    """A file with its links."""
    found = linked.found
    made = {
        "key": linked.key,
        "keyHash": key_hash(linked.key),
        "keyName": name_of(linked.key),
        "size": size_text(None if found is None else found.size),
        "lastModifiedTime": "" if found is None else format_time(found.modified_ms),
    }
    verb = "Upload" if linked.upload else "Download"
    links = {f"signed{verb}Url": linked.url, f"nativeSigned{verb}Url": linked.native_url}
    return {**made, "keyType": "file", **_NO_LINKS, **links} if version == V2 else {**made, **links}


def deleted_body(key: str) -> dict[str, Any]:
    """What version 3 answers when a file was deleted."""
    return {"key": key, "keyHash": key_hash(key), "status": "Delete request succeeded"}


def event_body(tenant_id: str, made: MediaObject) -> bytes:
    """The event of a finished upload. It has no link: events are kept and sent again."""
    return ascii_json(
        {
            "type": UPLOADED,
            "orgId": tenant_id,
            "key": made.path,
            "keyHash": key_hash(made.path),
            "keyName": name_of(made.path),
            "size": made.size,
            "md5": made.md5,
            "sha256": made.sha256,
            "lastModifiedTime": format_time(made.modified_ms),
        }
    )
