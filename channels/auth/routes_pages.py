"""The pages of the browser: authorization, signing in, consent (docs/protocol/oauth.md#authorize)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from channels.auth.page_requests import PageHandlers, redirected, texts_for, with_cookie
from channels.auth.pages import SignInForm, consent_page, sign_in_page, too_many_tries_page
from channels.auth.routes_tokens import BASE
from channels.auth.signed import Form
from hub.http.assets import Asset
from hub.http.body import read_body
from hub.security.credentials import Credential
from hub.security.oauth.authorization import AuthorizationRequest, Next, Redirect, next_step, read_request
from hub.security.oauth.models import Person
from hub.security.oauth.parameters import MAX_BYTES, Parameters, check_form, parse_parameters
from hub.security.oauth.redirects import origin_of
from hub.security.origin import client_address, is_secure
from hub.security.sign_in import TooManyTriesError

PAGES: Final = (f"{BASE}/oauth/authorize", f"{BASE}/sign-in", f"{BASE}/consent")
"""No page of another origin may read these, whoever registered it (RFC 9700 section 2.6)."""

_DAY_S: Final = 86_400


class Pages(PageHandlers):
    """The handlers of the pages of signing in."""

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
            return redirected(step, status)
        if step is Next.SIGN_IN or person is None:
            return self._form(request, asked, parameters)
        if step is Next.CONSENT:
            browser, cookie = self._browser(request)
            texts = texts_for(request, parameters)
            page = consent_page(
                *(texts, self._signer.sign(Form.CONSENT, browser, _asked_of(person, at_s, parameters)), asked.client.name),
                *(f"{person.tenant}\\{person.name}", self._wishes(asked.scopes, texts), origin_of(asked.redirect_uri)),
            )
            return with_cookie(page, cookie)
        code = await self._service.give_code(asked, person, at_s)
        return redirected(asked.granted(code), status)

    def _form(
        self,
        request: Request,
        asked: AuthorizationRequest,
        parameters: Parameters,
        *,
        username: str | None = None,
        wrong: bool = False,
    ) -> Response:
        browser, cookie = self._browser(request)
        form = SignInForm(
            request=self._signer.sign(Form.SIGN_IN, browser, urlencode(parameters)),
            client=asked.client.name,
            tenant=asked.client.tenant,
            hide_tenant=asked.hide_tenant,
            username=(asked.login_hint or "")[:200] if username is None else username,
            wrong=wrong,
            action_origin=origin_of(asked.redirect_uri),
            frames=asked.client.frame_origins,
        )
        return with_cookie(sign_in_page(texts_for(request, parameters), form), cookie)

    # -- signing in ---------------------------------------------------------------------------------------------------

    async def open_form(self, request: Request) -> Response:
        """``GET /sign-in``: the form for the hub's own pages."""
        parameters = parse_parameters(request.scope["query_string"])
        return self._own_form(request, parameters, parameters.get("login_hint", ""))

    def _own_form(self, request: Request, fields: Parameters, username: str, *, tenant: str = "", wrong: bool = False) -> Response:
        path, languages = _local(fields.get("next", "/")), fields.get("ui_locales", "")
        form = SignInForm("", None, tenant, hide_tenant=False, username=username[:200], wrong=wrong, next=path, ui_locales=languages)
        return sign_in_page(texts_for(request, fields), form)

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
        address = client_address(request.scope)
        device = self._service.gate.devices.device(request.scope, tenant, name)
        try:
            # who is of another tenant than the client is told the same as after a wrong password
            credential = await self._service.sign_in(tenant, name, password, address, None if asked is None else asked.client, device)
        except TooManyTriesError as error:
            return too_many_tries_page(texts_for(request, fields if own else parameters), error.wait_s)
        person = None if credential is None else await self._service.person_of(credential)
        if credential is None or (person is None and asked is not None):
            if asked is None:
                return self._own_form(request, fields, name, tenant=tenant, wrong=True)
            return self._form(request, asked, parameters, username=name, wrong=True)
        now = self._service.now_s()  # not later than what the cookie says: the page of consent takes no older sign-in
        cookies = self._cookies(request, credential, remember=fields.get("remember") == "yes", device=device)
        if asked is None or person is None:
            return with_cookie(RedirectResponse(_local(fields.get("next", "/")), 303, {"Cache-Control": "no-store"}), *cookies)
        fresh = replace(asked, prompts=asked.prompts - {"login", "select_account"}, login_hint=None, max_age_s=None)
        return with_cookie(await self._go_on(request, fresh, parameters, person, now), *cookies)

    def _cookies(self, request: Request, credential: Credential, *, remember: bool, device: str | None) -> list[str]:
        """What a browser keeps of a sign-in: the sign-in itself, and unless it has that already, that this user has signed in in it."""
        lifetime_s = self._service.settings.remember_days * _DAY_S if remember else None
        secure = is_secure(request.scope)
        gate = self._service.gate
        made = [gate.sign_in_cookie(credential, secure=secure, lifetime_s=lifetime_s, kept=remember)]
        return made if device is not None else [*made, gate.devices.header(credential.tenant, credential.subject, secure=secure)]

    async def consent(self, request: Request) -> Response:
        """``POST /consent``: the user says whether the client may."""
        fields = await self._fields(request)
        user, since, query = self._signed_text(request, Form.CONSENT, fields.get("request", "")).split(" ", 2)
        parameters = _client_parameters(query)
        asked = await self._read(request, parameters)
        found = await self._service.signed_in(request.scope)
        if found is None:
            return self._form(request, asked, parameters)
        person, at_s, _ = found
        if person.id != user or at_s < int(since):  # somebody else has signed in since, who was asked nothing yet
            return await self._go_on(request, asked, parameters, person, at_s)
        if fields.get("answer") != "allow":
            return redirected(asked.refused("access_denied", "the user does not allow it"), 303)
        # the questions of prompt and max_age were asked before the page of consent
        settled = replace(asked, prompts=frozenset(), login_hint=None, max_age_s=None)
        return await self._go_on(request, settled, parameters, person, at_s, consented=True)

    # -- forms --------------------------------------------------------------------------------------------------------

    async def _signed(self, request: Request, signed: str) -> tuple[Parameters, AuthorizationRequest]:
        """What the client asked for, out of the form for signing in.

        Raises:
            TooOldError: it is not signed, is another form's or browser's, or is too old.
        """
        parameters = _client_parameters(self._signed_text(request, Form.SIGN_IN, signed))
        return parameters, await self._read(request, parameters)


def _asked_of(person: Person, at_s: int, parameters: Parameters) -> str:
    """What the form for consent carries: whom it asks, since when that user was signed in, and what the client asked for."""
    return f"{person.id} {at_s} {urlencode(parameters)}"


def _client_parameters(query: str) -> Parameters:
    """What a client asked for, as a form carries it: each character of what came unencoded may be three now."""
    return parse_parameters(query.encode(), 3 * MAX_BYTES)


def _local(path: str) -> str:
    """A path of this hub; ``/`` for anything else, such as another host's address."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable() and path.isascii()
    return path if plain and len(path) <= MAX_BYTES // 4 else "/"
