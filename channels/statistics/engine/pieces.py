"""MessagePack in pieces: a state of tens of thousands of objects that is encoded in one call keeps every other thread waiting for it."""

from __future__ import annotations

import msgspec

_encoder = msgspec.msgpack.Encoder()


def encode_in_pieces(state: msgspec.Struct) -> bytes:
    """What ``msgspec.msgpack.encode`` gives for an ``array_like`` struct of less than 16 fields, its lists element by element; between two
    of these another thread may run.

    The format: https://github.com/msgpack/msgpack/blob/master/spec.md, "array format family".
    """
    fields = state.__struct_fields__
    if len(fields) > 15:
        raise ValueError(f"expected at most 15 fields, got {len(fields)}")
    encoded = bytearray((0x90 | len(fields),))
    for field in fields:
        value = getattr(state, field)
        if not isinstance(value, list):
            encoded += _encoder.encode(value)
            continue
        encoded += _array_head(len(value))
        for element in value:
            encoded += _encoder.encode(element)
    return bytes(encoded)


def _array_head(length: int) -> bytes:
    if length < 16:
        return bytes((0x90 | length,))
    if length < 1 << 16:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")
