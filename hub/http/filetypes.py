"""Finds the type of a file by its content. The type that the sender declares is used only if it agrees with the content.

The signatures are from the specifications of the formats. The rules for text, and for what a browser would show as a page, are those of
WHATWG's MIME Sniffing Standard (sections 4.1 and 7.1).
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Collection
from typing import Final

from hub.core.field_error import FieldError

TEXT: Final = "text/plain"
UNKNOWN: Final = "application/octet-stream"
ZIP: Final = "application/zip"
_OLE: Final = "application/x-ole-storage"

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"{\\rtf", "application/rtf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"BZh", "application/x-bzip2"),
    (b"OggS\x00", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"#!AMR", "audio/amr"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"\x7fELF", "application/x-elf"),
    (b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xca\xfe\xba\xbe", "application/java-vm"),
    (b"\x00asm", "application/wasm"),
)
"""The first bytes of files of a type. No signature is the beginning of a longer one of another type."""

_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}

_BRANDS: Final = {
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"avif": "image/avif",
    b"M4A ": "audio/mp4",
    b"qt  ": "video/quicktime",
}
"""Major brands of the ISO base media file format; any other is a video."""

_OPEN_XML: Final = {
    "word/": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xl/": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "ppt/": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}
"""By the folder that contains the parts of a document."""

_MACRO_PART: Final = "vbaproject.bin"
MACROS: Final = "application/vnd.ms-office.macro-enabled"
"""The type name for an office document with macros, of any program."""

_OPEN_DOCUMENT: Final = re.compile(rb"application/vnd\.oasis\.opendocument\.[a-z-]{1,40}")

_OLE_STREAMS: Final = (
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("__substg1.0_", "application/vnd.ms-outlook"),
)
_OLE_MACROS: Final = "_VBA_PROJECT".encode("utf-16-le")

_BINARY: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_PAGE: Final = re.compile(
    rb"(?:<!--.*?-->|[\s\x0c])*<(?:!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|meta|img|form|object"
    rb"|embed|base|link)(?=[\s>/])",
    re.IGNORECASE | re.DOTALL,
)
_SVG: Final = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_PROGRAM: Final = "application/vnd.microsoft.portable-executable"
_EXCEL: Final = "application/vnd.ms-excel"
"""The type that browsers on Windows declare for a ``.csv`` if Excel is installed."""

_CSV_NAMES: Final = frozenset({"application/csv", "application/x-csv", "text/comma-separated-values", "text/x-csv"})
_UTF_16: Final = {"utf-16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be", "unicode": "utf-16-le"}
"""Charsets whose text contains bytes that text in other charsets never has; with Python's names for them."""

_LOOK: Final = 4096
"""Bytes at the beginning of a file in which the signs of a page are searched."""

TEXT_TYPES: Final = frozenset(
    {
        TEXT,
        "application/json",
        "text/calendar",
        "text/csv",
        "text/markdown",
        "text/tab-separated-values",
        "text/vcard",
        "message/rfc822",
    }
)
"""Types of text without a signature: for these the sender's declaration decides."""

_OTHER_NAMES: Final = {
    "application/x-gzip": "application/gzip",
    "application/x-pdf": "application/pdf",
    "application/x-zip-compressed": ZIP,
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "image/heic": "image/heif",
    "image/heif": "image/heic",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "text/rtf": "application/rtf",
    "text/xml": "application/xml",
}
"""Other names of types that senders use, and the name that is used here."""

# fmt: off
RUNNABLE: Final = frozenset({
    "ade", "adp", "app", "appref-ms", "asp", "aspx", "bat", "cmd", "com", "cpl", "crt", "csh", "desktop", "dll", "exe", "fxp", "hlp", "hta",
    "inf", "ins", "iso", "jar", "jnlp", "js", "jse", "jsp", "ksh", "lnk", "msc", "msi", "msix", "msp", "mst", "pif", "php", "pl", "ps1",
    "psm1", "py", "pyw", "rb", "reg", "scf", "scr", "sct", "sh", "shb", "shs", "swf", "url", "vb", "vbe", "vbs", "vhd", "ws", "wsc", "wsf",
    "wsh", "xll",
})
# fmt: on
"""Extensions of file names that programs of the receiver would run, for any content."""

PAGES: Final = {
    "htm": "text/html",
    "html": "text/html",
    "mht": "text/html",
    "mhtml": "text/html",
    "shtml": "text/html",
    "svg": "image/svg+xml",
    "svgz": "image/svg+xml",
    "xht": "text/html",
    "xhtml": "text/html",
    "xml": "application/xml",
    "xsl": "application/xml",
}
"""Extensions of file names that a browser shows as a page and whose scripts it runs, for any content; and the type to be allowed."""


