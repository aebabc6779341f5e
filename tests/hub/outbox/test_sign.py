"""Signatures, checked by verifiers that nobody here wrote."""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from hub.outbox import sign
from hub.outbox.models import OutboxEvent, Secret

NOW_S = 1_767_225_600
BODY = '{"a": "ü", "b": 1.10}'.encode()


def event(body: bytes = BODY) -> OutboxEvent:
    return OutboxEvent(7, "acme", "thing.started", "k", "", "f6c49d91-926b-4473-b2f3-8d8fd295c968", "t" * 32, "", body, 0)


def made(*secrets: str, body: bytes = BODY) -> dict[str, str]:
    return sign.headers(event(body), [Secret(text) for text in secrets], 2, NOW_S)


def test_standard_webhooks_verifies() -> None:
    secret = sign.new_secret()
    headers = sign.headers(event(), [Secret(secret)], 1, int(time.time()))
    assert Webhook(secret).verify(BODY.decode(), headers) == {"a": "ü", "b": 1.10}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.decode() + " ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(sign.new_secret()).verify(BODY.decode(), headers)


def test_standard_webhooks_verifies_either_secret_during_a_rotation() -> None:
    new, old = sign.new_secret(), sign.new_secret()
    headers = sign.headers(event(), [Secret(new), Secret(old)], 1, int(time.time()))
    for secret in (new, old):
        Webhook(secret).verify(BODY.decode(), headers)


@pytest.mark.parametrize("secret", ["a plain text", "ünïcode", "whsec_not base64!", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_hub_signatures_are_keyed_with_the_text(secret: str) -> None:
    headers = made(secret)
    for name, prefix, digest in (("X-Hub-Signature", "sha1=", hashlib.sha1), ("X-Hub-Signature-256", "sha256=", hashlib.sha256)):
        assert headers[name] == prefix + hmac.new(secret.encode(), BODY, digest).hexdigest()
        assert sign.verify(secret, BODY, headers[name])


def test_openssl_says_the_same() -> None:
    told = subprocess.run(["openssl", "dgst", "-sha1", "-hmac", "s3cret"], input=BODY, capture_output=True, check=True).stdout
    assert made("s3cret")["X-Hub-Signature"] == f"sha1={told.decode().split()[-1]}"


def test_a_secret_that_only_looks_like_base64_is_its_own_key() -> None:
    secret = "whsec_not base64!"
    headers = made(secret)
    signed = f"{headers['webhook-id']}.{NOW_S}.".encode() + BODY
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


def test_who_it_is() -> None:
    headers = made("s3cret")
    assert headers["webhook-id"] == "msg_f6c49d91-926b-4473-b2f3-8d8fd295c968"
    assert "." not in headers["webhook-id"]
    assert (headers["X-Hub-Attempt"], headers["X-Hub-Sequence"], headers["X-B3-TraceId"]) == ("2", "7", "t" * 32)
    assert headers["webhook-timestamp"] == str(NOW_S)


def test_without_a_secret_nothing_is_signed() -> None:
    assert not [name for name in made() if "signature" in name.lower()]


@pytest.mark.parametrize(
    "signature",
    [
        "", "sha1=", "sha1", "=", "sha1=" + "0" * 40, "sha256=" + "0" * 64, "md5=" + "0" * 32, "sha1=ü", "sha1=" + "0" * 10_000,
        hmac.new(b"s3cret", BODY, hashlib.sha1).hexdigest(),
    ],
)  # fmt: skip
def test_what_is_no_signature(signature: str) -> None:
    assert not sign.verify("s3cret", BODY, signature)


def test_a_signature_in_capitals_is_one() -> None:
    assert sign.verify("s3cret", BODY, "sha1=" + hmac.new(b"s3cret", BODY, hashlib.sha1).hexdigest().upper())


@pytest.mark.parametrize(
    ("timestamp", "signatures"), [("", "v1,x"), ("soon", "v1,x"), (str(NOW_S), ""), (str(NOW_S), "v1"), (str(NOW_S), "v1,ü"), ("²", "v1,x")]
)
def test_what_is_no_standard_signature(timestamp: str, signatures: str) -> None:
    assert not sign.verify_standard("s3cret", BODY, "msg_1", timestamp, signatures)


def test_the_timestamp_and_the_id_are_signed_too() -> None:
    headers = made("s3cret")
    good = (headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"])
    assert sign.verify_standard("s3cret", BODY, *good)
    assert not sign.verify_standard("s3cret", BODY, "msg_other", *good[1:])
    assert not sign.verify_standard("s3cret", BODY, good[0], str(NOW_S + 1), good[2])
    assert not sign.verify_standard("s3cret", BODY, *good[:2], good[2].replace("v1,", "v2,"))


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"X-Own": ""}, {"X-Latin": "caf\xe9"}])
def test_headers_that_are_taken(headers: dict[str, str]) -> None:
    sign.check_headers(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"": "x"}, {"X A": "x"}, {"X:A": "x"}, {"X-Ä": "x"}, {"X-A": "a\r\nb"}, {"X-A": "a\nb"}, {"X-A": "\0"}, {"X-A": " a"}, {"X-A": "€"},
        {"X-A": "x" * 1001}, {"Host": "x"}, {"content-LENGTH": "1"}, {"Transfer-Encoding": "chunked"}, {"Connection": "close"},
        {"Proxy-Anything": "x"}, {"Upgrade": "x"}, {"Webhook-Signature": "x"}, {"x-hub-signature": "x"}, {"X-A": "1", "x-a": "2"},
    ],
)  # fmt: skip
def test_headers_that_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^headers: expected "):
        sign.check_headers(headers)


def test_secrets_are_never_alike() -> None:
    drawn = {sign.new_secret() for _ in range(100)}
    assert len(drawn) == 100
    assert all(len(base64.b64decode(each.removeprefix("whsec_"))) == 32 for each in drawn)
