"""The table from exceptions to answers."""

from __future__ import annotations

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request

from hub.cluster.ports import TooLongError
from hub.core.field_error import FieldError
from hub.eventlog.interface import EventLogError
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.security.tickets import TicketsUnavailableError
from hub.storage.text import NulTextError
from hub.storage.transactions import StorageError


class UnknownThingError(LookupError):
    """An error of some domain."""


class StrangeFieldError(FieldError):
    """A field that is wrong in a way of its own."""


def request(query: bytes = b"") -> Request:
    return Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": query, "path_params": {}})


def test_a_field_that_is_wrong_says_which_and_why() -> None:
    error = FieldError("url", "an address", "nothing")
    assert str(error) == "url: expected an address, got nothing"
    answer = ErrorTable().answer(error, request())
    assert answer is not None
    assert answer.http_status == 400
    assert answer.body() == ApiError.of_error(error).body()
    assert answer.detail == {"field": "url", "expected": "an address", "got": "nothing"}


def test_a_value_is_shown_as_json() -> None:
    error = StrangeFieldError.of_value("url", "an address", {"a": None})
    assert isinstance(error, StrangeFieldError)
    assert error.got == '{"a":null}'
    assert ApiError.of_error(error, within="data.", http_status=415).message == 'data.url: expected an address, got {"a":null}'
    assert ApiError.of_error(error).body() == ApiError.of_field("url", "an address", {"a": None}).body()


def test_an_error_has_the_answer_of_the_nearest_type() -> None:
    errors = ErrorTable()
    errors.add(LookupError, 404)
    errors.add(StrangeFieldError, lambda error: ApiError(409, error.field))
    found = errors.answer(UnknownThingError("no such thing"), request())
    assert found is not None
    assert (found.http_status, found.message) == (404, "no such thing")
    strange = errors.answer(StrangeFieldError("url", "a", "b"), request())
    assert strange is not None
    assert (strange.http_status, strange.message) == (409, "url")
    assert {LookupError, StrangeFieldError} <= set(errors)


def test_what_nobody_expected_has_none() -> None:
    assert ErrorTable().answer(RuntimeError("?"), request()) is None


def test_an_answer_of_the_api_stays_as_it_is() -> None:
    error = ApiError(418, "a teapot")
    assert ErrorTable().answer(error, request()) is error


def test_a_type_has_one_answer() -> None:
    errors = ErrorTable()
    with pytest.raises(ValueError, match="StorageError: expected a type without an answer"):
        errors.add(StorageError, 500)


@pytest.mark.parametrize("error", [StorageError("full"), EventLogError("full")])
def test_a_database_or_log_that_cannot_be_used_is_said_without_the_reason(error: Exception) -> None:
    answer = ErrorTable().answer(error, request())
    assert answer is not None
    assert (answer.http_status, answer.headers) == (503, {"Retry-After": "1"})
    assert "full" not in answer.message


def test_what_is_too_long_for_a_link_is_said_to_be_too_long() -> None:
    answer = ErrorTable().answer(TooLongError("a request", 100, 101), request())
    assert answer is not None
    assert answer.http_status == 413
    assert answer.message == "expected a request of at most 100 bytes, which is what goes over a link between nodes, got 101"


def test_tickets_that_cannot_be_used_are_not_said_to_be_the_databases_fault() -> None:
    answer = ErrorTable().answer(TicketsUnavailableError("tickets: no connection to Redis at 10.0.0.7"), request())
    assert answer is not None
    assert (answer.http_status, answer.headers) == (503, {"Retry-After": "1"})
    assert answer.message == "tickets cannot be used now, since the hub's Redis does not answer: try again"


def test_a_nul_is_refused_by_the_name_of_its_parameter() -> None:
    answer = ErrorTable().answer(NulTextError("a\0"), request(b"name=a%00&other=b"))
    assert answer is not None
    assert answer.detail == {"field": "name", "expected": "text without NUL (U+0000)", "got": '"a\\u0000"'}
    unnamed = ErrorTable().answer(NulTextError("a\0"), request())
    assert unnamed is not None
    assert unnamed.message.startswith("body: ")


def test_at_most_so_many_findings_are_told() -> None:
    findings = [{"type": "int_type", "loc": ("body", str(at)), "msg": "Input should be a valid integer", "input": "x"} for at in range(5)]
    answer = ErrorTable(max_errors=2).answer(RequestValidationError(findings), request())
    assert answer is not None
    assert answer.errors is not None
    assert len(answer.errors) == 2
    assert answer.detail is not None
    assert answer.detail["moreErrors"] == 3
