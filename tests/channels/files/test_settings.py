"""What the settings of files refuse, by name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from channels.files.settings import FilesSettings


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"extensions": ["exe"]}, "expected some of"),
        ({"extensions": []}, "extensions"),
        ({"scanner_url": "ftp://scanner.example.com/"}, "scanner_url: expected a URL that begins with http:// or https://"),
        (
            {"scanner_url": "http://127.0.0.1:8099/scan"},
            "scanner_url: expected a host whose address is public, or within files.scanner_networks",
        ),
        ({"scanner_url": "http://ana:secret@scanner.example.com/"}, "scanner_url: expected a URL without a user name"),
        ({"max_bytes": 100 * 1024 * 1024 + 1}, "max_bytes"),
        ({"arn_account": "1"}, "arn_account"),
    ],
)
def test_what_is_refused_is_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        FilesSettings(**given)


def test_what_is_taken() -> None:
    assert FilesSettings(extensions=".PDF, txt").extensions == ("pdf", "txt")  # type: ignore[arg-type]
    near = FilesSettings(scanner_url="http://127.0.0.1:8099/scan", scanner_networks=("127.0.0.0/8",))  # type: ignore[arg-type]
    assert near.scanner_url == "http://127.0.0.1:8099/scan"
