"""A file in a store is of the type that its whole content has, however its pieces come, and no more of it is read than that takes."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hub.http.filetypes import LOOK, ZIP, sniff
from hub.objects.sniffing import MAX_DIRECTORY_BYTES, sniff_stored
from hub.objects.store import Span
from tests.hub.http.test_filetypes import OLE, PDF, PNG, zipped

MACRO = "_VBA_PROJECT".encode("utf-16-le")
WORD = "WordDocument".encode("utf-16-le")
MIB = 1024 * 1024


class Stored:
    """A file whose parts come in pieces of one size, and how many bytes of it were read."""

    def __init__(self, content: bytes, piece: int = 65536) -> None:
        self.content = content
        self.piece = piece
        self.read = 0
        self.open = 0

    async def get(self, span: Span) -> AsyncIterator[bytes]:
        return self._pieces(span)

    async def _pieces(self, span: Span) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            for at in range(span.start, span.end, self.piece):
                found = self.content[at : min(at + self.piece, span.end)]
                self.read += len(found)
                yield found
        finally:
            self.open -= 1


async def kind_of(content: bytes, charset: str | None = None, piece: int = 65536) -> tuple[str, int]:
    """The type, and how many bytes were read for it."""
    stored = Stored(content, piece)
    found = await sniff_stored(stored.get, len(content), charset)
    assert stored.open == 0, "whatever was opened is closed"
    return found, stored.read


@pytest.mark.parametrize(
    ("content", "charset"),
    [
        (b"", None),
        (b"hello", None),
        (PNG, None),
        (PDF, None),
        (b"a\x00b", None),
        (b"MZ\x90\x00", None),
        (b"MZ is two letters", None),
        ("MZ Grüße".encode("latin-1"), None),
        ("Grüße".encode("latin-1") * 3000, None),
        ("Grüße 日".encode() * 9000, None),
        ("Grüße".encode()[:-1], None),
        ("MZ Grüß".encode()[:-1], None),
        (("Grüße 日" * 5000).encode("utf-16"), None),
        (("Grüße 日" * 5000).encode("utf-16-le"), "utf-16le"),
        (("Grüße 日" * 5000).encode("utf-16-be"), "utf-16be"),
        (("日本" * 50).encode("utf-16")[:-1], None),
        (("日本" * 50).encode("utf-16-le")[:-1], "utf-16le"),
        ("<html><script>".encode("utf-16"), None),
        (b"x" * 70_000 + b"\x00", None),
        (OLE, None),
        (OLE + bytes(70_000) + WORD, None),
        (OLE + bytes(70_000) + WORD + bytes(70_000) + MACRO, None),
        (zipped("a.txt"), None),
        (zipped("[Content_Types].xml", "word/document.xml"), None),
        (zipped("[Content_Types].xml", "word/vbaProject.bin", first=b"x" * 200_000), None),
        (zipped("mimetype", first=b"application/vnd.oasis.opendocument.text"), None),
        (zipped(*(f"{each}.txt" for each in range(5000))), None),
        (zipped("a.txt") + b"behind", None),
        (b"PK\x03\x04 and no archive" * 9000, None),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 4096, 65536, 262144])
async def test_the_type_is_that_of_the_whole_content(content: bytes, charset: str | None, piece: int) -> None:
    if len(content) > 100_000 and piece < 4096:
        content = content[:60_000]
    assert (await kind_of(content, charset, piece))[0] == sniff(content, charset)


PARTS = st.sampled_from(
    [
        b"MZ",
        b"\x00",
        b"a",
        "ü".encode(),
        b"\xfc",
        b"\xff\xfe",
        b"<html>",
        b"<svg ",
        OLE[:8],
        WORD,
        MACRO,
        PNG,
        b"PK\x03\x04",
        b"\r\n",
        b"%PDF-",
    ]
)


@given(st.lists(PARTS | st.binary(max_size=9), max_size=12), st.integers(1, 9), st.sampled_from([None, "utf-16le", "utf-16be"]))
@example([b"\xff\xfe", b"a"], 1, None)
def test_the_type_does_not_depend_on_the_pieces(parts: list[bytes], piece: int, charset: str | None) -> None:
    content = b"".join(parts)
    assert asyncio.run(kind_of(content, charset, piece))[0] == sniff(content, charset)


async def test_of_pictures_and_archives_little_is_read() -> None:
    assert await kind_of(PNG + bytes(20 * MIB)) == ("image/png", LOOK)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("[Content_Types].xml", b"x")
        archive.writestr("word/document.xml", bytes(20 * MIB))
    kind, read = await kind_of(made.getvalue())
    assert kind.endswith("wordprocessingml.document")
    assert read < 256 * 1024


async def test_an_archive_with_a_very_long_directory_is_an_archive_of_any_kind() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("[Content_Types].xml", b"x")
        archive.writestr("word/document.xml", b"x")
        for each in range(12_000):
            archive.writestr(f"{each:0100}", b"")
    kind, read = await kind_of(made.getvalue())
    assert kind == ZIP
    assert read <= MAX_DIRECTORY_BYTES + LOOK


@pytest.mark.parametrize("content", [b"What the customer wrote.\n" * 410, zipped("a.txt"), OLE + bytes(1000) + WORD])
async def test_a_small_file_is_read_once(content: bytes) -> None:
    assert (await kind_of(content))[1] == len(content)


async def test_the_event_loop_goes_on_while_a_large_piece_is_looked_at() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await kind_of(b"x" * MIB, piece=MIB)
    beside.cancel()
    assert turns >= 15
