"""The pages of the browser: authorization, signing in, consent (docs/protocol/oauth.md#authorize)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Final, NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from channels.auth.pages import SignInForm, consent_page, message_page, sign_in_page
from channels.auth.routes_tokens import BASE
from channels.auth.service import AuthService
from channels.auth.signed import PageSigner
from hub.http.assets import Asset
from hub.http.body import read_body
from hub.http.errors import ApiError
from hub.security.cookies import new_cookie_value, read_cookies, set_cookie
from hub.security.credentials import Credential
from hub.security.hosts import Hosts
from hub.security.oauth.authorization import AuthorizationRequest, Next, PageError, Redirect, RedirectedError, next_step, read_request
from hub.security.oauth.errors import OAuthError
from hub.security.oauth.models import Person
from hub.security.oauth.parameters import MAX_BYTES, Parameters, check_form, parse_parameters
from hub.security.oauth.redirects import origin_of
from hub.security.oauth.scopes import ALL
from hub.security.origin import is_secure
from hub.security.sign_in import TooManyTriesError
from hub.storage.transactions import StorageError

SIGN_IN_PAGE_COOKIE: Final = "HUB_SIGNIN"

MAX_FORM: Final = 6 * MAX_BYTES
"""Bytes of a form at most: it carries the signed parameters of the client, and what the user typed."""

_WRONG: Final = "The tenant, the username or the password is wrong."
_WRONG_HIDDEN: Final = "The username or the password is wrong."
_TOO_OLD: Final = "This page is too old, or was opened in another browser. Go back to the application and sign in again."
_DAY_S: Final = 86_400


class _Template(NamedTuple):
    """What the access log calls a path."""

    path: str


class Pages:
    """The handlers of the pages."""

    def __init__(self, service: AuthService, hosts: Hosts, signer: PageSigner) -> None:
        self._service = service
        self._hosts = hosts
        self._signer = signer

    def routes(self) -> Sequence[BaseRoute]:
        """The routes; they answer with pages, so they stand beside the REST API."""
        style = Asset(files(__package__).joinpath("static/sign-in.css").read_bytes(), "text/css")
        return [
            Route(f"{BASE}/oauth/authorize", self._handled("oauth/authorize", self.authorize), methods=["GET", "POST"]),
            Route(f"{BASE}/sign-in", self._handled("sign-in", self.open_form), methods=["GET"]),
            Route(f"{BASE}/sign-in", self._handled("sign-in", self.sign_in), methods=["POST"]),
            Route(f"{BASE}/consent", self._handled("consent", self.consent), methods=["POST"]),
            Route(f"{BASE}/static/sign-in.css", style.answer, methods=["GET"]),
        ]

    def _handled(self, path: str, serve: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Answer errors with pages, and limit how often one address asks for pages."""

        async def answer(request: Request) -> Response:
            request.scope["route"] = _Template(f"{BASE}/{path}")
            address = request.client.host if request.client is not None else ""
            if not self._service.limits.pages.allows(address):
                return _with(message_page("Too many requests", "Wait a moment, then try again.", 429), {"Retry-After": "1"})
            try:
                return await serve(request)
            except PageError as error:
                return message_page("This link does not work", error.reason, error.status)
            except OAuthError as error:
                return message_page("This link does not work", f"The request is malformed: {error.description}.", 400)
            except RedirectedError as error:
                return _redirect(error.redirect, 303 if request.method == "POST" else 302)
            except ApiError as error:
                return message_page("This request does not work", error.message, error.http_status)
            except StorageError:
                return _with(
                    message_page("Not available", "Signing in is not possible now. Try again in a moment.", 503), {"Retry-After": "1"}
                )

        return answer

    # -- authorization ------------------------------------------------------------------------------------------------

    async def authorize(self, request: Request) -> Response:
        """``/oauth/authorize``: sends a signed-in browser back with a code at once, else shows the form."""
        if request.method == "POST":  # OpenID Connect Core section 3.1.2.1
            check_form(request.headers.get("content-type"))
            parameters = parse_parameters(await read_body(request, MAX_BYTES))
        else:
            parameters = parse_parameters(request.scope["query_string"])
        asked = await self._read(request, parameters)
        found = await self._service.signed_in(request.scope)
        person, at_s = (None, 0) if found is None else (found[0], found[1])
        return await self._go_on(request, asked, parameters, person, at_s)

    async def _read(self, request: Request, parameters: Parameters) -> AuthorizationRequest:
        issuer = f"{self._hosts.base_url(request.scope)}{BASE}"
        return await read_request(parameters, self._service.store.client, self._service.scopes, issuer)

    async def _go_on(
        self,
        request: Request,
        asked: AuthorizationRequest,
        parameters: Parameters,
        person: Person | None,
        at_s: int,
        *,
        consented: bool = False,
    ) -> Response:
        step = next_step(asked, person, at_s, self._service.now_s(), consented=consented)
        status = 303 if request.method == "POST" else 302
        if isinstance(step, Redirect):
            return _redirect(step, status)
        if step is Next.SIGN_IN or person is None:
            return self._form(request, asked, parameters)
        if step is Next.CONSENT:
            browser, cookie = self._browser(request)
            page = consent_page(
                self._signer.sign(browser, urlencode(parameters)),
                *(asked.client.name, f"{person.tenant}\\{person.name}", self._wishes(asked), origin_of(asked.redirect_uri)),
            )
            return _with_cookie(page, cookie)
        code = await self._service.give_code(asked, person, at_s)
        return _redirect(asked.granted(code), status)

    def _wishes(self, asked: AuthorizationRequest) -> list[str]:
        """What a client asks for, in words."""
        texts = {ALL: "do everything that you may do", "openid": "know who you are", "profile": "know your name"}
        texts["email"] = "know your e-mail address"
        return [texts.get(scope) or self._service.scopes[scope].summary for scope in asked.scopes]

    def _form(
        self,
        request: Request,
        asked: AuthorizationRequest,
        parameters: Parameters,
        *,
        username: str | None = None,
        error: str | None = None,
    ) -> Response:
        browser, cookie = self._browser(request)
        form = SignInForm(
            request=self._signer.sign(browser, urlencode(parameters)),
            client=asked.client.name,
            tenant=asked.client.tenant,
            hide_tenant=asked.hide_tenant,
            username=(asked.login_hint or "")[:200] if username is None else username,
            error=error,
            action_origin=origin_of(asked.redirect_uri),
            frames=asked.client.frame_origins,
        )
        return _with_cookie(sign_in_page(form), cookie)

    # -- signing in ---------------------------------------------------------------------------------------------------

    async def open_form(self, request: Request) -> Response:
        """``GET /sign-in``: the form for the hub's own pages."""
        parameters = parse_parameters(request.scope["query_string"])
        browser, cookie = self._browser(request)
        return _with_cookie(self._own_form(browser, parameters.get("next", "/"), parameters.get("login_hint", "")), cookie)

    def _own_form(self, browser: str, path: str, username: str, *, tenant: str = "", error: str | None = None) -> Response:
        return sign_in_page(SignInForm("", None, tenant, hide_tenant=False, username=username[:200], error=error, next=_local(path)))

    async def sign_in(self, request: Request) -> Response:
        """``POST /sign-in``: the form comes back. Who is signed in then goes on with what the client asked for."""
        fields = await self._fields(request)
        name, password = fields.get("username", ""), fields.get("password", "")
        own = "request" not in fields
        parameters, asked = (Parameters({}), None) if own else await self._signed(request, fields["request"])
        tenant = fields.get("tenant", "")
        if "\\" in name:
            tenant, _, name = name.partition("\\")
        if asked is not None and asked.hide_tenant:
            tenant = asked.client.tenant
        address = request.client.host if request.client is not None else ""
        try:
            credential = await self._service.sign_in(tenant, name, password, address)
        except TooManyTriesError as error:
            text = f"Too many tries have failed. Try again in {error.wait_s} seconds."
            return _with(message_page("Too many tries", text, 429), {"Retry-After": str(error.wait_s)})
        person = None if credential is None else await self._service.person_of(credential)
        foreign = asked is not None and tenant != asked.client.tenant  # told in the same words as a wrong password
        if credential is None or foreign or (person is None and asked is not None):
            wrong = _WRONG_HIDDEN if asked is not None and asked.hide_tenant else _WRONG
            if asked is None:
                browser, _ = self._browser(request)
                return self._own_form(browser, fields.get("next", "/"), name, tenant=tenant, error=wrong)
            return self._form(request, asked, parameters, username=name, error=wrong)
        cookie = self._cookie(request, credential, remember=fields.get("remember") == "yes")
        if asked is None or person is None:
            return _with_cookie(RedirectResponse(_local(fields.get("next", "/")), 303, {"Cache-Control": "no-store"}), cookie)
        now = self._service.now_s()
        fresh = replace(asked, prompts=asked.prompts - {"login", "select_account"}, login_hint=None, max_age_s=None)
        return _with_cookie(await self._go_on(request, fresh, parameters, person, now), cookie)

    def _cookie(self, request: Request, credential: Credential, *, remember: bool) -> str:
        lifetime_s = self._service.settings.remember_days * _DAY_S if remember else None
        secure = is_secure(request.scope)
        return self._service.gate.sign_in_cookie(credential, secure=secure, lifetime_s=lifetime_s, kept=remember)

    async def consent(self, request: Request) -> Response:
        """``POST /consent``: the user says whether the client may."""
        fields = await self._fields(request)
        parameters, asked = await self._signed(request, fields.get("request", ""))
        found = await self._service.signed_in(request.scope)
        if found is None:
            return self._form(request, asked, parameters)
        if fields.get("answer") != "allow":
            return _redirect(asked.refused("access_denied", "the user does not allow it"), 303)
        # the questions of prompt and max_age were asked before the page of consent
        settled = replace(asked, prompts=frozenset(), login_hint=None, max_age_s=None)
        return await self._go_on(request, settled, parameters, found[0], found[1], consented=True)

    # -- forms --------------------------------------------------------------------------------------------------------

    async def _fields(self, request: Request) -> Parameters:
        """The fields of a form of this hub's own page.

        Raises:
            ApiError: 403, another site sent it.
            OAuthError: it is malformed.
        """
        if not self._service.gate.from_own_page(request.scope):
            raise ApiError(403, "Signing in is for pages of this hub.")
        check_form(request.headers.get("content-type"))
        return parse_parameters(await read_body(request, MAX_FORM), MAX_FORM)

    async def _signed(self, request: Request, signed: str) -> tuple[Parameters, AuthorizationRequest]:
        """What the client asked for, out of the form.

        Raises:
            PageError: it is not signed, is another browser's, or is too old.
        """
        for browser in read_cookies(request.scope["headers"], SIGN_IN_PAGE_COOKIE):
            query = self._signer.read(browser, signed)
            if query is not None:
                parameters = parse_parameters(query.encode())
                return parameters, await self._read(request, parameters)
        raise PageError(400, _TOO_OLD)

    def _browser(self, request: Request) -> tuple[str, str | None]:
        """The value that tells this browser apart, and the cookie to set if it has none yet."""
        for value in read_cookies(request.scope["headers"], SIGN_IN_PAGE_COOKIE):
            return value, None
        value = new_cookie_value()
        return value, set_cookie(SIGN_IN_PAGE_COOKIE, value, max_age_s=None, secure=is_secure(request.scope), path=BASE)


def _local(path: str) -> str:
    """A path of this hub; ``/`` for anything else, such as another host's address."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable() and path.isascii()
    return path if plain and len(path) <= MAX_BYTES // 4 else "/"


def _redirect(redirect: Redirect, status: int) -> Response:
    # the location as it stands: a framework's class would encode what the client registered in another way
    return Response(
        status_code=status, headers={"Location": redirect.location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    )


def _with(response: Response, headers: dict[str, str]) -> Response:
    response.headers.update(headers)
    return response


def _with_cookie(response: Response, cookie: str | None) -> Response:
    if cookie is not None:
        response.headers.append("Set-Cookie", cookie)
    return response
