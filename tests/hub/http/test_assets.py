"""What is the same for everybody: made once, compressed where a client takes it, not sent to who has it."""

from __future__ import annotations

import gzip

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.http.assets import Asset

TEXT = b"the same words again and again, " * 1000
SMALL = b"{}"


def client(asset: Asset) -> httpx.AsyncClient:
    async def answer(request: Request) -> Response:
        return asset.respond(request)

    return httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=[Route("/", answer)])), base_url="http://hub")


ENCODINGS = {
    "gzip": True,
    "gzip, deflate, br": True,
    "br;q=1.0, gzip;q=0.8, *;q=0.1": True,
    "x-gzip": True,
    "GZIP": True,
    "gzip; q=0.001": True,
    "gzip;q=0": False,
    "gzip;q=0.000": False,
    "identity": False,
    "br": False,
    "": False,
}


@pytest.mark.parametrize(("accepted", "compressed"), ENCODINGS.items())
async def test_it_is_compressed_for_who_takes_gzip(accepted: str, compressed: bool) -> None:
    async with client(Asset(TEXT, "text/plain")) as made:
        answer = await made.get("/", headers={"Accept-Encoding": accepted})
    assert answer.content == TEXT
    assert answer.headers.get("content-encoding") == ("gzip" if compressed else None)
    assert int(answer.headers["content-length"]) < len(TEXT) or not compressed
    assert answer.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("content", [SMALL, gzip.compress(bytes(range(256)) * 40 + TEXT[:10], mtime=0)])
async def test_what_would_not_be_smaller_is_not_compressed(content: bytes) -> None:
    async with client(Asset(content, "application/octet-stream")) as made:
        answer = await made.get("/", headers={"Accept-Encoding": "gzip"})
    assert answer.content == content
    assert "content-encoding" not in answer.headers


async def test_who_has_it_in_either_form_is_told_so() -> None:
    async with client(Asset(TEXT, "text/plain", {"X-Of-All": "1"})) as made:
        forms = [await made.get("/", headers={"Accept-Encoding": accepted}) for accepted in ("gzip", "identity")]
        tags = [form.headers["etag"] for form in forms]
        assert len(set(tags)) == 2
        for accepted in ("gzip", "identity"):
            for tag in (*tags, f"W/{tags[0]}", f'"x", {tags[1]}', "*"):
                answer = await made.get("/", headers={"Accept-Encoding": accepted, "If-None-Match": tag})
                assert (answer.status_code, answer.content, answer.headers["x-of-all"]) == (304, b"", "1")
                assert answer.headers["etag"] in tags
            assert (await made.get("/", headers={"Accept-Encoding": accepted, "If-None-Match": '"x"'})).status_code == 200


async def test_another_content_has_another_tag() -> None:
    assert Asset(TEXT, "text/plain").etag != Asset(TEXT + b"x", "text/plain").etag
