"""The pages that people see: the sign-in form, the question for consent, signing out, and what went wrong. Plain HTML, which works without
scripts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

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
    error: str | None = None
    next: str = ""
    """Where the browser goes after it signed in to the hub itself: a path."""
    action_origin: str | None = None
    """The origin of the client's redirect URI: without it in the policy, Chromium does not follow the redirect after the form. None for a
    scheme of an application's own: then the policy says nothing of forms."""
    frames: tuple[str, ...] = ()
    """The origins that may show the page in a frame."""


def sign_in_page(form: SignInForm, status: int = 200) -> HTMLResponse:
    """The sign-in page."""
    into = f" to {escape(form.client)}" if form.client else ""
    title = f"Sign in{into}"
    fault = ""
    described = ""
    if form.error is not None:
        fault = f'<div class="error" role="alert" id="error" tabindex="-1" autofocus><p>{escape(form.error)}</p></div>'
        described = ' aria-describedby="error" aria-invalid="true"'
    fields = []
    if form.hide_tenant:
        fields.append(f'<input type="hidden" name="tenant" value="{escape(form.tenant)}">')
    else:
        fields.append(_field("tenant", "Tenant", form.tenant, 'autocomplete="organization" required maxlength="64"', described))
    focus = "" if form.error is not None else " autofocus"
    fields.append(
        _field("username", "Username", form.username, f'autocomplete="username" required maxlength="200"{focus}', described),
    )
    fields.append(_field("password", "Password", "", 'type="password" autocomplete="current-password" required', described))
    body = (
        f"<h1>{title}</h1>{fault}"
        f'<form method="post" action="/auth/v3/sign-in">'
        f'<input type="hidden" name="request" value="{escape(form.request)}">'
        f'<input type="hidden" name="next" value="{escape(form.next)}">'
        f"{''.join(fields)}"
        '<p class="check"><input type="checkbox" id="remember" name="remember" value="yes">'
        '<label for="remember">Stay signed in on this device</label></p>'
        '<button type="submit">Sign in</button></form>'
    )
    shown = f"Error: {title}" if form.error is not None else title
    return _page(shown, body, status, form_action=_action(form.action_origin, whole=bool(form.request)), frames=form.frames)


def consent_page(request: str, client: str, username: str, lines: Iterable[str], action_origin: str | None) -> HTMLResponse:
    """The page that asks whether a client may do what it asks for."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    body = (
        f"<h1>{escape(client)} asks for access</h1>"
        f"<p>You are signed in as {escape(username)}. {escape(client)} wants to:</p><ul>{items}</ul>"
        '<form method="post" action="/auth/v3/consent">'
        f'<input type="hidden" name="request" value="{escape(request)}">'
        '<button type="submit" name="answer" value="allow">Allow</button> '
        '<button type="submit" name="answer" value="deny" class="second">Deny</button></form>'
    )
    return _page(f"{client} asks for access", body, 200, form_action=_action(action_origin, whole=True))


def sign_out_page() -> HTMLResponse:
    """The page with a button that signs out, for a link of another site: a link alone must not sign anybody out."""
    body = (
        "<h1>Sign out?</h1><p>A page of another site asks to sign you out.</p>"
        '<form method="post" action="/auth/v3/sign-out"><button type="submit">Sign out</button></form>'
    )
    return _page("Sign out?", body, 200, form_action="'self'")


def message_page(title: str, text: str, status: int) -> HTMLResponse:
    """A page that says what happened, or what went wrong."""
    return _page(title, f"<h1>{escape(title)}</h1><p>{escape(text)}</p>", status, form_action="'none'")


def _field(name: str, label: str, value: str, attributes: str, described: str) -> str:
    return (
        f'<p><label for="{name}">{label}</label>'
        f'<input id="{name}" name="{name}" value="{escape(value)}" autocapitalize="none" spellcheck="false" {attributes}{described}></p>'
    )


def _action(origin: str | None, *, whole: bool) -> str | None:
    """The sources of ``form-action``; None if the policy must say nothing of forms."""
    if not whole:
        return "'self'"
    return None if origin is None else f"'self' {origin}"


def _page(title: str, body: str, status: int, *, form_action: str | None, frames: tuple[str, ...] = ()) -> HTMLResponse:
    ancestors = " ".join(frames) if frames else "'none'"
    policy = f"{_POLICY}; frame-ancestors {ancestors}" + ("" if form_action is None else f"; form-action {form_action}")
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<link rel="stylesheet" href="{STYLE}"></head><body><main>{body}</main></body></html>'
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",  # with no-referrer, browsers send a form without its origin (Fetch section 3.3)
        "X-Content-Type-Options": "nosniff",
    }
    if not frames:
        headers["X-Frame-Options"] = "DENY"
    return HTMLResponse(html, status, headers)
