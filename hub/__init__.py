"""The event hub: topics, sessions, endpoints and delivery. It knows nothing of contact centres."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> str:
    """``__version__`` is looked up at its first use: that imports a parser of e-mail, and most commands do not tell it."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    found = version("cx-event-hub")
    globals()[name] = found
    return found
