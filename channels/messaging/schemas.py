"""Messages as JSON: what third parties and agents' systems may write, checked; and the OpenAPI schemas of both.

What comes from a third party may hold more than is checked here, and is kept and passed on as it is. What an agent's system sends is
checked to the last member: a name that is misspelt there would be lost on the way to the customer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from channels.messaging.media_links import SCHEME
from channels.messaging.state_machine import REASONS
from hub.core.field_error import FieldError
from hub.http.openapi import schema_of
from hub.http.validation import of_validation

MAX_ID_LENGTH: Final = 255
MAX_RECIPIENTS: Final = 100
MAX_PARTS: Final = 50
MAX_REASONS: Final = 20
MAX_URL_LENGTH: Final = 2_048


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("expected printable characters without blanks around them")
    return text


def _one_is_a_list(value: object) -> object:
    return [value] if isinstance(value, dict) else value


def _known_reason(code: int) -> int:
    if code not in REASONS:
        raise ValueError(f"expected one of {', '.join(str(each) for each in REASONS)}")
    return code


def _media_url(url: str) -> str:
    if not url.startswith((SCHEME, "https://")) or not url.isprintable() or any(mark in url for mark in ' "<>\\^`{|}'):
        raise ValueError(f"expected {SCHEME} and the id of a media resource of this channel, or a URL that begins with https://")
    return url


Identifier = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH), AfterValidator(_printable)]
Name = Annotated[str, Field(max_length=MAX_ID_LENGTH), AfterValidator(_printable)]
MediaUrl = Annotated[
    str, Field(max_length=MAX_URL_LENGTH, examples=[f"{SCHEME}bb4a9f86-dbbb-4464-a669-650da94fbad6"]), AfterValidator(_media_url)
]
ReasonCode = Annotated[int, AfterValidator(_known_reason), WithJsonSchema({"type": "integer", "enum": list(REASONS)})]


class _Part(BaseModel):
    """A member that may be missing may be null."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict) or None not in value.values():
            return value
        optional = {field.alias or name for name, field in cls.model_fields.items() if not field.is_required()}
        return {name: member for name, member in value.items() if member is not None or name not in optional}


class _Open(_Part):
    model_config = ConfigDict(strict=True, extra="allow")


class _Closed(_Part):
    model_config = ConfigDict(strict=True, extra="forbid")


# -- from third parties -----------------------------------------------------------------------------------------------


class Party(_Open):
    """Who writes or reads."""

    id: Identifier = Field(description="A phone number, an e-mail address, whatever the medium calls people by.", examples=["16504661149"])
    name: Name | None = Field(default=None, description="What to show of them.")


_PARTY: Final = Party.model_json_schema()

Parties = Annotated[
    list[Party],
    Field(min_length=1, max_length=MAX_RECIPIENTS),
    BeforeValidator(_one_is_a_list),
    WithJsonSchema({"anyOf": [_PARTY, {"type": "array", "items": _PARTY, "minItems": 1, "maxItems": MAX_RECIPIENTS}]}),
]


class InboundChannel(_Open):
    """The way of an incoming message."""

    sender: Party = Field(alias="from", description="The consumer.")
    to: Parties = Field(description="The contact centre; several where an e-mail was for several.")
    messageId: Identifier | None = Field(
        default=None, description="The third party's own id of the message. A second one with the same id is not taken again."
    )


class InboundText(_Open):
    """A text from a consumer."""

    type: Literal["Text"]
    channel: InboundChannel
    text: str = Field(min_length=1)


class EmailPart(_Open):
    """One form of an e-mail's text."""

    type: Literal["text", "html"]
    text: str


class EmailContext(_Open):
    """What an e-mail has beside its text."""

    replyTo: Party | None = None


class InboundEmail(_Open):
    """An e-mail from a consumer."""

    type: Literal["Email"]
    channel: InboundChannel
    context: EmailContext | None = None
    subject: str = ""
    content: list[EmailPart] = Field(min_length=1, max_length=MAX_PARTS)


class TextPart(_Open):
    """A text among the parts of a rich message."""

    type: Literal["text"]
    text: str = Field(min_length=1)


class MediaPart(_Open):
    """A file among the parts of a rich message."""

    type: Literal["image", "video", "audio", "file"]
    url: MediaUrl


RichPart = Annotated[TextPart | MediaPart, Field(discriminator="type")]


class InboundRichMedia(_Open):
    """Texts and files from a consumer."""

    type: Literal["RichMedia"]
    channel: InboundChannel
    content: list[RichPart] = Field(min_length=1, max_length=MAX_PARTS)


class ReceiptChannel(_Open):
    """The way of the message that a receipt is for."""

    sender: Party | None = Field(default=None, alias="from")
    to: Parties | None = Field(default=None, description="For whom; left out: for all of its recipients.")
    messageId: Identifier = Field(
        description="The id of the webhook's message, or the one that its answer had.", examples=["1613474523265-0"]
    )


class Reason(_Open):
    """Why a message failed."""

    code: ReasonCode = Field(description="; ".join(f"{code}: {text}" for code, text in REASONS.items()))
    message: str | None = None


