from __future__ import annotations

import pytest

from hub.core.secret_names import url_without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h:1/a/b", "https://h:1/a/b"),
        ("https://ana:x@h/", "https://[hidden]@h/"),
        ("https://ana:x/y@z@h/", "https://[hidden]@h/"),
        ("ana:x@h", "[hidden]@h"),
        ("https://h/?key=x&other=y&z", "https://h/?key=[hidden]&other=[hidden]&[hidden]"),
        ("https://h/?key=x=y", "https://h/?key=[hidden]"),
        ("https://h/#x", "https://h/#[hidden]"),
        ("https://ana:x@h/?y=z#q", "https://[hidden]@h/?y=[hidden]#[hidden]"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_what_may_be_a_key(url: str, shown: str) -> None:
    assert url_without_secrets(url) == shown
