"""What Amazon's clients read of each error, below either path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.requests import Request

from channels.files import errors as files
from channels.files.amazon_errors import FORMS, id_of, refused
from channels.files.errors import InvalidReason, QuotaReason, register_errors
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.permits import UnknownKeyError, refusal
from hub.objects.store import StoreUnavailableError
from hub.security.gate import Failure
from hub.storage.transactions import StorageError

ATTACHED, PARTICIPANT = "/attached-files/i/f", "/participant/connection"


@pytest.fixture
def table() -> ErrorTable:
    made = ErrorTable()
    register_errors(made)
    for path, form in FORMS.items():
        made.add_form(path, form)
    return made


def told(table: ErrorTable, path: str, error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body of an answer; the header says the same type."""
    scope = {"type": "http", "path": path, "headers": [], "query_string": b"", "method": "GET"}
    answer = error if isinstance(error, ApiError) else table.answer(error, Request(scope))
    assert answer is not None
    response = table.respond(scope, answer)
    body: dict[str, Any] = json.loads(bytes(response.body))
    assert (response.headers["x-amzn-errortype"], response.headers["content-type"]) == (body["__type"], "application/json")
    assert response.headers["x-amzn-requestid"]
    return response.status_code, body


@pytest.mark.parametrize(
    ("error", "attached", "participant"),
    [
        (files.FileNotFound("gone"), (404, "ResourceNotFoundException"), (400, "ValidationException")),
        (files.TokenReused("again"), (409, "ResourceConflictException"), (400, "ValidationException")),
        (files.BeingCompleted("soon"), (409, "ResourceConflictException"), (409, "ConflictException")),
        (files.NotUploaded("nothing"), (400, "InvalidRequestException"), (400, "ValidationException")),
        (files.UploadEnded("late"), (400, "InvalidRequestException"), (400, "ValidationException")),
        (files.NotApproved("not yet"), (409, "ResourceConflictException"), (400, "ValidationException")),
        (StorageError("away"), (503, "InternalServiceException"), (503, "InternalServerException")),
        (StoreUnavailableError("away"), (503, "InternalServiceException"), (503, "InternalServerException")),
        (refusal(Failure.MISSING), (401, "MissingAuthenticationTokenException"), (401, "AccessDeniedException")),
        (refusal(Failure.BAD_TOKEN), (401, "UnrecognizedClientException"), (401, "AccessDeniedException")),
        (UnknownKeyError(), (403, "UnrecognizedClientException"), (403, "AccessDeniedException")),
        (ApiError(403, "no"), (403, "AccessDeniedException"), (403, "AccessDeniedException")),
        (ApiError(404, "no path"), (404, "ResourceNotFoundException"), (404, "ValidationException")),
        (ApiError(405, "no method"), (405, "InvalidRequestException"), (405, "ValidationException")),
        (ApiError(408, "late"), (408, "RequestTimeoutException"), (408, "RequestTimeoutException")),
        (ApiError(413, "large"), (413, "InvalidRequestException"), (413, "ValidationException")),
        (ApiError(429, "many"), (429, "ThrottlingException"), (429, "ThrottlingException")),
        (ApiError(500, "broken"), (500, "InternalServiceException"), (500, "InternalServerException")),
        (refused(403, "InvalidSignatureException", "x"), (403, "InvalidSignatureException"), (403, "InvalidSignatureException")),
    ],
)
def test_each_error_has_its_name(table: ErrorTable, error: Exception, attached: tuple[int, str], participant: tuple[int, str]) -> None:
    for path, expected in ((ATTACHED, attached), (PARTICIPANT, participant)):
        status, body = told(table, path, error)
        assert ((status, body["__type"]), body.keys()) == (expected, {"__type", "Message"})


def test_what_is_wrong_with_a_file_is_told_to_programs(table: ErrorTable) -> None:
    for error, status, kind, member in (
        (files.InvalidFile(InvalidReason.SIZE, "size", "expected less"), 400, "InvalidRequestException", "InvalidRequest"),
        (files.QuotaExceeded(QuotaReason.SIZE, "too much"), 402, "ServiceQuotaExceededException", "ServiceQuotaExceeded"),
    ):
        found, body = told(table, ATTACHED, error)
        assert (found, body["__type"]) == (status, kind)
        assert body["Reason"] == {f"AttachedFile{member}ExceptionReason": str(error.reason)}
        assert "Reason" not in told(table, PARTICIPANT, error)[1]


def test_fields_have_the_names_of_the_caller(table: ErrorTable) -> None:
    for field, attached, participant in (("name", "FileName", "AttachmentName"), ("size", "FileSizeInBytes", "AttachmentSizeInBytes")):
        error = files.InvalidFile(None, field, "expected something else")
        assert told(table, ATTACHED, error)[1]["Message"] == f"{attached}: expected something else"
        assert told(table, PARTICIPANT, error)[1]["Message"] == f"{participant}: expected something else"


def test_headers_of_the_answer_stay(table: ErrorTable) -> None:
    scope = {"type": "http", "path": ATTACHED, "headers": [(b"x-request-id", b"r-1")]}
    response = table.respond(scope, ApiError(429, "many", headers={"Retry-After": "7"}))
    assert (response.headers["retry-after"], response.headers["cache-control"]) == ("7", "no-store")
    assert (response.headers["x-amzn-requestid"], id_of(scope)) == ("r-1", "r-1")
