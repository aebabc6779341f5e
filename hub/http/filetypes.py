"""Finds the type of a file by its content. The type that the sender declares is used only if it agrees with the content.

The signatures are from the specifications of the formats. The rules for text, and for what a browser would show as a page, are those of
WHATWG's MIME Sniffing Standard (sections 4.1 and 7.1).
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Collection, Iterable
from typing import BinaryIO, Final

from hub.core.field_error import FieldError

TEXT: Final = "text/plain"
UNKNOWN: Final = "application/octet-stream"
ZIP: Final = "application/zip"
OLE: Final = "application/x-ole-storage"

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"{\\rtf", "application/rtf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE),
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
OLE_MARKERS: Final = (_OLE_MACROS, *(stream.encode("utf-16-le") for stream, _ in _OLE_STREAMS))
"""What tells the types of OLE files apart, wherever it stands in them."""

BINARY: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""A byte that text never has."""

# a comment ends at the first end that it has, and is never divided in another way: what follows it may take a time that doubles with each
_PAGE: Final = re.compile(
    rb"(?>(?><!--(?:-?>|.*?-->))|\s)*+<(?:!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|meta|img|form|object"
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

LOOK: Final = 4096
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

_CHARSETS: Final = frozenset(
    {
        "big5",
        "euc-jp",
        "euc-kr",
        "gb18030",
        "gbk",
        "iso-8859-1",
        "iso-8859-2",
        "iso-8859-15",
        "koi8-r",
        "shift_jis",
        "us-ascii",
        "utf-16",
        "utf-16be",
        "utf-16le",
        "utf-8",
        "windows-1250",
        "windows-1251",
        "windows-1252",
    }
)
"""Charsets of text that are told to those who read it."""

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
    kind = of_head(content, len(content))
    if kind == ZIP:
        return in_zip(io.BytesIO(content), content)
    if kind == OLE:
        return in_ole(marker for marker in OLE_MARKERS if marker in content)
    if kind is not None:
        return kind
    text = _utf_16(content, charset) or content
    if not _is_text(text):
        return of_binary(content)
    return of_text(text)


def of_head(head: bytes, size: int) -> str | None:
    """The type of a file of ``size`` bytes by its first ones. :data:`ZIP` and :data:`OLE` stand for many types; None: text, or unknown."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head.startswith(b"BM") and int.from_bytes(head[2:6], "little") == size:
        return "image/bmp"
    return None


def of_binary(head: bytes) -> str:
    """The type of a file without a signature that is no text."""
    return _PROGRAM if head.startswith(b"MZ") else UNKNOWN


def check_file(content: bytes, *, filename: str, declared: str | None, allowed: Collection[str]) -> str:
    """The type under which a file is stored. ``declared`` is the type from its sender, or None; ``allowed`` holds types, or ``image/*``.

    Raises:
        FileTypeError: the type is not allowed, the declared type is wrong, or the name is that of a program or a page.
    """
    check_name(filename, allowed)
    return check_kind(sniff(content, charset_of(declared)), filename=filename, declared=declared, allowed=allowed)


def check_name(filename: str, allowed: Collection[str]) -> None:
    """Check that no program of the receiver runs a file of this name, or shows it as a page.

    Raises:
        FileTypeError: one would.
    """
    extension = filename.rpartition(".")[2].lower() if "." in filename else ""
    if extension in RUNNABLE or (extension in PAGES and not _within(PAGES[extension], allowed)):
        raise FileTypeError("filename", "a name that nothing runs or shows as a page", f"one that ends in .{extension}")


def check_kind(kind: str, *, filename: str, declared: str | None, allowed: Collection[str]) -> str:
    """As :func:`check_file`, for a file whose content is of the type ``kind`` (:func:`sniff`) and whose name was checked.

    Raises:
        FileTypeError: the type is not allowed, or the declared type is wrong.
    """
    extension = filename.rpartition(".")[2].lower() if "." in filename else ""
    said = (declared or "").partition(";")[0].strip().lower()
    if kind == TEXT and (said in _CSV_NAMES or (said == _EXCEL and extension == "csv")):
        kind = "text/csv"
    elif kind == TEXT and said in TEXT_TYPES:
        kind = said
    elif said and said not in (UNKNOWN, kind) and not _alike(said, kind):
        raise FileTypeError("contentType", f"{kind}, as the content has it", said)
    if not _within(kind, allowed):
        raise FileTypeError("content", f"one of {', '.join(sorted(allowed))}", kind)
    return kind


def served_type(kind: str, declared: str | None) -> str:
    """The ``Content-Type`` with which a file of the type ``kind`` is given to others: nothing of what its sender declared but the charset
    of a text, if it is a known one. A browser divides a type at its commas, and the last part decides (WHATWG's Fetch Standard, "extract a
    MIME type").
    """
    charset = charset_of(declared)
    return f"{kind};charset={charset}" if kind in TEXT_TYPES and charset in _CHARSETS else kind


def _within(kind: str, allowed: Collection[str]) -> bool:
    return any(kind == each or (each.endswith("/*") and kind.startswith(each[:-1])) for each in allowed)


def _alike(said: str, kind: str) -> bool:
    """Whether ``said`` is another name for the type ``kind``."""
    return _OTHER_NAMES.get(said) == kind


def charset_of(declared: str | None) -> str | None:
    """The charset that a declared type names."""
    for parameter in (declared or "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return None


def utf_16_of(head: bytes, charset: str | None) -> str | None:
    """Python's name of the UTF-16 that a file is in, by its byte order mark or its declared charset; None: in none."""
    return "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else _UTF_16.get(charset or "")


def _utf_16(content: bytes, charset: str | None) -> bytes | None:
    """Text in UTF-16, converted to UTF-8; None for other content."""
    codec = utf_16_of(content, charset)
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
    if BINARY.search(content):
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        # content that begins like a program is text only if it is valid UTF-8
        return not content.startswith(b"MZ")
    return True


def of_text(content: bytes) -> str:
    """The type of a text, in UTF-8, by its first bytes."""
    head = content[:LOOK]
    head = head.removeprefix(b"\xef\xbb\xbf")
    if head.startswith(b"#!"):
        return "text/x-shellscript"
    if _PAGE.match(head):
        return "text/html"
    if _SVG.search(head) and head.lstrip().startswith(b"<"):
        return "image/svg+xml"
    return "application/xml" if head.lstrip()[:5].lower() == b"<?xml" else TEXT


def in_zip(file: BinaryIO, head: bytes) -> str:
    """The type of a ZIP archive, by the names of its members. Nothing is unpacked. ``head`` are its first bytes."""
    try:
        with zipfile.ZipFile(file) as archive:
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
    if names and names[0] == "mimetype" and (found := _OPEN_DOCUMENT.search(head[:128])):
        return found[0].decode()
    return ZIP


def in_ole(markers: Iterable[bytes]) -> str:
    """The type of an OLE file, by those of :data:`OLE_MARKERS` that are in it."""
    found = set(markers)
    if _OLE_MACROS in found:
        return MACROS
    return next((kind for stream, kind in _OLE_STREAMS if stream.encode("utf-16-le") in found), OLE)
