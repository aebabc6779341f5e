"""REST: signing in and out, who am I, tickets (``/api/v1``, docs/protocol/credentials.md)."""

from typing import Annotated, Any

from fastapi import Request, Response

from hub.audit.sign_ins import SignInLog
from hub.core.principal import Principal
from hub.http.body import takes
from hub.http.errors import ApiError
from hub.http.permits import authenticated, requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.security.credentials import Credential
from hub.security.gate import Gate
from hub.security.origin import client_address, is_secure
from hub.security.schemas import Done, MeAnswer, SignIn, TicketAnswer
from hub.security.sign_in import TooManyTriesError
from hub.security.sign_in import sign_in as sign_in_with_password
from hub.security.sign_out import SignOut
from hub.security.tickets import TICKET_S

_FOREIGN: dict[int | str, dict[str, Any]] = {403: {"description": "A page of another origin, which is not allowed."}}
_WRONG: dict[int | str, dict[str, Any]] = {401: {"description": "The token is unknown or expired, or the password is wrong."}}


def create_router(gate: Gate, log: SignInLog, signing_out: SignOut) -> HubRouter:
    """The routes; ``log`` is told of sign-ins, ``signing_out`` ends them."""
    router = HubRouter(prefix="/api/v1", tags=["Access"])

    @router.post("/sign-in", summary="Sign a browser in", response_model=MeAnswer, responses={**_WRONG, **_FOREIGN})
    @takes(lambda limits: limits.max_sign_in_bytes)
    async def sign_in(request: Request, body: SignIn) -> Response:
        """Check a token, or a tenant, user name and password, and set the cookie `HUB_SESSION`, which is a credential from then on.

        After 10 failures within 5 minutes for one address and user, or 300 of one address, answers 429 until the 5 minutes are over; after
        `limits.token_sign_ins_per_h` sign-ins of one tenant with tokens until the hour is over.
        """
        if not gate.from_own_page(request.scope):
            raise ApiError(403, "signing in is for pages of this hub, or of an allowed origin")
        device_cookie: str | None = None
        if _is_token_form(body):
            credential = await _with_token(gate, body)
            if credential is None:
                raise ApiError(401, "the token is unknown or expired")
            if wait_s := gate.token_sign_ins.wait_s(credential.tenant):
                why = f"too many sign-ins of this tenant with tokens; try again in {wait_s} s"
                raise ApiError(429, why, headers={"Retry-After": str(wait_s)})
        else:
            address = client_address(request.scope)
            device = gate.devices.device(request.scope, body.tenant or "", body.username or "")
            credential = await _with_password(gate, log, body, address, device)
            if credential is None:
                raise ApiError(401, "tenant, username or password is wrong")
            if device is None:
                device_cookie = gate.devices.header(credential.tenant, credential.subject, secure=is_secure(request.scope))
        answer = respond(_me(credential.principal()), headers=None)
        answer.headers.append("Set-Cookie", gate.sign_in_cookie(credential, secure=is_secure(request.scope)))
        if device_cookie is not None:
            answer.headers.append("Set-Cookie", device_cookie)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @router.post("/sign-out", summary="Sign a browser out", response_model=Done, responses=_FOREIGN)
    async def sign_out(request: Request) -> Response:
        """End the sign-in of the browser, and remove its cookie. To end a token everywhere, remove it: `hub token remove`."""
        if not gate.from_own_page(request.scope):
            raise ApiError(403, "signing out is for pages of this hub, or of an allowed origin")
        await signing_out.end(request.scope, client_address(request.scope))
        answer = respond(headers=None)
        answer.headers.append("Set-Cookie", gate.sign_out_cookie(secure=is_secure(request.scope)))
        return answer

    @router.get("/me", summary="Who am I", response_model=MeAnswer)
    async def me(caller: Annotated[Principal, authenticated()]) -> Response:
        """Tenant, subject and roles of the credential that came with the request."""
        return respond(_me(caller))

    @router.post("/tickets", summary="Get a ticket", response_model=TicketAnswer)
    async def tickets(caller: Annotated[Principal, requires("/tickets/write")]) -> Response:
        """A ticket for one WebSocket (`/ws?ticket=...`) or event stream (`/events?ticket=...`), for pages that cannot send headers with
        them. It is good once, for 30 seconds.
        """
        ticket = await gate.issue_ticket(caller)
        if ticket is None:
            raise ApiError(429, f"too many tickets wait to be used; try again in {TICKET_S} s", headers={"Retry-After": str(TICKET_S)})
        return respond({"ticket": ticket, "expiresIn": TICKET_S})

    return router


def _is_token_form(body: SignIn) -> bool:
    """Whether the body has a token rather than a user name and password. A body with neither or both is refused."""
    password_form = {"tenant": body.tenant, "username": body.username, "password": body.password}
    if body.token is not None:
        if given := [name for name, value in password_form.items() if value is not None]:
            raise ApiError.of_field(given[0], "nothing beside token", "a value")
        return True
    for name, value in password_form.items():
        if value is None:
            expected = "token, or tenant, username and password" if not any(password_form.values()) else "a value"
            raise ApiError.of_field("body" if not any(password_form.values()) else name, expected, None)
    return False


async def _with_token(gate: Gate, body: SignIn) -> Credential | None:
    assert body.token is not None
    return await gate.directory.by_bearer(body.token.encode("utf-8", "surrogatepass"))


async def _with_password(gate: Gate, log: SignInLog, body: SignIn, address: str, device: str | None) -> Credential | None:
    """Find the credential of a user. Failures are limited; for tokens no limit is needed, since 256 random bits cannot be guessed."""
    assert body.tenant is not None
    assert body.username is not None
    assert body.password is not None
    try:
        return await sign_in_with_password(gate, log, address, body.tenant, body.username, body.password, device=device)
    except TooManyTriesError as error:
        raise ApiError(429, str(error), headers={"Retry-After": str(error.wait_s)}) from error


def _me(principal: Principal) -> dict[str, Any]:
    return {"tenant": principal.tenant, "subject": principal.subject, "roles": sorted(principal.roles)}