class InboundReceipt(_Open):
    """What became of a message that went out."""

    type: Literal["Receipt"]
    channel: ReceiptChannel
    status: Literal["Delivered", "Removed", "Failed"]
    reasons: list[Reason] = Field(default=[], max_length=MAX_REASONS, description="Only with `Failed`.")


InboundContent = InboundText | InboundEmail | InboundRichMedia
Inbound = InboundContent | InboundReceipt

INBOUND: Final[Mapping[str, type[Inbound]]] = {
    "Text": InboundText,
    "Email": InboundEmail,
    "RichMedia": InboundRichMedia,
    "Receipt": InboundReceipt,
}
"""What a third party may send, by ``type``."""


# -- from agents' systems ---------------------------------------------------------------------------------------------


class OutParty(_Closed):
    """Who writes or reads."""

    id: Identifier = Field(examples=["16504661149"])
    name: Name | None = None


_OUT_PARTY: Final = OutParty.model_json_schema()

OutParties = Annotated[
    list[OutParty],
    Field(min_length=1, max_length=MAX_RECIPIENTS),
    BeforeValidator(_one_is_a_list),
    WithJsonSchema({"anyOf": [_OUT_PARTY, {"type": "array", "items": _OUT_PARTY, "minItems": 1, "maxItems": MAX_RECIPIENTS}]}),
]

_FROM: Final = Field(default=None, alias="from", description="The contact centre; left out: the channel's own sender.")
_OWN_ID: Final = Field(
    default=None,
    description="The sender's own id: a second message with the same id is not sent again. Left out: the hub gives one.",
    examples=["f7acbac6-68db-4031-aec2-4bbd02627c4b"],
)


class OutboundChannel(_Closed):
    """The way of an outgoing message."""

    sender: OutParty | None = _FROM
    to: OutParty = Field(description="The consumer.")
    messageId: Identifier | None = _OWN_ID


class OutboundEmailChannel(_Closed):
    """The way of an outgoing e-mail."""

    sender: OutParty | None = _FROM
    to: OutParties = Field(description="The consumers.")
    messageId: Identifier | None = _OWN_ID


class OutboundText(_Closed):
    """A text to a consumer."""

    type: Literal["Text"]
    channel: OutboundChannel
    text: str = Field(min_length=1, examples=["Agent message text"])


class OutEmailPart(_Closed):
    """One form of an e-mail's text."""

    type: Literal["text", "html"]
    text: str


class OutEmailContext(_Closed):
    """What an e-mail has beside its text."""

    replyTo: OutParty


class OutboundEmail(_Closed):
    """An e-mail to consumers."""

    type: Literal["Email"]
    channel: OutboundEmailChannel
    context: OutEmailContext | None = None
    subject: str
    content: list[OutEmailPart] = Field(min_length=1, max_length=MAX_PARTS)


class OutTextPart(_Closed):
    """A text among the parts of a rich message."""

    type: Literal["text"]
    text: str = Field(min_length=1)


class OutMediaPart(_Closed):
    """A file among the parts of a rich message."""

    type: Literal["image", "video", "audio", "file"]
    url: MediaUrl


OutRichPart = Annotated[OutTextPart | OutMediaPart, Field(discriminator="type")]


class OutboundRichMedia(_Closed):
    """Texts and files to a consumer."""

    type: Literal["RichMedia"]
    channel: OutboundChannel
    content: list[OutRichPart] = Field(min_length=1, max_length=MAX_PARTS)


Outbound = OutboundText | OutboundEmail | OutboundRichMedia

OUTBOUND: Final[Mapping[str, type[Outbound]]] = {"Text": OutboundText, "Email": OutboundEmail, "RichMedia": OutboundRichMedia}
"""What an agent's system may send, by ``type``."""

_M = TypeVar("_M", bound=BaseModel)
_TAGS: Final = frozenset({"text", "image", "video", "audio", "file"})


def check(value: object, models: Mapping[str, type[_M]], place: tuple[str | int, ...] = ()) -> _M:
    """A message as the model of its type; ``place`` is where in the request it stands.

    Raises:
        ApiError, FieldError: 400 with the field, what was expected, what came.
    """
    if not isinstance(value, dict):
        raise FieldError.of_value(_path(place) or "body", "a message (a JSON object)", value)
    kind = value.get("type")
    model = models.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise FieldError.of_value(_path((*place, "type")), f"one of {', '.join(models)}", kind)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        findings = RequestValidationError([{**each, "loc": _location(each["loc"], place)} for each in error.errors()])
        raise of_validation(findings, [model]) from None


def _location(location: tuple[int | str, ...], place: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where an error is, by the names of the JSON: pydantic adds the tag of a union behind the index of a part."""
    if len(location) > 2 and location[0] == "content" and location[2] in _TAGS:
        location = (*location[:2], *location[3:])
    return ("body", *place, *location)


def _path(place: tuple[str | int, ...]) -> str:
    return ".".join(str(each) for each in place)


def schema_of_any(models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """The schema of a message of any of these types, without references; see :func:`hub.http.openapi.schema_of`."""
    return {"oneOf": [schema_of(model) for model in models.values()]}
