"""The position of a message inside its data, where clients of Salesforce's streaming look for it: ``data.event.replayId``."""

from __future__ import annotations

import json
import re

import msgspec

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])

_EVENT = re.compile(rb'"event"[ \t\r\n]*:[ \t\r\n]*')
_ESCAPE = b"\\u00"
"""Begins every other way to write a letter of a member's name."""


def with_replay_id(data: bytes, position: int) -> bytes | None:
    """``data``, an ASCII JSON text, with the position in it; every other member keeps its own text. None where there is no place for it:
    data that is no object, or has an ``event`` that is none.
    """
    data = data.lstrip()
    if data[:1] != b"{":
        return None
    spliced = into_event(data, position)
    if spliced is not None:
        return spliced
    members = _members.decode(data)
    if "event" in members:
        return None
    return b'{"event":{"replayId":%d}%b%b' % (position, b"," if members else b"", data[1:].lstrip())


def into_event(data: bytes, position: int) -> bytes | None:
    """``data`` with the position as ``replayId`` of its member ``event``, in the place of one that the publisher set; every other member
    keeps its own text. None where ``data``, an ASCII JSON text, is no object that has an object ``event``.
    """
    if b'"event"' not in data and _ESCAPE not in data:  # nearly always
        return None
    if data[:1] != b"{" and data.lstrip()[:1] != b"{":
        return None
    members = _members.decode(data)
    if "event" not in members:
        return None
    event = bytes(members["event"])
    if event[:1] != b"{":
        return None
    made = _with_own(event, position)
    if data.count(b'"event"') == 1 and _ESCAPE not in data:
        found = _EVENT.search(data)
        if found is not None and data.startswith(event, found.end()):
            return b"%b%b%b" % (data[: found.end()], made, data[found.end() + len(event) :])
    members["event"] = msgspec.Raw(made)
    return _object(members)


def _with_own(event: bytes, position: int) -> bytes:
    """An object with the position as its member ``replayId``."""
    if b'"replayId"' in event or _ESCAPE in event:
        inner = _members.decode(event)
        if "replayId" in inner:
            inner.pop("replayId")
            return _object({"replayId": msgspec.Raw(b"%d" % position), **inner})
    rest = event[1:].lstrip()
    return b'{"replayId":%d%b%b' % (position, b"" if rest[:1] == b"}" else b",", rest)


def _object(members: dict[str, msgspec.Raw]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (json.dumps(name).encode("ascii"), bytes(value)) for name, value in members.items())
