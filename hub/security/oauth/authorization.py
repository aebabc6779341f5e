"""The authorization endpoint (RFC 6749 section 3.1, OpenID Connect Core section 3.1.2): what happens to a browser that a client sends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import quote, urlencode

from hub.security.oauth.clients import MAX_CLIENT_ID, FindClient, must_have
from hub.security.oauth.errors import OAuthError
from hub.security.oauth.models import Client, Grant, Person
from hub.security.oauth.parameters import Parameters
from hub.security.oauth.pkce import read_challenge
from hub.security.oauth.redirects import is_registered
from hub.security.oauth.scopes import parse_scope

MAX_AGE: Final = 10 * 365 * 86400
MAX_NONCE: Final = 512
PROMPTS: Final = ("none", "login", "consent", "select_account")

_NOT_SUPPORTED: Final = {
    "request": "request_not_supported",
    "request_uri": "request_uri_not_supported",
    "registration": "registration_not_supported",
}
"""Parameters of OpenID Connect that this server does not know, and the errors that it has to answer (Core section 3.1.2.6)."""


class PageError(Exception):
    """A request that is answered by a page, never by a redirect: nobody knows yet whether the redirect URI is the client's
    (RFC 6749 section 4.1.2.1).
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Redirect:
    """Sends the browser back to the client."""

    uri: str
    parameters: Mapping[str, str]

    @property
    def location(self) -> str:
        """The header ``Location``; a query that the redirect URI has stays as it is."""
        query = urlencode(self.parameters, quote_via=quote)
        return f"{self.uri}{'&' if '?' in self.uri else '?'}{query}"


class RedirectedError(Exception):
    """A request that is refused by a redirect with ``error``."""

    def __init__(self, redirect: Redirect) -> None:
        super().__init__(redirect.parameters["error"])
        self.redirect = redirect


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that is in order; what remains is who the user is."""

    client: Client
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    nonce: str | None
    challenge: str | None
    prompts: frozenset[str]
    login_hint: str | None
    max_age_s: int | None
    hide_tenant: bool
    issuer: str

    def refused(self, error: str, description: str) -> Redirect:
        """The redirect with an error."""
        return _back(self.redirect_uri, self.state, self.issuer, error=error, error_description=description)

    def granted(self, code: str) -> Redirect:
        """The redirect with a code. ``iss`` lets the client tell servers apart (RFC 9207)."""
        return _back(self.redirect_uri, self.state, self.issuer, code=code)


class Next(Enum):
    """What the browser is shown next."""

    SIGN_IN = "the sign-in page"
    CONSENT = "the page that asks whether the client may"
    CODE = "nothing: it goes back with a code"


async def read_request(parameters: Parameters, find: FindClient, scopes: Collection[str], issuer: str) -> AuthorizationRequest:
    """Read an authorization request.

    Args:
        parameters: of the query, or of the form of a POST.
        find: finds clients.
        scopes: those that families have registered.
        issuer: this server's name, for ``iss``.

    Raises:
        PageError: the client is unknown or the redirect URI is not one of its own.
        RedirectedError: anything else is wrong.
    """
    client_id, redirect_uri = parameters.get("client_id"), parameters.get("redirect_uri")
    if client_id is None:
        raise PageError(400, "The application did not say who it is: client_id is missing.")
    client = await find(client_id) if len(client_id) <= MAX_CLIENT_ID else None
    if client is None:
        raise PageError(401, "This hub knows no application of that name (client_id).")
    if redirect_uri is None:
        raise PageError(400, "The application did not say where to go back to: redirect_uri is missing.")
    if not is_registered(redirect_uri, client.redirect_uris):
        raise PageError(400, "The application wants to go back to an address (redirect_uri) that is not registered for it.")
    state = parameters.get("state")
    try:
        return _rest(parameters, client, redirect_uri, state, scopes, issuer)
    except OAuthError as error:
        raise RedirectedError(_back(redirect_uri, state, issuer, **error.members())) from error


def _rest(
    parameters: Parameters, client: Client, redirect_uri: str, state: str | None, scopes: Collection[str], issuer: str
) -> AuthorizationRequest:
    for name, error in _NOT_SUPPORTED.items():
        if name in parameters:
            raise OAuthError(error, f"{name}: expected none")
    if parameters.require("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type: expected code")
    parameters.one_of("response_mode", ("query",), "query")
    must_have(client, Grant.AUTHORIZATION_CODE)
    prompts = frozenset(parameters.get("prompt", "").split())
    if not prompts <= frozenset(PROMPTS):
        raise OAuthError("invalid_request", f"prompt: expected some of {', '.join(PROMPTS)}")
    if "none" in prompts and len(prompts) > 1:
        raise OAuthError("invalid_request", "prompt: expected nothing beside none")
    nonce = parameters.get("nonce")
    if nonce is not None and len(nonce) > MAX_NONCE:
        raise OAuthError("invalid_request", f"nonce: expected at most {MAX_NONCE} characters")
    return AuthorizationRequest(
        client=client,
        redirect_uri=redirect_uri,
        scopes=parse_scope(parameters.get("scope"), scopes),
        state=state,
        nonce=nonce,
        challenge=read_challenge(parameters, required=client.needs_pkce),
        prompts=prompts,
        login_hint=parameters.get("login_hint"),
        max_age_s=parameters.number("max_age", MAX_AGE),
        hide_tenant=parameters.one_of("hideTenant", ("true", "false"), "false") == "true",
        issuer=issuer,
    )


def next_step(
    request: AuthorizationRequest, person: Person | None, auth_time_s: int, now_s: int, *, consented: bool = False
) -> Next | Redirect:
    """What comes next for a browser.

    Args:
        request: what the client asks for.
        person: who is signed in, in this browser.
        auth_time_s: when that user signed in, in seconds since 1970 UTC.
        now_s: the time of day, in the same unit.
        consented: whether the user was asked, and allows it.
    """
    silent = "none" in request.prompts
    if person is None or not _fits(request, person, auth_time_s, now_s):
        return request.refused("login_required", "the user has to sign in") if silent else Next.SIGN_IN
    if (request.client.consent or "consent" in request.prompts) and not consented:
        return request.refused("consent_required", "the user has to be asked") if silent else Next.CONSENT
    return Next.CODE


def _fits(request: AuthorizationRequest, person: Person, auth_time_s: int, now_s: int) -> bool:
    """Whether whoever is signed in can be the user of this request, without another sign-in."""
    if person.tenant != request.client.tenant or request.prompts & {"login", "select_account"}:
        return False
    if request.login_hint is not None and request.login_hint not in (person.name, f"{person.tenant}\\{person.name}"):
        return False
    return request.max_age_s is None or now_s - auth_time_s < request.max_age_s


def _back(uri: str, state: str | None, issuer: str, **parameters: str) -> Redirect:
    if state is not None:
        parameters["state"] = state
    return Redirect(uri, {**parameters, "iss": issuer})
