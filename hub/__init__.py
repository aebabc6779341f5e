"""The event hub: topics, sessions, endpoints and delivery. It knows nothing of contact centres."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> str:
    """Look up ``__version__`` at its first use only: the look-up imports a parser of e-mail, and most commands do not need it."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    found = version("cx-event-hub")
    globals()[name] = found
    return found
