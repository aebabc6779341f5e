"""The calls about users: who somebody is, signing out, another password (docs/protocol/oauth.md#users)."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from channels.auth.errors import NO_STORE
from channels.auth.languages import choose
from channels.auth.pages import message_page, sign_out_page
from channels.auth.routes_tokens import BASE, TAGS
from channels.auth.schemas import BY_TOKEN, BY_TOKEN_OR_COOKIE, BY_TOKEN_OR_PASSWORD, ApiResponse, ChangePassword, CloudUserDetails
from channels.auth.service import AuthService
from hub.core.principal import Principal
from hub.http.body import takes
from hub.http.errors import ApiError
from hub.http.permits import identify, refusal
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.security.gate import Failure
from hub.security.hosts import Hosts
from hub.security.oauth.claims import gateway_user, may_see_openid, openid_user_info, user_details
from hub.security.oauth.keys import ES256
from hub.security.oauth.ports import Shown
from hub.security.oauth.redirects import is_registered
from hub.security.origin import client_address, header, is_secure, may_be_link
from hub.security.passwords import MAX_LENGTH, MIN_LENGTH
from hub.security.sign_in import TooManyTriesError, trying

GATEWAY_USER: Final = "X-GWS-User"

_NO_TOKEN: Final[dict[int | str, dict[str, Any]]] = {401: {"description": "No token, or a wrong or expired one."}}
_NOT_CHANGED: Final[dict[int | str, dict[str, Any]]] = {403: {"description": "Unable to update password."}}


async def bearer(request: Request) -> Principal:
    """The caller by a token in the header ``Authorization``: neither a cookie nor an API key alone says who somebody is here.

    Raises:
        ApiError: 401, there is no good token; 403, the API key beside it is unknown or of another tenant.
    """
    if header(request.scope, b"authorization") is None:
        if header(request.scope, b"x-api-key") is not None:  # an unknown key is forbidden, whatever else is missing
            await identify(request.app.state.gate, request.scope)
        raise refusal(Failure.MISSING)
    return await identify(request.app.state.gate, request.scope)


Bearer = Annotated[Principal, Depends(bearer)]
Everywhere = Annotated[bool, Query(alias="global", description="End every token and sign-in of the user.")]
Back = Annotated[str | None, Query(alias="redirectUri", description="Where to go then: registered for the token's client.")]


def create_user_router(service: AuthService, hosts: Hosts) -> HubRouter:
    """The routes about users."""
    router = HubRouter(prefix=BASE, tags=TAGS)

    async def shown_of(caller: Principal) -> Shown:
        shown = await service.shown(caller)
        if shown is None:
            raise refusal(Failure.BAD_TOKEN)
        return shown

    async def details(caller: Principal, shown: Shown) -> dict[str, Any]:
        return user_details(shown, service.settings.environment_id, await service.privileges(caller))

    @router.get("/userinfo", summary="Who am I", response_model=CloudUserDetails, responses=_NO_TOKEN, openapi_extra=BY_TOKEN)
    async def userinfo(caller: Bearer) -> Response:
        """The user of a token, its roles and what they allow."""
        return JSONResponse(await details(caller, await shown_of(caller)), headers=dict(NO_STORE))

    @router.get("/openid/userinfo", summary="Who am I, by OpenID Connect", responses=_NO_TOKEN, openapi_extra=BY_TOKEN)
    async def openid_userinfo(caller: Bearer) -> Response:
        """The claims of the token's user (OpenID Connect Core section 5.3)."""
        shown = await shown_of(caller)
        if not may_see_openid(shown) or shown.person is None or shown.family is None:
            challenge = {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="openid"'}
            raise ApiError(403, "this token is not for the scope openid", headers=challenge)
        privileges = await service.privileges(caller)
        return JSONResponse(
            openid_user_info(shown, shown.person, shown.family, service.settings.environment_id, privileges), headers=dict(NO_STORE)
        )

    @router.get(
        "/jwt-userinfo", summary="Who am I, as a signed header", response_model=ApiResponse, responses=_NO_TOKEN, openapi_extra=BY_TOKEN
    )
    async def jwt_userinfo(request: Request, caller: Bearer) -> Response:
        """The user of a token as a signed JSON Web Token in the header `X-GWS-User`, for services behind a gateway."""
        shown = await shown_of(caller)
        subject = caller.subject if shown.person is None else shown.person.id
        audience = caller.tenant if shown.family is None else shown.family.client
        issuer = f"{hosts.base_url(request.scope)}{BASE}"
        claims = gateway_user(await details(caller, shown), issuer, audience, subject, service.now_s())
        answer = respond(headers=NO_STORE)
        answer.headers[GATEWAY_USER] = await service.keys.sign(ES256, "gws-user+jwt", claims)
        answer.headers["Access-Control-Expose-Headers"] = GATEWAY_USER
        return answer

    @router.get("/ping", summary="Is somebody signed in", response_model=ApiResponse, openapi_extra=BY_TOKEN_OR_COOKIE)
    async def ping(request: Request) -> Response:
        """200 for a token or a signed-in browser, else 403."""
        caller = await service.gate.identify(request.scope)
        if not caller.authenticated or (header(request.scope, b"authorization") is None and not caller.by_cookie):
            raise ApiError(403, "nobody is signed in")
        return respond(headers=NO_STORE)

    async def ended(request: Request, everywhere: bool, redirect_uri: str | None) -> Response:
        caller = await identify(service.gate, request.scope)
        by_key_alone = not _shows_credential(request) and caller.credential.startswith("key:")
        if by_key_alone:
            raise refusal(Failure.MISSING)
        if everywhere and caller.scopes is not None:
            raise ApiError(403, "global: this token is limited to some scopes, and may end itself alone")
        shown = await service.shown(caller)
        client = None if shown is None or shown.family is None else await service.store.client(shown.family.client)
        by_cookie = not _shows_credential(request)
        await service.sign_out(request.scope, caller, shown, _address(request), by_cookie=by_cookie, everywhere=everywhere)
        back = redirect_uri is not None and client is not None and is_registered(redirect_uri, client.post_logout_uris)
        answer = _signed_out(request, redirect_uri if back else None)
        answer.headers.append("Set-Cookie", service.gate.sign_out_cookie(secure=is_secure(request.scope)))
        return answer

    @router.get("/sign-out", summary="Sign out", response_model=ApiResponse, responses=_NO_TOKEN, openapi_extra=BY_TOKEN_OR_COOKIE)
    async def sign_out(request: Request, everywhere: Everywhere = False, redirect_uri: Back = None) -> Response:
        """End the token with all of its grant, or the sign-in of the browser. A browser that may have followed a link of
        another site gets a page with a button."""
        if may_be_link(request.scope):
            return sign_out_page(choose(None, header(request.scope, b"accept-language")))
        return await ended(request, everywhere, redirect_uri)

    @router.post(
        "/sign-out",
        summary="Sign out",
        response_model=ApiResponse,
        responses=_NO_TOKEN,
        openapi_extra=BY_TOKEN_OR_COOKIE,
        name="sign_out_by_post",
    )
    async def sign_out_by_post(request: Request, everywhere: Everywhere = False) -> Response:
        """End the token with all of its grant, or the sign-in of the browser."""
        return await ended(request, everywhere, None)

    @router.post(
        "/change-password",
        summary="Change a password",
        response_model=ApiResponse,
        responses=_NOT_CHANGED,
        openapi_extra=BY_TOKEN_OR_PASSWORD,
    )
    @takes(lambda limits: limits.max_sign_in_bytes)
    async def change_password(request: Request, body: ChangePassword) -> Response:
        """Give a user another password. Every other token and sign-in of the user ends."""
        caller = await identify(service.gate, request.scope) if _shows_credential(request) else None
        tenant, name = _whose(caller, body.data.user_name)
        address = _address(request)
        new = body.data.new_password
        if not MIN_LENGTH <= len(new) <= MAX_LENGTH:
            raise _not_changed(f"newPassword: expected {MIN_LENGTH}-{MAX_LENGTH} characters, got {len(new)}")
        if "\ufffd" in new:  # what stands for text that was cut inside a character; no form can send it
            raise _not_changed("newPassword: expected whole characters")
        if new == body.data.old_password:
            raise _not_changed("newPassword: expected another one than the old password")
        family = None if caller is None else await _family(service, caller)
        try:
            async with trying(service.gate, service.sign_in_log, address, tenant, name) as tried:
                tried.good = await service.change_password(tenant, name, body.data.old_password, new, family, address)
        except TooManyTriesError as error:
            raise ApiError(429, str(error), headers={"Retry-After": str(error.wait_s)}) from error
        if not tried.good:
            raise _not_changed("the user name or the old password is wrong")
        return respond(headers=NO_STORE)

    return router


def _address(request: Request) -> str:
    return client_address(request.scope)


async def _family(service: AuthService, caller: Principal) -> str | None:
    shown = await service.shown(caller)
    return None if shown is None or shown.family is None else shown.family.id


def _shows_credential(request: Request) -> bool:
    return header(request.scope, b"authorization") is not None


def _whose(caller: Principal | None, user_name: str | None) -> tuple[str, str]:
    """Tenant and name of the user whose password changes.

    Raises:
        ApiError: 403, no user is named, or another one than the caller.
    """
    if user_name is None:
        if caller is None:
            raise _not_changed("userName: expected tenant and user without a token, got none")
        return caller.tenant, caller.subject
    tenant, backslash, name = user_name.partition("\\")
    if not backslash:
        tenant, name = "" if caller is None else caller.tenant, user_name
    if caller is not None and (tenant, name) != (caller.tenant, caller.subject):
        raise _not_changed("userName: expected the user of the token")
    return tenant, name


def _not_changed(why: str) -> ApiError:
    return ApiError(403, "Unable to update password", detail={"reason": why})


def _signed_out(request: Request, redirect_uri: str | None) -> Response:
    """The answer to a sign-out: for a browser that shows pages a redirect or a page, else the envelope."""
    if "text/html" not in (header(request.scope, b"accept") or ""):
        return respond(headers=NO_STORE)
    if redirect_uri is not None:
        return RedirectResponse(redirect_uri, 302, dict(NO_STORE))
    texts = choose(None, header(request.scope, b"accept-language"))
    return message_page(texts, texts.signed_out, texts.signed_out_text, 200)
