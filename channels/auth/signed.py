"""What a page carries between two requests, signed: nobody but this hub can have made it, and it is good in one browser alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from enum import StrEnum
from typing import Final

MAX_LENGTH: Final = 40 * 1024
"""Characters of what is signed: three times the 8 KiB of parameters, since each may be percent-encoded, in base64."""
_DIGEST: Final = 32


class Form(StrEnum):
    """The forms that carry something signed. What was signed for one is no use in another: each was shown after other questions."""

    SIGN_IN = "sign-in page"
    CONSENT = "consent page"
    DEVICE_CODE = "device code"
    """The code that somebody typed before signing in."""
    DEVICE_ANSWER = "device answer"


class PageSigner:
    """Signs what the forms of the pages carry, such as the parameters of an authorization request.

    It is no use in another browser, since the cookie ``HUB_SIGNIN`` is signed with it: no site can sign a visitor in as somebody else
    (login CSRF, RFC 9700 section 4.7).
    """

    __slots__ = ("_keys", "_lasts_s", "_now_s")

    def __init__(self, secret: bytes, now_s: Callable[[], float], lasts_s: int) -> None:
        """``secret`` is ``HUB_SECRET``; ``now_s`` returns the time of day in seconds; what is signed is good for ``lasts_s`` seconds."""
        self._keys = {form: hmac.digest(secret, form.encode(), "sha256") for form in Form}
        self._now_s = now_s
        self._lasts_s = lasts_s

    def sign(self, form: Form, browser: str, query: str) -> str:
        """``query`` for the hidden field of a ``form``; ``browser`` is the value of the browser's cookie."""
        payload = json.dumps([int(self._now_s()) + self._lasts_s, query]).encode()
        return base64.urlsafe_b64encode(self._digest(form, browser, payload) + payload).decode()

    def read(self, form: Form, browser: str, signed: str) -> str | None:
        """What :meth:`sign` was given; None if it is not this hub's, is another form's or browser's, or is too old."""
        if len(signed) > MAX_LENGTH or not signed.isascii():
            return None
        try:
            raw = base64.b64decode(signed, altchars=b"-_", validate=True)
        except ValueError:
            return None
        digest, payload = raw[:_DIGEST], raw[_DIGEST:]
        if not hmac.compare_digest(digest, self._digest(form, browser, payload)):
            return None
        until, query = json.loads(payload)
        return str(query) if until > self._now_s() else None

    def _digest(self, form: Form, browser: str, payload: bytes) -> bytes:
        return hmac.digest(self._keys[form], hashlib.sha256(browser.encode()).digest() + payload, "sha256")
