"""Files are what their content says."""

from __future__ import annotations

import io
import zipfile

import pytest

from hub.http.filetypes import MACROS, TEXT, UNKNOWN, FileTypeError, check_file, sniff

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def zipped(*names: str, first: bytes = b"x") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, first)
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\x00\x00\x00JUNK", UNKNOWN),
        (b"BM\x0a\x00\x00\x00\x00\x00\x00\x00", "image/bmp"),
        (b"BMW is a car", TEXT),
        (b"\x00\x00\x00\x18ftypheic\x00", "image/heic"),
        (b"\x00\x00\x00\x18ftypisom\x00", "video/mp4"),
        (PDF, "application/pdf"),
        (zipped("a.txt"), "application/zip"),
        (b"PK\x03\x04 and no archive", "application/zip"),
        (zipped("[Content_Types].xml", "word/document.xml"), DOCX),
        (zipped("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"), MACROS),
        (zipped("mimetype", first=b"application/vnd.oasis.opendocument.text"), "application/vnd.oasis.opendocument.text"),
        (zipped("META-INF/MANIFEST.MF"), "application/java-archive"),
        (OLE + "WordDocument".encode("utf-16-le"), "application/msword"),
        (OLE + "WordDocument".encode("utf-16-le") + "_VBA_PROJECT".encode("utf-16-le"), MACROS),
        (OLE, "application/x-ole-storage"),
        (b"MZ\x90\x00\x03\x00", "application/vnd.microsoft.portable-executable"),
        (b"MZ is two letters", TEXT),
        (b"\x7fELF\x02\x01\x01\x00", "application/x-elf"),
        (b"#!/bin/sh\nrm -r x\n", "text/x-shellscript"),
        (b"", TEXT),
        ("Grüße\r\n".encode(), TEXT),
        ("Grüße".encode("latin-1"), TEXT),
        ("MZ Grüße".encode("latin-1"), "application/vnd.microsoft.portable-executable"),
        ("Grüße".encode("utf-16"), TEXT),
        (b"\xff\xfe\x00\x00", UNKNOWN),
        (b"a\x00b", UNKNOWN),
        (b"<!DOCTYPE html><p>", "text/html"),
        (b"\xef\xbb\xbf \n<!-- hm --> <SCRIPT>alert(1)</SCRIPT>", "text/html"),
        (b"<!--><script>alert(1)</script>", "text/html"),
        (b"<!-- one --> two <!-- three --><p>", TEXT),
        (b"<!---->" * 585 + b"x", TEXT),
        (b"<!--" * 1024, TEXT),
        ("<html>".encode("utf-16"), "text/html"),
        (b"<book>is no page</book>", TEXT),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
        (b'<?xml version="1.0"?><order/>', "application/xml"),
    ],
)
def test_what_a_content_is(content: bytes, kind: str) -> None:
    assert sniff(content) == kind


ALLOWED = ("image/*", "application/pdf", "text/plain", "text/csv")


@pytest.mark.parametrize(
    ("content", "filename", "declared", "kind"),
    [
        (PNG, "a.png", "image/png", "image/png"),
        (PNG, "a.png", None, "image/png"),
        (PNG, "a", "application/octet-stream", "image/png"),
        (b"\xff\xd8\xff\xe0", "a.jpg", "image/jpg", "image/jpeg"),
        (b"a;b\n", "a.csv", "text/csv; charset=utf-8", "text/csv"),
        (b"a;b\n", "a.csv", "", "text/plain"),
    ],
)
def test_what_a_file_is_kept_as(content: bytes, filename: str, declared: str | None, kind: str) -> None:
    assert check_file(content, filename=filename, declared=declared, allowed=ALLOWED) == kind


