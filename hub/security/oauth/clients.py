"""Who asks for a token: the authentication of clients (RFC 6749 section 2.3)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import unquote_plus

from hub.security.credentials import hash_secret
from hub.security.oauth.errors import OAuthError, bad_client, invalid_request
from hub.security.oauth.models import Client
from hub.security.oauth.parameters import Parameters

MAX_CLIENT_ID = 128
MAX_SECRET = 1024

FindClient = Callable[[str], Awaitable[Client | None]]
"""Finds a client by its id."""


async def authenticate(parameters: Parameters, authorization: list[str], find: FindClient) -> Client:
    """Find the client of a request and check its secret.

    With HTTP Basic, a ``client_id`` in the form is not looked at: some clients send a fixed one there. The two halves of Basic are tried
    decoded, as RFC 6749 section 2.3.1 has them, and as they stand, as many clients send them.

    Raises:
        OAuthError: ``Unauthorized``: the client is unknown or its secret is wrong; ``invalid_request``: the request has two secrets or no
            ``client_id``.
    """
    for client_id, secret in _shown(parameters, authorization):
        # ids with other characters are not looked up: for a NUL, PostgreSQL would report an error instead of no result
        client = await find(client_id) if 0 < len(client_id) <= MAX_CLIENT_ID and client_id.isprintable() else None
        if client is not None and _proves(client, secret):
            return client
    raise bad_client()


def _shown(parameters: Parameters, authorization: list[str]) -> list[tuple[str, str | None]]:
    """Id and secret as a request has them. Two of them where the two ways to write HTTP Basic differ."""
    form_secret = parameters.get("client_secret")
    if not authorization:
        return [(parameters.require("client_id"), form_secret)]
    if len(authorization) > 1:
        raise invalid_request("Authorization: expected one header, got several")
    scheme, _, encoded = authorization[0].strip().partition(" ")
    if scheme.lower() != "basic":
        raise invalid_request("Authorization: expected Basic with the client's id and secret, or client_id and client_secret in the form")
    if form_secret is not None:
        raise invalid_request("client_secret: expected none in the form beside HTTP Basic (RFC 6749 section 2.3)")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:  # no base64, characters outside ASCII in it, or no UTF-8 below it
        raise bad_client() from None
    client_id, colon, secret = text.partition(":")
    if not colon:
        raise bad_client()
    raw = (client_id, secret or None)
    decoded = (unquote_plus(client_id), unquote_plus(secret) or None)
    return [decoded] if raw == decoded else [decoded, raw]


def _proves(client: Client, secret: str | None) -> bool:
    """Whether a secret is one of the client's. A public client has none, and may not send one."""
    if client.public or secret is None:
        return client.public and secret is None
    if len(secret) > MAX_SECRET:
        return False
    digest = hash_secret(secret)
    # no early end: the time must not tell which of two secrets is right
    return sum(hmac.compare_digest(digest, each) for each in client.secrets) > 0


def must_have(client: Client, grant: str) -> None:
    """Check that a client may use a grant.

    Raises:
        OAuthError: ``unauthorized_client``.
    """
    if grant not in client.grants:
        raise OAuthError("unauthorized_client", f"grant_type: this client may not use {grant}")
