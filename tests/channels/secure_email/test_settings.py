"""The section ``secure_email`` of the settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from channels.secure_email.settings import SecureEmailSettings
from hub.core.limits import MAX_BODY_BYTES


@pytest.mark.parametrize("given", ["image/*, Application/PDF,", ["image/*", "application/pdf"], ("image/*", " application/pdf ")])
def test_types_are_a_list_or_text_with_commas(given: object) -> None:
    assert SecureEmailSettings.model_validate({"allowed_types": given}).allowed_types == ("image/*", "application/pdf")


@pytest.mark.parametrize("given", ["pdf", "*/*", "image/", "image/*/x", [5], 5, "a b/c"])
def test_types_that_are_none(given: object) -> None:
    with pytest.raises(ValidationError):
        SecureEmailSettings.model_validate({"allowed_types": given})


def test_no_request_may_be_larger_than_the_application_reads() -> None:
    with pytest.raises(ValidationError):
        SecureEmailSettings(max_body_bytes=MAX_BODY_BYTES + 1)