@pytest.mark.parametrize(
    ("content", "filename", "declared", "said"),
    [
        (PDF, "a.png", "image/png", "contentType: expected application/pdf, as the content has it, got image/png"),
        (b"MZ\x90\x00", "a.pdf", "application/pdf", "contentType: expected application/vnd.microsoft.portable-executable, as the"),
        (b"MZ\x90\x00", "a.pdf", None, "content: expected one of application/pdf, image/*, text/csv, text/plain, got application/vnd.mic"),
        (b"<html>", "a.txt", "text/plain", "contentType: expected text/html, as the content has it, got text/plain"),
        (b"{}", "a.json", "application/json", "content: expected one of application/pdf, image/*, text/csv, text/plain, got application/j"),
        (
            b"del x",
            "invoice.pdf.BAT",
            "text/plain",
            "filename: expected a name that nothing runs or shows as a page, got one that ends in .bat",
        ),
        (b"hello <script>", "a.html", "text/plain", "filename: expected a name that nothing runs or shows as a page, got one that ends"),
    ],
)
def test_what_is_refused(content: bytes, filename: str, declared: str | None, said: str) -> None:
    with pytest.raises(FileTypeError) as refused:
        check_file(content, filename=filename, declared=declared, allowed=ALLOWED)
    assert str(refused.value).startswith(said)


def test_pages_pass_where_pages_are_allowed() -> None:
    assert check_file(b"<html>", filename="a.html", declared="text/html", allowed=["text/html"]) == "text/html"


GREETING = {
    "windows-1252": "Größe: 5 €",
    "iso-8859-15": "Œuvre",
    "shift_jis": "こんにちは、世界",
    "euc-jp": "こんにちは",
    "iso-2022-jp": "こんにちは",
    "gb18030": "你好，世界",
    "big5": "你好",
    "euc-kr": "안녕하세요",
    "koi8-r": "Привет",
    "windows-1256": "مرحبا",
    "utf-16": "Grüße",
}
TEXTS = ["text/plain", "text/csv"]


@pytest.mark.parametrize("charset", GREETING)
@pytest.mark.parametrize("said", [True, False], ids=["declared", "not declared"])
def test_text_in_the_charsets_that_people_have_is_taken(charset: str, said: bool) -> None:
    content = GREETING[charset].encode(charset)
    declared = f"text/plain; charset={charset}" if said else "text/plain"
    assert check_file(content, filename="a.txt", declared=declared, allowed=TEXTS) == TEXT
    assert check_file(content, filename="a.txt", declared=None, allowed=TEXTS) == TEXT


@pytest.mark.parametrize("declared", ["application/vnd.ms-excel", "text/csv;charset=windows-1252", "text/x-csv", "application/csv"])
def test_csv_as_browsers_and_programs_call_it(declared: str) -> None:
    content = "Größe;5 €\r\n".encode("windows-1252")
    assert check_file(content, filename="Liste.CSV", declared=declared, allowed=TEXTS) == "text/csv"


def test_utf_16_without_a_mark_is_text_where_it_is_declared() -> None:
    content = "Grüße".encode("utf-16-le")
    assert check_file(content, filename="a.txt", declared="text/plain; charset=UTF-16LE", allowed=TEXTS) == TEXT
    for declared in (None, "text/plain", "text/plain; charset=utf-7", "text/plain; charset=nobody-knows"):
        with pytest.raises(FileTypeError):
            check_file(content, filename="a.txt", declared=declared, allowed=TEXTS)


@pytest.mark.parametrize(
    ("content", "filename", "declared"),
    [
        ("<script>ü".encode("windows-1252"), "a.txt", "text/plain; charset=windows-1252"),
        ("<script>".encode("utf-16-le"), "a.txt", "text/plain; charset=utf-16le"),
        ("#!/bin/sh\nü".encode("windows-1252"), "a.txt", "text/plain"),
        ("@echo ü".encode("cp850"), "a.bat", "text/plain"),
        (b"MZ\x90\xe9", "a.txt", "text/plain"),
        (bytes(range(128, 256)) + b"\x00", "a.txt", "text/plain"),
        (b"a;b", "a.xls", "application/vnd.ms-excel"),
    ],
    ids=["page", "page in UTF-16", "script", "batch", "program", "binary", "no Excel file"],
)
def test_programs_and_pages_stay_refused_in_any_charset(content: bytes, filename: str, declared: str) -> None:
    with pytest.raises(FileTypeError):
        check_file(content, filename=filename, declared=declared, allowed=[*TEXTS, "application/vnd.ms-excel"])
