"""Logging: one pipeline for the records of the hub and of libraries, as JSON or as readable text. It masks secrets."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.types import Processor

from hub.core.secret_names import HIDDEN, names_secret
from hub.ops.repeats import Repeats
from hub.ops.settings import Settings
from hub.terminal_text import shown

_SECRET_TEXT: Final = re.compile(
    r"""(?ix)
    (?: hub[tk]_ [A-Za-z0-9_-]{16,} )                             # a token or key of the hub
    | (?: (?<=bearer[ ]) [^\s"',;]+ )                             # Authorization: Bearer T
    | (?: (?<=authorization:[ ]oauth[ ]) [^\s"',;]+ )              # Authorization: OAuth T
    | (?: (?<=BAYEUX_BROWSER=) [^;\s"']+ )
    | (?: (?<=SESSIONID=) [^;\s"']+ )
    | (?: (?<=[?&]ticket=) [^&\s"']+ )                            # /ws?ticket=T
    | (?: (?<=HUB_SESSION=) [^;\s"']+ )
    | (?: (?<=://) [^/\s:@]* : [^/\s@]+ (?=@) )                   # user:password@ of a URL
    """
)

_CLIENT_ID: Final = re.compile(r"(?<![0-9A-Za-z])([0-9a-f]{16})[0-9a-f]{32}(?![0-9A-Za-z])")
"""A Bayeux clientId: its first characters may be shown, but a person who knows all of it can use the session."""

MAX_SHARED_BYTES: Final = 4000
"""Bytes of a line, with its end, where several processes write to one pipe: longer ones would mix (``PIPE_BUF``, pipe(7))."""

_CUT: Final = " [...] "
_LEAST: Final = 1000
"""Characters that a text of a line keeps, as long as no other text is longer."""

_OTHERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "fastapi", "asyncio")


def mask(value: Any) -> Any:
    """The value with its secrets masked, at any depth."""
    if isinstance(value, str):
        return _CLIENT_ID.sub(r"\1...", _SECRET_TEXT.sub(HIDDEN, value))
    if isinstance(value, bytes):
        return mask(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, dict):
        return {key: HIDDEN if names_secret(key) and inner else mask(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask(inner) for inner in value]
    return value


def _mask_event(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = HIDDEN if names_secret(key) and value else mask(value)
    return event


def _format_exception(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn ``exc_info`` into text before the secrets are masked: the last line of a traceback often quotes a received value."""
    return structlog.processors.format_exc_info(structlog.get_logger(), "", event)


def _show_texts(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep what a client sent from the terminal that shows the records, for a renderer that prints texts as they are."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = shown(value)
    return event


def _json(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
    """Render a record as JSON, whose text a terminal may show."""
    return shown(str(_render_json(logger, name, event)))


_render_json: Final = structlog.processors.JSONRenderer(ensure_ascii=False)


class _Numbered:
    """A processor that adds the number of the worker."""

    def __init__(self, worker: int) -> None:
        self._worker = worker

    def __call__(self, _: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["worker"] = self._worker
        return event


class _Shortened:
    """A renderer that cuts the longest texts of a record until it fits into :data:`MAX_SHARED_BYTES`."""

    def __init__(self, render: Processor) -> None:
        self._render = render

    def __call__(self, logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
        line = str(self._render(logger, name, dict(event)))
        least = _LEAST
        while (excess := len(line.encode("utf-8", "backslashreplace")) + 1 - MAX_SHARED_BYTES) > 0:
            longest = max(event, key=lambda key: len(str(event[key])))
            text = str(event[longest])
            if len(text) <= 2 * len(_CUT):
                return line[: MAX_SHARED_BYTES // 4]  # hundreds of short fields; each character may have four bytes
            if len(text) <= least + len(_CUT):
                least //= 2
                continue
            size = len(text.encode("utf-8", "backslashreplace"))
            kept = max(least, len(text) * (size - excess) // size - len(_CUT))
            event[longest] = text[: kept // 2] + _CUT + text[len(text) - (kept - kept // 2) :]
            line = str(self._render(logger, name, dict(event)))
        return line


def configure(settings: Settings, worker: int | None = None) -> Repeats:
    """Send every log record of the process to standard error, as the settings say (``log_level``, ``log_format``, ``log_repeat_s``).
    Returns the counter of repeated errors, for :class:`hub.ops.repeats.RepeatedErrors`. ``worker``: the number of this process among those
    that write to the same standard error.
    """
    repeats = Repeats(settings.log_repeat_s)
    set_up(settings.log_level, settings.log_format, repeats=repeats, worker=worker)
    return repeats


def set_up(
    level: Literal["debug", "info", "warning", "error"] = "info",
    format: Literal["auto", "json", "console"] = "auto",
    stream: TextIO | None = None,
    repeats: Repeats | None = None,
    worker: int | None = None,
) -> None:
    """Send every log record of the process to ``stream`` (standard error), the hub's own and those of libraries.

    ``format`` is ``json`` (one object a line), ``console`` (for people), or ``auto``: console on a terminal, else JSON. Values bound with
    ``structlog.contextvars.bind_contextvars`` (``request_id``, ``trace_id``) are added to each record. ``repeats`` suppresses repeated
    errors; without it every error is logged. With ``worker`` each record has that field, and :data:`MAX_SHARED_BYTES` at most.
    """
    repeats = repeats or Repeats(0)
    out = stream if stream is not None else sys.stderr
    console = format == "console" or (format == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        structlog.stdlib.ExtraAdder(),
        _format_exception,
    ]
    renderer: Processor = structlog.dev.ConsoleRenderer(colors=out.isatty(), timestamp_key="time") if console else _json
    if worker is not None:
        shared.append(_Numbered(worker))
        renderer = _Shortened(renderer)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _mask_event,
            *([_show_texts] if console else []),
            renderer,
        ],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    handler.addFilter(repeats.filter)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _OTHERS:  # the libraries' own handlers would log without masking secrets
        other = logging.getLogger(name)
        other.handlers.clear()
        other.propagate = True
    logging.captureWarnings(True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, repeats.processor, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
