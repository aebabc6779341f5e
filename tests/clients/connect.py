"""Amazon's clients for Connect, that of Python and that of JavaScript, behind one interface."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.exceptions import ClientError

from tests.support.puppet import Puppet

CALLS = {
    "start": "start_attached_file_upload",
    "complete": "complete_attached_file_upload",
    "get": "get_attached_file",
    "batch": "batch_get_attached_file_metadata",
    "delete": "delete_attached_file",
    "chat": "start_chat_contact",
}

REGION = "eu-central-1"


@dataclass
class Refused(Exception):
    """A call that was refused, as the client tells of it."""

    kind: str
    message: str
    status: int
    attempts: int
    reason: dict[str, str] | None
    request_id: str | None
    known: bool
    """Whether the client has a class of its own for it."""


class Client(Protocol):
    """One client."""

    def call(self, name: str, **fields: Any) -> dict[str, Any]:
        """Make a call.

        Raises:
            Refused: it was refused.
        """
        ...


class PythonClient:
    """boto3."""

    def __init__(self, url: str, key: str, secret: str, *, trust: Path | None = None) -> None:
        self.connect: Any = boto3.client(
            "connect",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            verify=str(trust) if trust else None,
        )

    def call(self, name: str, **fields: Any) -> dict[str, Any]:
        try:
            output: dict[str, Any] = getattr(self.connect, CALLS[name])(**fields)
        except ClientError as error:
            told = error.response["ResponseMetadata"]
            raise Refused(
                error.response["Error"]["Code"],
                error.response["Error"]["Message"],
                told["HTTPStatusCode"],
                told["RetryAttempts"] + 1,
                error.response.get("Reason"),
                told.get("RequestId"),
                type(error) is not ClientError,
            ) from None
        assert output.pop("ResponseMetadata")["RequestId"]
        return output


class NodeClient:
    """The SDK of JavaScript, in a process of its own."""

    def __init__(self, puppet: Puppet, url: str, key: str, secret: str) -> None:
        self._puppet = puppet
        puppet.call("open", url, key, secret)

    def call(self, name: str, **fields: Any) -> dict[str, Any]:
        answer = self._puppet.call("send", name, fields)
        if "error" in answer:
            error = answer["error"]
            raise Refused(
                error["kind"],
                error["message"],
                error["status"],
                error["attempts"],
                error.get("reason"),
                error.get("requestId"),
                error["known"],
            )
        assert answer["requestId"]
        output: dict[str, Any] = answer["output"]
        return output
