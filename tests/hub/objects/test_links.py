"""Links: made and read alike, and good for nothing else than what they say."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.objects.links import Disposition, FileLink, FileLinks, LinkError, Purpose
from tests.world import ManualClock

SECRET = b"0123456789abcdef0123456789abcdef"
ID = "3f2c6d0e-8b6f-4d0a-9a3e-6f2f9b1d7c55"
ENDS = 1_795_956_000_000
UPLOAD = FileLink("demo", ID, Purpose.FILE, ENDS, size=5, content_type="text/plain")
DOWNLOAD = FileLink("demo", ID, Purpose.FILE, ENDS, disposition=Disposition.ATTACHMENT)


def links(secret: bytes = SECRET, now_ms: int = ENDS - 1) -> FileLinks:
    """The links of a hub, a millisecond before they end."""
    return FileLinks(secret, ManualClock(wall=now_ms))


def read(url: str, method: str = "PUT", at: FileLinks | None = None) -> FileLink:
    """Read a URL as a request comes with it."""
    parts = urlsplit(url)
    return (at or links()).read(method, parts.path, parts.query)


def test_the_signature_is_that_of_the_contract() -> None:
    url = links().make("https://hub.example.com", UPLOAD)
    assert url == (
        f"https://hub.example.com/files/v1/demo/{ID}?p=f&e=1795956000000&s=5&c=text%2Fplain"
        "&sig=3ed5b2785e265b94df1c986bb6c0759859b0c3b5a672e93c0becdfd9e9e2b3a0"
    )


def test_a_link_is_read_as_it_was_made() -> None:
    assert read(links().make("", UPLOAD)) == UPLOAD
    url = links().make("", DOWNLOAD)
    assert read(url, "GET") == read(url, "HEAD") == DOWNLOAD
    export = replace(DOWNLOAD, purpose=Purpose.MEDIA_STORAGE, disposition=Disposition.INLINE)
    assert read(links().make("", export), "GET") == export


def test_an_upload_may_name_neither_size_nor_type() -> None:
    unsized = FileLink("demo", "k" * 1_400, Purpose.MEDIA_STORAGE, ENDS)
    url = links().make("", unsized)
    assert read(url) == unsized
    for method in ("GET", "HEAD"):
        with pytest.raises(LinkError):
            read(url, method)
    with pytest.raises(LinkError):
        read(f"{url}&s=5&c=text%2Fplain")


def test_an_empty_file_can_be_uploaded() -> None:
    empty = replace(UPLOAD, size=0)
    assert read(links().make("", empty)) == empty


@pytest.mark.parametrize(("method", "link"), [("GET", UPLOAD), ("HEAD", UPLOAD), ("POST", UPLOAD), ("PUT", DOWNLOAD), ("DELETE", DOWNLOAD)])
def test_a_link_is_for_one_method(method: str, link: FileLink) -> None:
    with pytest.raises(LinkError) as caught:
        read(links().make("", link), method)
    assert caught.value.code == "SignatureDoesNotMatch"


def test_a_link_ends_with_its_millisecond() -> None:
    url = links().make("", UPLOAD)
    assert read(url, at=links(now_ms=ENDS - 1)) == UPLOAD
    with pytest.raises(LinkError, match="expired"):
        read(url, at=links(now_ms=ENDS))


def test_another_hub_does_not_take_it() -> None:
    with pytest.raises(LinkError):
        read(links(b"another secret of thirty-two bytes").make("", UPLOAD))


CHANGES = {
    "tenant": lambda url: url.replace("/demo/", "/acme/"),
    "id": lambda url: url.replace("3f2c6d0e", "3f2c6d0f"),
    "purpose": lambda url: url.replace("p=f", "p=x"),
    "end": lambda url: url.replace("e=1795956000000", "e=1795956000001"),
    "size": lambda url: url.replace("s=5", "s=6"),
    "type": lambda url: url.replace("text%2Fplain", "text%2Fhtml"),
    "a type in capitals": lambda url: url.replace("text%2Fplain", "TEXT%2Fplain"),
    "disposition": lambda url: url + "&d=inline",
    "no signature": lambda url: url.partition("&sig=")[0],
    "half a signature": lambda url: url[:-1],
    "a signature in capitals": lambda url: url.partition("&sig=")[0] + "&sig=" + url.partition("&sig=")[2].upper(),
    "two sizes": lambda url: url + "&s=5",
    "two signatures": lambda url: url + "&sig=" + "0" * 64,
    "another spelling of a number": lambda url: url.replace("s=5", "s=05"),
    "a number in other digits": lambda url: url.replace("s=5", "s=%D9%A5"),
    "a negative number": lambda url: url.replace("s=5", "s=-5"),
    "a huge number": lambda url: url.replace("s=5", "s=" + "9" * 400),
    "a line end": lambda url: url.replace("c=text%2Fplain", "c=text%2Fplain%0Ad="),
    "a deeper path": lambda url: url.replace("?", "/x?"),
    "no id": lambda url: url.replace(ID, ""),
    "a long query": lambda url: url + "&x=" + "y" * 2000,
    "a long path": lambda url: url.replace(ID, ID * 30),
    "no parameters": lambda url: url.partition("?")[0],
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_link_is_refused(what: str) -> None:
    url = links().make("", UPLOAD)
    changed = CHANGES[what](url)
    assert changed != url
    with pytest.raises(LinkError):
        read(changed)


def test_what_belongs_to_no_link_does_not_matter() -> None:
    assert read(links().make("", UPLOAD) + "&utm_source=mail&utm_source=x") == UPLOAD


@pytest.mark.parametrize(
    "link",
    [
        replace(UPLOAD, content_type="text/plain; charset=utf-8"),
        replace(UPLOAD, content_type="tüxt/plain"),
        replace(UPLOAD, content_type=""),
        replace(UPLOAD, disposition=Disposition.INLINE),
        replace(DOWNLOAD, content_type="text/plain"),
        replace(DOWNLOAD, disposition=Disposition.INLINE, size=5),
    ],
)
def test_links_that_say_nothing_useful_are_not_made(link: FileLink) -> None:
    with pytest.raises(ValueError, match="expected"):
        links().make("", link)


@given(tenant=st.text(min_size=1, max_size=20), identifier=st.text(min_size=1, max_size=60))
def test_no_two_links_have_one_signature(tenant: str, identifier: str) -> None:
    """Wherever the border between two parts is put, the signature is another one."""
    link = replace(DOWNLOAD, tenant=tenant, id=identifier)
    if "\n" in tenant + identifier or any("\ud800" <= each <= "\udfff" for each in tenant + identifier):
        return
    url = links().make("", link)
    assert read(url, "GET") == link
    parts = urlsplit(url)
    moved = dict(parse_qsl(parts.query))
    moved["d"] = "inline"
    with pytest.raises(LinkError):
        read(f"{parts.path}?{urlencode(moved)}", "GET")


@given(path=st.text(max_size=80), query=st.text(max_size=120), method=st.sampled_from(["GET", "PUT", "HEAD"]))
def test_no_input_is_more_than_refused(path: str, query: str, method: str) -> None:
    with pytest.raises(LinkError):
        links().read(method, f"/files/v1/{path}", query)
