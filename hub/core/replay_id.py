"""The position of a message inside its data, where Salesforce's replay extension looks for it: ``data.event.replayId``."""

from __future__ import annotations

import json

import msgspec

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def with_replay_id(data: bytes, position: int) -> bytes | None:
    """``data``, an ASCII JSON text, with the position in it; every other member keeps its own text. None where there is no place for it:
    data that is no object, or has an ``event`` that is none.
    """
    data = data.lstrip()
    if data[:1] != b"{":
        return None
    members = _members.decode(data)
    if "event" not in members:
        return b'{"event":{"replayId":%d}%b%b' % (position, b"," if members else b"", data[1:].lstrip())
    event = bytes(members["event"])
    if event[:1] != b"{":
        return None
    inner = _members.decode(event)
    inner.pop("replayId", None)
    members["event"] = msgspec.Raw(_object({"replayId": msgspec.Raw(b"%d" % position), **inner}))
    return _object(members)


def _object(members: dict[str, msgspec.Raw]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (json.dumps(name).encode("ascii"), bytes(value)) for name, value in members.items())
