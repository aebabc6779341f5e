"""Errors on the wire, close codes, and the reasons of limits."""

from __future__ import annotations

from hub.core.errors import CloseCode, RefusedError, WireError
from hub.core.limits import Limits


def test_wire_errors_are_bayeux_errors() -> None:
    for error in WireError:
        code, arguments, text = error.text.split(":")
        assert (int(code), text.isidentifier()) == (error.code, True)
        assert arguments in {"", "denied"}
        assert error.reason
    assert RefusedError(WireError.TOO_LARGE).detail == WireError.TOO_LARGE.reason


def test_close_codes_are_those_that_are_documented() -> None:
    assert {4400, 4401, 4403, 4408, 4429, 1009, 1012} <= {code.value for code in CloseCode}


def test_limits_have_reasons() -> None:
    table = Limits.table()
    assert ("timeout_ms", 20_000) in [(name, default) for name, default, _ in table]
    assert all(reason for _, _, reason in table)
