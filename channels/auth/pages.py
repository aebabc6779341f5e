"""The pages that people see: the sign-in form, the question for consent, signing out, and what went wrong. Plain HTML, which works without
scripts, in the languages of :mod:`channels.auth.languages`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

from channels.auth.languages import Texts

STYLE: Final = "/auth/v3/static/sign-in.css"

_POLICY: Final = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'"


@dataclass(frozen=True, slots=True)
class SignInForm:
    """What the sign-in page shows."""

    request: str
    """The signed request of the client; empty for signing in to the hub's own pages."""
    client: str | None
    """The client's name."""
    tenant: str
    hide_tenant: bool
    username: str
    wrong: bool = False
    """Whether what was typed was wrong: the page says so first."""
    next: str = ""
    """Where the browser goes after it signed in to the hub itself: a path."""
    ui_locales: str = ""
    """The languages that the link to the hub's own form asked for; those of a client are in its request."""
    action_origin: str | None = None
    """The origin of the client's redirect URI: without it in the policy, Chromium does not follow the redirect after the form. None for a
    scheme of an application's own: then the policy says nothing of forms."""
    frames: tuple[str, ...] = ()
    """The origins that may show the page in a frame."""


def sign_in_page(texts: Texts, form: SignInForm, status: int = 200) -> HTMLResponse:
    """The sign-in page."""
    title = texts.sign_in if form.client is None else texts.sign_in_to.format(client=form.client)
    summary, described, focus = "", "", " autofocus"
    if form.wrong:
        text = texts.wrong_without_tenant if form.hide_tenant else texts.wrong
        first = "username" if form.hide_tenant else "tenant"
        summary = error_summary(texts, text, first)
        described, focus = ' aria-describedby="error-text" aria-invalid="true"', ""
    fields = []
    if form.hide_tenant:
        fields.append(f'<input type="hidden" name="tenant" value="{escape(form.tenant)}">')
    else:
        fields.append(field("tenant", texts.tenant, form.tenant, f'autocomplete="organization" required maxlength="64"{described}'))
    username = f'autocomplete="username" required maxlength="200"{focus}{described}'
    fields.append(field("username", texts.username, form.username, username))
    password = f'type="password" autocomplete="current-password" required{described}'
    fields.append(field("password", texts.password, "", password))
    body = (
        f"<h1>{escape(title)}</h1>{summary}"
        f'<form method="post" action="/auth/v3/sign-in">'
        f'<input type="hidden" name="request" value="{escape(form.request)}">'
        f'<input type="hidden" name="next" value="{escape(form.next)}">'
        f'<input type="hidden" name="ui_locales" value="{escape(form.ui_locales)}">'
        f"{''.join(fields)}"
        '<p class="check"><input type="checkbox" id="remember" name="remember" value="yes">'
        f'<label for="remember">{escape(texts.remember)}</label></p>'
        f'<button type="submit">{escape(texts.sign_in)}</button></form>'
    )
    shown = texts.error.format(title=title) if form.wrong else title
    return page(texts, shown, body, status, form_action=_action(form.action_origin, whole=bool(form.request)), frames=form.frames)


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that a client asks for."""

    text: str
    language: str
    """The language of the text: a family describes its scopes in English."""


def _wishes(texts: Texts, wishes: Iterable[Wish]) -> str:
    return f"<ul>{''.join(f'<li{_lang(texts, wish.language)}>{escape(wish.text)}</li>' for wish in wishes)}</ul>"


def _allow_or_deny(texts: Texts, action: str, **hidden: str) -> str:
    """The form with the two answers to a question, and fields that go with either."""
    fields = "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in hidden.items())
    return (
        f'<form method="post" action="{action}">{fields}'
        f'<button type="submit" name="answer" value="allow">{escape(texts.allow)}</button> '
        f'<button type="submit" name="answer" value="deny" class="second">{escape(texts.deny)}</button></form>'
    )


def consent_page(texts: Texts, request: str, client: str, username: str, wishes: Iterable[Wish], action_origin: str | None) -> HTMLResponse:
    """The page that asks whether a client may do what it asks for."""
    title = texts.consent.format(client=client)
    body = (
        f"<h1>{escape(title)}</h1>"
        f"<p>{escape(texts.consent_question.format(user=username, client=client))}</p>{_wishes(texts, wishes)}"
        f"{_allow_or_deny(texts, '/auth/v3/consent', request=request)}"
    )
    return page(texts, title, body, 200, form_action=_action(action_origin, whole=True))


def device_page(texts: Texts, typed: str, *, wrong: bool = False, ui_locales: str = "") -> HTMLResponse:
    """The page where somebody types the code that a device shows. ``typed`` is filled in; ``wrong``: the page says first that it is."""
    summary, described = "", ' aria-describedby="device-text" autofocus'
    if wrong:
        summary = error_summary(texts, texts.device_wrong, "user_code")
        described = ' aria-describedby="error-text" aria-invalid="true"'
    typing = field("user_code", texts.device_code, typed, f'autocomplete="off" required maxlength="64"{described}')
    body = (
        f'<h1>{escape(texts.device)}</h1>{summary}<p id="device-text">{escape(texts.device_text)}</p>'
        '<form method="post" action="/auth/v3/device">'
        f'<input type="hidden" name="ui_locales" value="{escape(ui_locales)}">'
        f"{typing}"
        f'<button type="submit">{escape(texts.go_on)}</button></form>'
    )
    return page(texts, texts.error.format(title=texts.device) if wrong else texts.device, body, 200, form_action="'self'")


def allow_device_page(
    texts: Texts, request: str, client: str, username: str, code: str, wishes: Iterable[Wish], *, ui_locales: str = ""
) -> HTMLResponse:
    """The page that asks whether a device may do what its client asks for. It shows the code, so that the user sees whether it is that of
    the device at hand (RFC 8628 section 5.4).
    """
    body = (
        f"<h1>{escape(texts.device)}</h1>"
        f'<p>{escape(texts.device_question.format(user=username))}</p><p class="code"><strong>{escape(code)}</strong></p>'
        f"<p>{escape(texts.device_wishes.format(client=client))}</p>{_wishes(texts, wishes)}"
        f"{_allow_or_deny(texts, '/auth/v3/device/answer', request=request, ui_locales=ui_locales)}"
    )
    return page(texts, texts.device, body, 200, form_action="'self'")


def sign_out_page(texts: Texts) -> HTMLResponse:
    """The page with a button that signs out, for a link of another site: a link alone must not sign anybody out."""
    title = escape(texts.sign_out_question)
    body = (
        f"<h1>{title}</h1><p>{escape(texts.sign_out_reason)}</p>"
        f'<form method="post" action="/auth/v3/sign-out"><button type="submit">{escape(texts.sign_out)}</button></form>'
    )
    return page(texts, texts.sign_out_question, body, 200, form_action="'self'")


def message_page(texts: Texts, title: str, text: str, status: int, *, detail: str | None = None) -> HTMLResponse:
    """A page that says what happened, or what went wrong. ``detail`` is for developers, in English."""
    more = "" if detail is None else f'<p{_lang(texts, "en")} class="detail">{escape(detail)}</p>'
    return page(texts, title, f"<h1>{escape(title)}</h1><p>{escape(text)}</p>{more}", status, form_action="'none'")


def too_many_tries_page(texts: Texts, wait_s: int) -> HTMLResponse:
    """The page for somebody who has to wait ``wait_s`` seconds after too many wrong passwords or codes."""
    made = message_page(texts, texts.too_many_tries, texts.too_many_tries_text.format(seconds=wait_s), 429)
    made.headers["Retry-After"] = str(wait_s)
    return made


def error_summary(texts: Texts, text: str, first: str) -> str:
    """What a form shows first when it was refused: it has the focus, and leads to the field with the id ``first``."""
    return (
        '<div class="error" role="alert" id="error" tabindex="-1" autofocus>'
        f'<h2>{escape(texts.problem)}</h2><p id="error-text"><a href="#{first}">{escape(text)}</a></p></div>'
    )


def field(name: str, label: str, value: str, attributes: str) -> str:
    """A field of a form, with its label. ``attributes`` is HTML."""
    return (
        f'<p><label for="{name}">{escape(label)}</label>'
        f'<input id="{name}" name="{name}" value="{escape(value)}" autocapitalize="none" spellcheck="false" {attributes}></p>'
    )


def _lang(texts: Texts, language: str) -> str:
    """The attribute of a part that is in another language than its page (WCAG 2.2, success criterion 3.1.2)."""
    return "" if language == texts.language else f' lang="{language}"'


def _action(origin: str | None, *, whole: bool) -> str | None:
    """The sources of ``form-action``; None if the policy must say nothing of forms."""
    if not whole:
        return "'self'"
    return None if origin is None else f"'self' {origin}"


def page(texts: Texts, title: str, body: str, status: int, *, form_action: str | None, frames: tuple[str, ...] = ()) -> HTMLResponse:
    """A page.

    Args:
        texts: its language.
        title: what the browser calls it.
        body: its content, as HTML.
        status: the HTTP status.
        form_action: the sources to which its forms may go; None for any.
        frames: the origins that may show it in a frame.
    """
    ancestors = " ".join(frames) if frames else "'none'"
    policy = f"{_POLICY}; frame-ancestors {ancestors}" + ("" if form_action is None else f"; form-action {form_action}")
    html = (
        f'<!doctype html><html lang="{texts.language}"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<link rel="stylesheet" href="{STYLE}"></head><body><main>{body}</main></body></html>'
    )
    headers = {
        "Content-Security-Policy": policy,
        "Content-Language": texts.language,
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",  # with no-referrer, browsers send a form without its origin (Fetch section 3.3)
    }
    if not frames:
        headers["X-Frame-Options"] = "DENY"
    return HTMLResponse(html, status, headers)
