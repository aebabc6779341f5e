"""The device grant (RFC 8628, docs/protocol/oauth.md#devices): the call of the device, and the pages where its user answers."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from channels.auth.errors import NO_STORE, OAuthRoute
from channels.auth.page_requests import PageHandlers, TooOldError, texts_for, with_cookie
from channels.auth.pages import allow_device_page, device_page, message_page, too_many_tries_page
from channels.auth.routes_tokens import ANY_ORIGIN, BASE, REFUSALS, TAGS, client_of, form_of
from channels.auth.schemas import DEVICE_FORM, DeviceAnswer, form
from channels.auth.service import AuthService
from channels.auth.signed import Form
from hub.http.body import takes
from hub.http.errors import ApiError
from hub.http.routing import HubRouter
from hub.security.credentials import hash_secret
from hub.security.hosts import Hosts
from hub.security.oauth.clients import must_have
from hub.security.oauth.device import DeviceCode, TooManyDevicesError, authorization, read_user_code, shown
from hub.security.oauth.models import Grant
from hub.security.oauth.parameters import MAX_BYTES, Parameters, parse_parameters
from hub.security.oauth.scopes import parse_scope
from hub.security.origin import client_address

DEVICE_PAGES: Final = (f"{BASE}/device", f"{BASE}/device/answer")
"""No page of another origin may read these."""


def create_device_router(service: AuthService, hosts: Hosts) -> HubRouter:
    """The route of devices."""
    router = HubRouter(prefix=BASE, tags=TAGS, route_class=OAuthRoute)

    @router.post(
        "/oauth/device", summary="Get codes for a device", response_model=DeviceAnswer, responses=REFUSALS, openapi_extra=form(DEVICE_FORM)
    )
    @takes(MAX_BYTES)
    async def device(request: Request) -> Response:
        """Codes for a device without a keyboard: its user types one on a page of the hub (RFC 8628 section 3.1)."""
        asked = await form_of(request)
        client = await client_of(service, request, asked)
        if not service.limits.allow(client, asked.address):
            raise ApiError(429, "too many requests of this client; try again in a second", headers={"Retry-After": "1"})
        must_have(client, Grant.DEVICE_CODE)
        scopes = parse_scope(asked.parameters.get("scope"), service.scopes)
        lasts_s = service.settings.device_code_s
        secret = secrets.token_urlsafe(32)
        wanted = DeviceCode(client.id, client.tenant, "", scopes, (service.now_s() + lasts_s) * 1000)
        try:
            made = await service.devices.add(hash_secret(secret), wanted, asked.address)
        except TooManyDevicesError as error:
            service.counters.device_codes_refused += 1
            raise ApiError(429, f"{error}; try again later", headers={"Retry-After": "60"}) from error
        service.counters.device_codes += 1
        page = f"{hosts.base_url(request.scope)}{BASE}/device"
        answer = authorization(secret, made, page, lasts_s, service.settings.device_poll_s)
        return JSONResponse(answer, headers={**NO_STORE, **ANY_ORIGIN})

    return router


class DevicePages(PageHandlers):
    """The pages where the user of a device types its code, signs in, sees which client asks, and answers."""

    def routes(self) -> Sequence[BaseRoute]:
        """The routes."""
        return [
            Route(f"{BASE}/device", self._handled("device", self.open), methods=["GET"]),
            Route(f"{BASE}/device", self._handled("device", self.enter), methods=["POST"]),
            Route(f"{BASE}/device/answer", self._handled("device/answer", self.answer), methods=["POST"]),
        ]

    async def open(self, request: Request) -> Response:
        """``GET /device``: the form. A code in the query is filled in, and the user says that it is that of the device; one that was typed
        before the user signed in goes on.
        """
        parameters = parse_parameters(request.scope["query_string"])
        if "request" in parameters:
            try:
                typed = parse_parameters(self._signed_text(request, Form.DEVICE_CODE, parameters["request"]).encode())
            except TooOldError:
                return self._form(request, parameters, "", wrong=True)
            return await self._go_on(request, parameters, typed["user_code"])
        code = read_user_code(parameters.get("user_code", ""))
        return self._form(request, parameters, "" if code is None else shown(code))

    async def enter(self, request: Request) -> Response:
        """``POST /device``: the code."""
        fields = await self._fields(request)
        code = read_user_code(fields.get("user_code", ""))
        if code is None:
            return self._form(request, fields, fields.get("user_code", "")[:64], wrong=True)
        return await self._go_on(request, fields, code)

    async def answer(self, request: Request) -> Response:
        """``POST /device/answer``: the user allows or denies it."""
        fields = await self._fields(request)
        asked = parse_parameters(self._signed_text(request, Form.DEVICE_ANSWER, fields.get("request", "")).encode())
        found = await self._service.signed_in(request.scope)
        if found is None or found[0].id != asked["user"]:  # another user has signed in since
            return await self._go_on(request, fields, asked["user_code"])
        allow = fields.get("answer") == "allow"
        address = client_address(request.scope)
        if not await self._service.answer_device(asked["user_code"], found[0], found[1], address, allow=allow):
            return self._form(request, fields, "", wrong=True)
        texts = texts_for(request, fields)
        if allow:
            return message_page(texts, texts.device_allowed, texts.device_allowed_text, 200)
        return message_page(texts, texts.device_denied, texts.device_denied_text, 200)

    def _form(self, request: Request, fields: Parameters, typed: str, *, wrong: bool = False) -> Response:
        return device_page(texts_for(request, fields), typed, wrong=wrong, ui_locales=fields.get("ui_locales", ""))

    async def _go_on(self, request: Request, fields: Parameters, code: str) -> Response:
        """Ask the user of this browser, who signs in first. Nobody learns whether there is a code who is not signed in."""
        browser, cookie = self._browser(request)
        found = await self._service.signed_in(request.scope)
        locales = fields.get("ui_locales", "")
        if found is None:
            back = urlencode(
                {"request": self._signer.sign(Form.DEVICE_CODE, browser, urlencode({"user_code": code})), "ui_locales": locales}
            )
            link = urlencode({"next": f"{BASE}/device?{back}", "ui_locales": locales})
            return with_cookie(RedirectResponse(f"{BASE}/sign-in?{link}", 303, {"Cache-Control": "no-store"}), cookie)
        person = found[0]
        texts = texts_for(request, fields)
        waiting, wait_s = await self._service.device_of(code, person)
        if wait_s:
            return too_many_tries_page(texts, wait_s)
        if waiting is None:
            return self._form(request, fields, shown(code), wrong=True)
        device, client = waiting
        page = allow_device_page(
            *(texts, self._signer.sign(Form.DEVICE_ANSWER, browser, urlencode({"user_code": code, "user": person.id})), client.name),
            *(f"{person.tenant}\\{person.name}", shown(code), self._wishes(device.scopes, texts)),
            ui_locales=locales,
        )
        return with_cookie(page, cookie)