class FileTypeError(FieldError):
    """The file may not be sent; ``field`` is ``filename``, ``contentType`` or ``content``."""


def sniff(content: bytes, charset: str | None = None) -> str:
    """The type of a file, by its content alone. :data:`TEXT` for text without a more specific type, :data:`UNKNOWN` for other content.
    ``charset`` is the one that its sender declares.
    """
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            if kind is ZIP:
                return _in_zip(content)
            return _in_ole(content) if kind is _OLE else kind
    if content.startswith(b"RIFF"):
        return _RIFF.get(content[8:12], UNKNOWN)
    if content[4:8] == b"ftyp":
        return _BRANDS.get(content[8:12], "video/mp4")
    if content.startswith(b"BM") and int.from_bytes(content[2:6], "little") == len(content):
        return "image/bmp"
    text = _utf_16(content, charset) or content
    if not _is_text(text):
        return _PROGRAM if content.startswith(b"MZ") else UNKNOWN
    return _of_text(text)


def check_file(content: bytes, *, filename: str, declared: str | None, allowed: Collection[str]) -> str:
    """The type under which a file is stored. ``declared`` is the type from its sender, or None; ``allowed`` holds types, or ``image/*``.

    Raises:
        FileTypeError: the type is not allowed, the declared type is wrong, or the name is that of a program or a page.
    """
    extension = filename.rpartition(".")[2].lower() if "." in filename else ""
    if extension in RUNNABLE or (extension in PAGES and not _within(PAGES[extension], allowed)):
        raise FileTypeError("filename", "a name that nothing runs or shows as a page", f"one that ends in .{extension}")
    said, _, parameters = (declared or "").partition(";")
    said = said.strip().lower()
    kind = sniff(content, _charset(parameters))
    if kind == TEXT and (said in _CSV_NAMES or (said == _EXCEL and extension == "csv")):
        kind = "text/csv"
    elif kind == TEXT and said in TEXT_TYPES:
        kind = said
    elif said and said not in (UNKNOWN, kind) and not _alike(said, kind):
        raise FileTypeError("contentType", f"{kind}, as the content has it", said)
    if not _within(kind, allowed):
        raise FileTypeError("content", f"one of {', '.join(sorted(allowed))}", kind)
    return kind


def _within(kind: str, allowed: Collection[str]) -> bool:
    return any(kind == each or (each.endswith("/*") and kind.startswith(each[:-1])) for each in allowed)


def _alike(said: str, kind: str) -> bool:
    """Whether ``said`` is another name for the type ``kind``."""
    return _OTHER_NAMES.get(said) == kind


def _charset(parameters: str) -> str | None:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return None


def _utf_16(content: bytes, charset: str | None) -> bytes | None:
    """Text in UTF-16, by its byte order mark or its declared charset, converted to UTF-8; None for other content."""
    codec = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else _UTF_16.get(charset or "")
    if codec is None:
        return None
    try:
        return content.decode(codec).encode()
    except UnicodeError:
        return None


def _is_text(content: bytes) -> bool:
    """Whether the content is text, in UTF-8 or in an older charset that contains ASCII, such as windows-1252 or Shift-JIS. Other content
    has bytes that text never has (MIME Sniffing Standard section 7.1, "binary data byte"), nearly always among its first bytes.
    """
    if _BINARY.search(content):
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        # content that begins like a program is text only if it is valid UTF-8
        return not content.startswith(b"MZ")
    return True


def _of_text(content: bytes) -> str:
    head = content[:_LOOK]
    head = head.removeprefix(b"\xef\xbb\xbf")
    if head.startswith(b"#!"):
        return "text/x-shellscript"
    if _PAGE.match(head):
        return "text/html"
    if _SVG.search(head) and head.lstrip().startswith(b"<"):
        return "image/svg+xml"
    return "application/xml" if head.lstrip()[:5].lower() == b"<?xml" else TEXT


def _in_zip(content: bytes) -> str:
    """The type of a ZIP archive, by the names of its members. Nothing is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OverflowError):
        return ZIP
    if any(name.lower().endswith(_MACRO_PART) for name in names):
        return MACROS
    if "[Content_Types].xml" in names:
        return next((kind for folder, kind in _OPEN_XML.items() if any(name.startswith(folder) for name in names)), ZIP)
    if "META-INF/MANIFEST.MF" in names:
        return "application/java-archive"
    # the first member of an OpenDocument file holds its type, uncompressed (OpenDocument 1.2, part 3, section 3.3)
    if names and names[0] == "mimetype" and (found := _OPEN_DOCUMENT.search(content[:128])):
        return found[0].decode()
    return ZIP


def _in_ole(content: bytes) -> str:
    if _OLE_MACROS in content:
        return MACROS
    return next((kind for stream, kind in _OLE_STREAMS if stream.encode("utf-16-le") in content), _OLE)
