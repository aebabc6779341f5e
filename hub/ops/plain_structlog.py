"""Import this module before anything that imports structlog: it imports structlog without rich.

structlog imports rich, with pygments, only to draw tracebacks on terminals, which the hub prints as plain text. In a server the two would
take 4 MB of memory and a tenth of a second of the start.
"""

import sys

if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it fails, as if it were not installed
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
