"""The wallboard's files over HTTP: read and compressed once, revalidated always.

There is no build step and so no names that change with their content: every answer has an ETag and ``Cache-Control: no-cache``, a reload
costs one 304 a file, and a new version of the hub is on every wall with the next reload.
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
"""Nothing inline, nothing from elsewhere: text that came with an event can never become script."""

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
}

_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".json": "application/json", ".svg": "image/svg+xml"}
"""Said here, because ``mimetypes`` reads tables of the machine, which may call a module ``text/plain``."""

_NOT_SERVED = {"package.json"}
"""Tells Node.js that the modules are modules; no browser asks."""


def asset(name: str, content: bytes) -> Asset:
    """A file whose type follows from its name.

    Raises:
        ValueError: the name ends like none of a page's files.
    """
    suffix = name[name.rfind(".") :]
    if suffix not in _TYPES:
        raise ValueError(f"{name}: expected a file that ends in one of {', '.join(_TYPES)}")
    return Asset(content, _TYPES[suffix], _HEADERS)


def load(folder: Traversable | None = None) -> dict[str, Asset]:
    """The files of the page by name, read from the package (or from ``folder``).

    Only what is there now can ever be served: a name from a request is looked up, never opened.
    """
    folder = folder or files(__package__).joinpath("static")
    return {entry.name: asset(entry.name, entry.read_bytes()) for entry in folder.iterdir() if entry.name not in _NOT_SERVED}
