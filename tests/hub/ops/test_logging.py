import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from hub.core.secret_names import HIDDEN
from hub.ops import logging as hub_logging
from hub.ops.logging import mask, set_up
from hub.ops.settings import Settings

TOKEN = "hubt_" + "a" * 43


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the process's: put back what pytest set up."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_the_hubs_own_events_and_those_of_libraries_are_json_alike(out: io.StringIO) -> None:
    set_up("info", "json", out)
    structlog.get_logger("hub.x").info("started", port=1)
    logging.getLogger("uvicorn.error").warning("foo %s", "bar")
    own, other = lines(out)
    assert (own["event"], own["port"], own["level"], own["logger"]) == ("started", 1, "info", "hub.x")
    assert (other["event"], other["level"], other["logger"]) == ("foo bar", "warning", "uvicorn.error")
    assert own.keys() - {"port"} == other.keys()


def test_below_the_level_nothing_is_logged(out: io.StringIO) -> None:
    set_up("warning", "json", out)
    structlog.get_logger("hub.x").info("quiet")
    logging.getLogger("x").info("quiet")
    structlog.get_logger("hub.x").warning("loud")
    assert [line["event"] for line in lines(out)] == ["loud"]


def test_what_is_bound_to_the_request_is_in_every_record(out: io.StringIO) -> None:
    set_up("info", "json", out)
    structlog.contextvars.bind_contextvars(request_id="r1", trace_id="t1")
    structlog.get_logger("hub.x").info("a")
    logging.getLogger("x").info("b")
    assert [(line["request_id"], line["trace_id"]) for line in lines(out)] == [("r1", "t1")] * 2


def test_people_get_text(out: io.StringIO) -> None:
    set_up("info", "console", out)
    structlog.get_logger("hub.x").info("started", token="geheim", port=1)
    assert "started" in out.getvalue()
    assert "port=1" in out.getvalue()
    assert "geheim" not in out.getvalue()


def test_auto_is_json_where_there_is_no_terminal(out: io.StringIO) -> None:
    set_up("info", "auto", out)
    structlog.get_logger("hub.x").info("a")
    assert lines(out)[0]["event"] == "a"


@pytest.mark.parametrize("format", ["json", "console"])
def test_an_exception_is_logged_without_the_secret_in_its_text(out: io.StringIO, format: Any) -> None:
    set_up("info", format, out)
    for logger in (structlog.get_logger("hub.x"), logging.getLogger("x")):
        try:
            raise ValueError(f"bad {TOKEN}")
        except ValueError:
            logger.exception("failed")
    assert out.getvalue().count(f"ValueError: bad {HIDDEN}") == 2
    assert TOKEN not in out.getvalue()


def test_settings_say_how(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setattr(hub_logging, "set_up", lambda *given, repeats, worker: said.extend([*given, repeats, worker]))
    repeats = hub_logging.configure(Settings(log_level="debug", log_format="console", log_repeat_s=7), 3)
    assert said == ["debug", "console", repeats, 3]
    assert repeats.every_s == 7


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        (f"got {TOKEN}!", f"got {HIDDEN}!"),
        ("hubk_" + "b" * 43, HIDDEN),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {HIDDEN}"),
        ("Authorization: OAuth abc.def", f"Authorization: OAuth {HIDDEN}"),
        ("Cookie: BAYEUX_BROWSER=abc; STATISTICS_SESSIONID=def", f"Cookie: BAYEUX_BROWSER={HIDDEN}; STATISTICS_SESSIONID={HIDDEN}"),
        ('{"clientId":"' + "0123456789abcdef" * 3 + '"}', '{"clientId":"0123456789abcdef..."}'),
        ({"client": "0123456789abcdef" * 3, "digest": "ab" * 32}, {"client": "0123456789abcdef...", "digest": "ab" * 32}),
        ("GET /ws?ticket=abc&x=1", f"GET /ws?ticket={HIDDEN}&x=1"),
        ("HUB_SESSION=abc; a=b", f"HUB_SESSION={HIDDEN}; a=b"),
        ("postgresql://ana:geheim@h/d", f"postgresql://{HIDDEN}@h/d"),
        ("http://h:80/a@b", "http://h:80/a@b"),
        (b"Bearer abc", f"Bearer {HIDDEN}"),
        ({"password": "p", "deep": [{"X-Api-Key": "k"}, (TOKEN,)]}, {"password": HIDDEN, "deep": [{"X-Api-Key": HIDDEN}, [HIDDEN]]}),
        ({"tokens": 5, "token": None, "accepted": 3, 1: "x"}, {"tokens": HIDDEN, "token": None, "accepted": 3, 1: "x"}),
        (5, 5),
        ("nothing secret", "nothing secret"),
    ],
)
def test_secrets_are_masked_wherever_they_are(value: object, masked: object) -> None:
    assert mask(value) == masked


def test_a_worker_is_named_in_each_record_and_no_line_is_longer_than_a_pipe_takes_at_once(out: io.StringIO) -> None:
    set_up("info", "json", out, worker=3)
    structlog.get_logger("hub.x").info("told", text="<" + "ä" * 9_000 + ">", other=4)
    try:
        raise ValueError("x" * 9_000)
    except ValueError:
        logging.getLogger("library").exception("failed %s", "y" * 9_000)
    assert max(len(line.encode()) for line in out.getvalue().splitlines(keepends=True)) <= 4_000
    own, other = lines(out)
    assert own["worker"] == other["worker"] == 3
    assert (own["text"][:2], own["text"][-2:], own["other"]) == ("<ä", "ä>", 4)
    assert other["exception"].startswith("Traceback")
    assert other["event"].startswith("failed")


def test_a_record_of_nothing_but_short_fields_is_cut_too(out: io.StringIO) -> None:
    set_up("info", "json", out, worker=0)
    structlog.get_logger("hub.x").info("told", **{f"field{number}": number for number in range(1_000)})
    assert len(out.getvalue()) <= 4_000


@pytest.mark.parametrize("format", ["json", "console"])
def test_what_a_client_sent_does_nothing_to_the_terminal_that_shows_the_log(out: io.StringIO, format: Any) -> None:
    set_up("info", format, out)
    sent = "\x1b[2J\x9b31m\u202e"
    structlog.get_logger("hub.test").info("refused", name=sent, names=[sent])
    logging.getLogger("uvicorn").warning("path %s", sent)
    try:
        raise ValueError(sent)
    except ValueError:
        structlog.get_logger("hub.test").exception("failed")
    assert not set(out.getvalue()) & set("\x1b\x9b\u202e")
    if format == "json":
        assert lines(out)[0]["name"] == sent
