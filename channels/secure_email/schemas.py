"""The bodies of the Secure Email API as ``/openapi.json`` describes them (docs/protocol/secure-email.md#calls).

Requests are checked by :mod:`channels.secure_email.parsing`, so that an error has the string code that fits; these models only tell what
is expected.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from channels.secure_email.responses import Code
from hub.http.schemas import Status

_EXAMPLE_ID = "bff348eb-dd5f-47d6-bf96-0e75b8ecf7ca"


class SecureMailStatus(BaseModel):
    """How a call went."""

    code: Code = Field(description="`SUCCESS`, or what went wrong.")
    message: str = Field(description="In words.")
    detail: str = Field(description="The field or parameter that is wrong; empty when it is none.")


class SecureMailResponse(BaseModel):
    """What every answer has."""

    referenceId: str = Field(description="Names this answer; it is the request's `X-Request-Id`, which the log has too.")
    operationId: str = Field(description="The `operationId` of the request, else one that was drawn.")
    status: SecureMailStatus


class NewAttachment(BaseModel):
    """A file to be sent."""

    filename: str = Field(description="A name without folders.", min_length=1, max_length=255, examples=["contract.pdf"])
    contentType: str | None = Field(default=None, description="Must be what the content is; may be left out.", examples=["application/pdf"])
    content: str = Field(description="The file in base64.", json_schema_extra={"contentEncoding": "base64"})


class _Data(BaseModel):
    """Members that are not named here are fields of a web form, and become userdata."""

    model_config = ConfigDict(extra="allow")

    fromName: str | None = Field(default=None, description="A name to be shown for the sender; also `nickname`.", max_length=255)
    toName: str | None = Field(default=None, description="A name to be shown for the receiver.", max_length=255)
    subject: str | None = Field(default=None, max_length=998, examples=["My contract"])
    text: str | None = Field(default=None, description="The plain text; also `content` or `body`.")
    html: str | None = Field(default=None, description="The same as HTML; it is kept and given back as data.")
    userData: dict[str, Any] | None = Field(default=None, description="Attached to the mail. Keys that begin with `_` are internal.")
    inReplyTo: str | None = Field(
        default=None, description="The `secureMailId` that is answered.", json_schema_extra={"format": "uuid"}, examples=[_EXAMPLE_ID]
    )
    attachments: list[NewAttachment] | None = Field(default=None)


class InboundData(_Data):
    """A mail from a consumer. Members that are not named here are fields of a web form, and become userdata."""

    sender: str = Field(
        alias="from",
        description="The consumer's e-mail address; also `fromAddress` or `address`.",
        max_length=254,
        json_schema_extra={"format": "email"},
        examples=["ana@example.com"],
    )
    to: str | None = Field(default=None, description="An address of the contact centre; also `toAddress`.", max_length=254)


class OutboundData(_Data):
    """A mail to a consumer. Members that are not named here are fields of a web form, and become userdata."""

    sender: str | None = Field(
        default=None, alias="from", description="An address of the contact centre; also `fromAddress`.", max_length=254
    )
    to: str | None = Field(
        default=None,
        description="The consumer's e-mail address; also `toAddress` or `address`. May be left out beside `inReplyTo`.",
        max_length=254,
        json_schema_extra={"format": "email"},
        examples=["ana@example.com"],
    )


class SendRequest(BaseModel):
    """``POST /nexus/v3/securemail``."""

    operationId: str | None = Field(default=None, description="Comes back in the answer.", max_length=255)
    data: InboundData


class ReplyRequest(BaseModel):
    """``POST /api/v1/securemail``."""

    operationId: str | None = Field(default=None, description="Comes back in the answer.", max_length=255)
    data: OutboundData


class AttachmentEntry(BaseModel):
    """A file of a mail."""

    number: int = Field(description="Within its mail, from 1.")
    filename: str
    contentType: str = Field(description="By its content.")
    size: int = Field(description="Bytes.")
    selfUri: str = Field(description="Where it is.")


class AttachmentWhole(AttachmentEntry):
    """A file of a mail with its content."""

    content: str | None = Field(default=None, description="The file in base64; missing with `attachments=false`.")


class _Mail(BaseModel):
    secureMailId: str = Field(examples=[_EXAMPLE_ID])
    selfUri: str = Field(description="Where the mail is.")
    direction: Literal["inbound", "outbound"] = Field(description="`inbound`: from the consumer to the contact centre.")
    status: Literal["unread", "read"] = Field(description="Whether its receiver has read it.")
    address: str = Field(description="The consumer's address, in lower case.")
    securebox: str | None = Field(default=None, description="Missing in the mailbox without a name.")
    sender: str | None = Field(default=None, alias="from")
    fromName: str | None = None
    to: str | None = None
    toName: str | None = None
    subject: str
    inReplyTo: str | None = Field(default=None, description="The mail that it answers.")
    interactionId: str | None = Field(default=None, description="The interaction of an inbound mail.")
    createdAt: int = Field(description="Milliseconds since 1970.")
    readAt: int | None = Field(default=None, description="Milliseconds since 1970; missing while it is unread.")
    deletedAt: int | None = Field(default=None, description="Milliseconds since 1970; missing unless it was deleted.")


class SecureMailEntry(_Mail):
    """A mail in a list: without its texts and the contents of its attachments."""

    attachments: list[AttachmentEntry]


class SecureMailWhole(_Mail):
    """A mail."""

    text: str | None = None
    html: str | None = Field(default=None, description="Data: whoever shows it must make it harmless first.")
    attachments: list[AttachmentWhole]


class ListSecureMailResponse(SecureMailResponse):
    """Mails of a consumer."""

    data: list[SecureMailEntry]


class CreateSecureMailResponse(SecureMailResponse):
    """A mail that was taken."""

    secureMailId: str = Field(description="The unique id of the secure e-mail.", examples=[_EXAMPLE_ID])
    selfUri: str = Field(description="Where it is.")


class SecureMailCount(BaseModel):
    """How many mails there are."""

    count: int = Field(examples=[20])


class CountSecureMailResponse(SecureMailResponse):
    """How many mails a consumer has."""

    data: SecureMailCount


class RetrieveSecureMailResponse(SecureMailResponse):
    """One mail."""

    secureMail: SecureMailWhole


class RetrieveSecureMailUserdataResponse(SecureMailResponse):
    """The userdata of a mail."""

    data: dict[str, Any]


class SentSecureMail(BaseModel):
    """An outbound mail that was taken."""

    secureMailId: str
    selfUri: str
    operationId: str | None = None


class SentSecureMailResponse(BaseModel):
    """Envelope of an outbound mail that was taken."""

    status: Status
    data: SentSecureMail
