"""The browser's part of the authorization code flow, without one: from the application's link to the address that it comes back to."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin

import httpx

_SECONDS = 60


def come_back(link: str, username: str, password: str) -> str:
    """Follow an application's link to the sign-in page, fill the form in, and return the address to which the hub sends the browser.

    Raises:
        AssertionError: the hub shows another page, or refuses the password.
    """
    with httpx.Client(timeout=_SECONDS) as browser:
        page = browser.get(link)
        assert page.status_code == httpx.codes.OK, page.headers.get("location", page.text)
        action = re.search(r'<form method="post" action="([^"]*)"', page.text)
        assert action is not None, page.text
        inputs = [_attributes(each) for each in re.findall(r"<input [^>]*>", page.text)]
        fields = {each["name"]: each.get("value", "") for each in inputs if each.get("type") != "checkbox"}
        origin = str(httpx.URL(link).copy_with(raw_path=b"/")).rstrip("/")
        sent = {**fields, "username": username, "password": password}
        back = browser.post(urljoin(link, unescape(action[1])), data=sent, headers={"Origin": origin})
        assert back.status_code == httpx.codes.SEE_OTHER, back.text
        return back.headers["location"]


def _attributes(tag: str) -> dict[str, str]:
    return {name: unescape(value) for name, value in re.findall(r' ([a-z-]+)="([^"]*)"', tag)}
