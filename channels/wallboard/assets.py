"""The wallboard's files over HTTP. They are read and compressed once; browsers revalidate them each time.

There is no build step, so file names do not change with their content. Every answer has an ETag and ``Cache-Control: no-cache``: a reload
gets a 304 for each unchanged file, and the new files after an update of the hub.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable

from hub.http.assets import Asset

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "connect-src 'self' ws: wss:",
        "style-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'self'",
        "object-src 'none'",
    )
)
"""No inline code and no code from other servers, so that a browser never runs text of an event as a script."""

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".json": "application/json", ".svg": "image/svg+xml"}
"""Not from ``mimetypes``, which reads tables of the machine: there a module may be ``text/plain``."""

_NOT_SERVED = {"package.json"}
"""Files that browsers do not need. ``package.json`` tells Node.js that the scripts are ES modules."""


def asset(name: str, content: bytes) -> Asset:
    """A file with the content type of its name's suffix.

    Raises:
        ValueError: the suffix is not one of a page's files.
    """
    suffix = name[name.rfind(".") :]
    if suffix not in _TYPES:
        raise ValueError(f"{name}: expected a file that ends in one of {', '.join(_TYPES)}")
    return Asset(content, _TYPES[suffix], _HEADERS)


def load(folder: Traversable | None = None) -> dict[str, Asset]:
    """The files of the page by name, read from the package (or from ``folder``).

    Only these files can be served: the name in a request is looked up in this dictionary and never opened.
    """
    folder = folder or files(__package__).joinpath("static")
    return {entry.name: asset(entry.name, entry.read_bytes()) for entry in folder.iterdir() if entry.name not in _NOT_SERVED}
