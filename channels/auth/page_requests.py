"""What the pages of the browser share: errors as pages, forms of the hub's own pages alone, and what a form carries, signed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from channels.auth.languages import Texts, choose
from channels.auth.pages import Wish, message_page
from channels.auth.routes_tokens import BASE
from channels.auth.service import AuthService
from channels.auth.signed import Form, PageSigner
from hub.http.body import read_body
from hub.http.errors import ApiError
from hub.security.cookies import new_cookie_value, read_cookies, set_cookie
from hub.security.hosts import Hosts
from hub.security.oauth.authorization import PageError, Redirect, RedirectedError
from hub.security.oauth.errors import OAuthError
from hub.security.oauth.parameters import MAX_BYTES, Parameters, check_form, parse_parameters
from hub.security.oauth.scopes import ALL
from hub.security.origin import client_address, is_secure
from hub.storage.transactions import StorageError

SIGN_IN_PAGE_COOKIE: Final = "HUB_SIGNIN"

MAX_FORM: Final = 6 * MAX_BYTES
"""Bytes of a form at most: it carries the signed parameters of the client, and what the user typed."""


class TooOldError(Exception):
    """A form that this hub did not sign for this browser, or too long ago."""


class _Template(NamedTuple):
    """What the access log calls a path."""

    path: str


class PageHandlers:
    """Handlers of pages."""

    def __init__(self, service: AuthService, hosts: Hosts, signer: PageSigner) -> None:
        self._service = service
        self._hosts = hosts
        self._signer = signer

    def _handled(self, path: str, serve: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Answer errors with pages, and limit how often one address asks for pages."""

        async def answer(request: Request) -> Response:
            request.scope["route"] = _Template(f"{BASE}/{path}")
            address = client_address(request.scope)
            texts = texts_for(request)
            if not self._service.limits.allow_page(address):
                page = message_page(texts, texts.too_many_requests, texts.too_many_requests_text, 429)
                return with_headers(page, {"Retry-After": "1"})
            try:
                return await serve(request)
            except PageError as error:
                return message_page(texts, texts.bad_link, texts.bad_link_text, error.status, detail=error.reason)
            except OAuthError as error:
                detail = f"The request is malformed: {error.description}."
                return message_page(texts, texts.bad_link, texts.bad_link_text, 400, detail=detail)
            except RedirectedError as error:
                return redirected(error.redirect, 303 if request.method == "POST" else 302)
            except TooOldError:
                return message_page(texts, texts.too_old, texts.too_old_text, 400)
            except ApiError as error:
                return message_page(texts, texts.bad_request, texts.bad_request_text, error.http_status, detail=error.message)
            except StorageError:
                return with_headers(message_page(texts, texts.unavailable, texts.unavailable_text, 503), {"Retry-After": "1"})

        return answer

    def _wishes(self, scopes: Iterable[str], texts: Texts) -> list[Wish]:
        """What a client asks for, in words."""
        known = {ALL: texts.scope_all, "openid": texts.scope_openid, "profile": texts.scope_profile, "email": texts.scope_email}
        return [
            Wish(known[scope], texts.language) if scope in known else Wish(self._service.scopes[scope].summary, "en") for scope in scopes
        ]

    async def _fields(self, request: Request) -> Parameters:
        """The fields of a form of this hub's own page.

        Raises:
            ApiError: 403, another site sent it.
            OAuthError: it is malformed.
        """
        if not self._hosts.from_own_page(request.scope):
            raise ApiError(403, "Signing in is for pages of this hub.")
        check_form(request.headers.get("content-type"))
        return parse_parameters(await read_body(request, MAX_FORM), MAX_FORM)

    def _signed_text(self, request: Request, form: Form, signed: str) -> str:
        """What a ``form`` of this browser carries.

        Raises:
            TooOldError: it is not signed, is another form's or browser's, or is too old.
        """
        for browser in read_cookies(request.scope["headers"], SIGN_IN_PAGE_COOKIE):
            text = self._signer.read(form, browser, signed)
            if text is not None:
                return text
        raise TooOldError

    def _browser(self, request: Request) -> tuple[str, str | None]:
        """The value that tells this browser apart, and the cookie to set if it has none yet."""
        for value in read_cookies(request.scope["headers"], SIGN_IN_PAGE_COOKIE):
            return value, None
        value = new_cookie_value()
        return value, set_cookie(SIGN_IN_PAGE_COOKIE, value, max_age_s=None, secure=is_secure(request.scope), path=BASE)


def texts_for(request: Request, parameters: Parameters | None = None) -> Texts:
    """The texts in the language of a browser: that of ``ui_locales`` in the parameters of the client, or else in the query."""
    wishes = request.query_params.get("ui_locales") if parameters is None else parameters.get("ui_locales")
    return choose(wishes, request.headers.get("accept-language"))


def redirected(redirect: Redirect, status: int) -> Response:
    """Send a browser back to the client."""
    # the location as it stands: a framework's class would encode what the client registered in another way
    return Response(
        status_code=status, headers={"Location": redirect.location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    )


def with_headers(response: Response, headers: dict[str, str]) -> Response:
    """The response with more headers."""
    response.headers.update(headers)
    return response


def with_cookie(response: Response, *cookies: str | None) -> Response:
    """The response with the cookies to set, as far as there are any."""
    for cookie in filter(None, cookies):
        response.headers.append("Set-Cookie", cookie)
    return response
