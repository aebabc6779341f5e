"""Settings: flags override ``HUB_*`` environment variables, and these override the TOML file
(docs/protocol/commands.md#order-of-settings). Unknown keys are errors.

Each family has its own section, under the family's name. Every field has a description, from which :mod:`hub.ops.reference` makes the
documentation.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    create_model,
)
from pydantic_core import CoreSchema, core_schema
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hub.administration.settings import AdministrationSettings
from hub.audit.settings import AuditSettings
from hub.cluster.settings import ClusterSettings, OwnershipSettings, check_listen, check_url
from hub.core.limits import Limits
from hub.core.secret_names import url_without_secrets
from hub.objects.settings import ObjectsSettings
from hub.ops.channel_settings import PresenceSettings, ReplaySettings, split_value
from hub.ops.clock import ClockSettings
from hub.ops.environment import EnvironmentSource
from hub.ops.readiness import ReadinessSettings
from hub.ops.tls import TlsSettings
from hub.outbox.settings import OutboxSettings
from hub.security.settings import PasswordHashSettings
from hub.storage.interface import Patience
from hub.storage.url import DatabaseUrl, sqlite_url
from hub.workers.settings import SupervisionSettings

ENV_PREFIX: Final = "HUB_"
ENV_DELIMITER: Final = "__"
DEFAULT_FILE: Final = Path("hub.toml")

CLIENT_VARIABLES: Final = frozenset({"HUB_URL", "HUB_TOKEN", "HUB_API_KEY"})
"""Environment variables of the client commands, which are not settings of the server."""

TEST_PREFIX: Final = "HUB_TEST_"

_HOST: Final = re.compile(r"([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")

SHORTEST_SECRET: Final = 16
"""Characters of ``secret`` at least: a shorter one could be guessed, and a person who knows it can sign in as any user."""


class Section(Protocol):
    """The section that a family adds to the settings, under its name: see :class:`hub.family.Family`."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> type[BaseModel] | None: ...


class SettingsError(Exception):
    """The settings cannot be used: one line for each problem, with the key, what was expected, what came, and its source."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def _limits_model() -> type[BaseModel]:
    choices = Limits.choices()
    made: dict[str, Any] = {
        name: (Literal[choices[name]], Field(default=default, description=f"{reason}."))
        if name in choices
        else (int, Field(default=default, ge=0, description=f"{reason}."))
        for name, default, reason in Limits.table()
    }
    return create_model("LimitsSection", __config__=ConfigDict(extra="forbid"), **made)


LIMITS_SECTION: Final = _limits_model()
"""The fields of :class:`hub.core.limits.Limits`, as a section of the settings."""


class _AsLimits:
    """Validates with :data:`LIMITS_SECTION` and returns :class:`Limits`, so that the core has a plain dataclass."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        validate = core_schema.no_info_after_validator_function(
            lambda section: Limits(**section.model_dump()), handler.generate_schema(LIMITS_SECTION)
        )
        return core_schema.no_info_before_validator_function(lambda value: asdict(value) if isinstance(value, Limits) else value, validate)


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("expected an origin such as https://desk.example.com")
    return f"{parts.scheme}://{parts.netloc}".lower()


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("expected a host such as hub.example.com, with a port or without")
    return value.lower()


def _public_url(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("expected the URL of the hub as clients see it, such as https://hub.example.com")
    return value.rstrip("/")


_REDIS_SCHEMES = {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}


def _redis_url(value: object) -> object:
    if isinstance(value, list | tuple) and all(isinstance(url, str) for url in value):
        value = ",".join(value)
    if isinstance(value, str) and any(urlsplit(url).scheme not in _REDIS_SCHEMES for url in split_urls(value)):
        raise ValueError(
            "expected a URL such as redis://localhost:6379/0, redis+sentinel://host:26379,host2:26379/mymaster or "
            "redis+cluster://host:6379,host2:6379"
        )
    return value


def split_urls(text: str) -> list[str]:
    """Several URLs in one text, separated by commas; the hosts of one URL may be separated by commas as well."""
    return [url.strip() for url in re.split(r"[,\s]+(?=[a-z+]+://)", text.strip())]


def _database_url(value: object) -> object:
    if isinstance(value, str):
        if not re.match(r"(postgres|postgresql|postgresql\+psycopg|sqlite|sqlite\+aiosqlite)://", value):
            raise ValueError("expected a URL such as postgresql://user:password@host/database or sqlite:///hub.db")
        DatabaseUrl.parse(value).arguments()
    return value


def _long_enough(value: object) -> object:
    if isinstance(value, str) and len(value) < SHORTEST_SECRET:
        raise ValueError(f"expected at least {SHORTEST_SECRET} characters")
    return value


class Settings(BaseSettings):
    """The hub's own settings. :func:`load` adds a section for each family."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    host: str = Field(default="127.0.0.1", min_length=1, description="Address that the server listens on; `0.0.0.0` is every one.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port that the server listens on; 0 takes a free one.")
    workers: int = Field(default=1, ge=1, le=256, description="Processes that serve, all on this machine; see docs/scaling.md#workers.")
    role: Literal["all", "edge", "stat-server"] = Field(
        default="all", description="`edge`: serves clients; `stat-server`: owns tenants and computes their statistics; `all`: both."
    )
    data_dir: Path = Field(default=Path("hub-data"), description="Folder of the hub's own files: database, event log, secret.")
    redis_url: Annotated[str | None, BeforeValidator(_redis_url)] = Field(
        default=None,
        description="Redis or Valkey that connects several hubs and keeps their log channels, such as `redis://localhost:6379/0`, "
        "`rediss://`, `unix:///run/redis.sock`, `redis+sentinel://host:26379,host2:26379/mymaster` or "
        "`redis+cluster://host:6379,host2:6379`; several URLs, separated by commas, share the tenants. "
        "The number of a database does not keep two hubs apart: see docs/scaling.md.",
    )
    redis_prefix: str = Field(
        default="hub",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="Begins every name in Redis: hubs that are not one, and share a Redis, need different ones.",
    )
    redis_durable: Literal["auto", "yes", "no"] = Field(
        default="auto",
        description="Whether Redis keeps what it acknowledged also when it is killed: `auto` asks it for `appendonly` and `appendfsync`, "
        "and takes a Redis that does not tell for one that does not.",
    )
    database_url: Annotated[str | None, BeforeValidator(_database_url)] = Field(
        default=None,
        description="Database of tenants, credentials, webhooks and messages, and of several nodes also of events and who owns which "
        "tenant, such as `postgresql://user:password@host/hub`; without it `hub.db` in `data_dir`.",
    )
    database_lock_s: float = Field(
        default=5.0, ge=0, le=3600, description="Seconds that a statement waits on PostgreSQL for others' locks; then 503. 0: without end."
    )
    database_statement_s: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="Seconds that a statement which writes to PostgreSQL may take; then 503. 0: without end.",
    )
    demo: bool = Field(
        default=False,
        description="Adds tenant `demo`, built-in credentials and a simulated contact centre. Never where others can reach it.",
    )
    open: bool = Field(
        default=False,
        description="Lets clients in without credentials, as tenant `demo`, role `anonymous`. For development and benchmarks.",
    )
    public_url: Annotated[str | None, BeforeValidator(_public_url)] = Field(
        default=None, description="URL of the hub as clients see it, when a proxy is in front, such as `https://hub.example.com`."
    )
    secret: Annotated[SecretStr | None, BeforeValidator(_long_enough)] = Field(
        default=None,
        description=f"Signs sign-in cookies and links between nodes, at least {SHORTEST_SECRET} characters. "
        "A single hub makes one and keeps it in `data_dir`; hubs that share Redis need the same one.",
    )
    link_listen: Annotated[str, AfterValidator(check_listen)] | None = Field(
        default=None,
        description="Where other nodes of the hub reach this one, never clients: a host and a port such as `10.0.0.5:9080`, or a Unix "
        "socket such as `unix:/run/hub/link.sock`. Without it hubs that share a Redis pass each other messages, and no requests: see "
        "docs/scaling.md.",
    )
    link_url: Annotated[str, AfterValidator(check_url)] | None = Field(
        default=None,
        description="How other nodes reach `link_listen`, such as `ws://10.0.0.5:9080` or `wss://node-1.example.com:9080`; without it "
        "what `link_listen` says. An IPv6 address may lack its brackets.",
    )
    link_tls_cert: Path | None = Field(
        default=None, description="Certificate of `link_listen` (PEM), which then speaks TLS alone. Without it the network must be yours."
    )
    link_tls_key: Path | None = Field(default=None, description="Key of `link_tls_cert` (PEM), if it is not in the same file.")
    link_tls_ca: Path | None = Field(
        default=None, description="Who signed the certificates of other nodes (PEM); without it those that the system trusts."
    )
    sign_in_hours: int = Field(default=12, ge=1, le=24 * 366, description="Hours that a sign-in cookie is good for.")
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port of its own for `/metrics` on the address of `host`, without credentials; without it only administrators read it, "
        "on the main port.",
    )
    allowed_origins: Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(split_value)] = Field(
        default=(),
        description="Origins of other web pages that may use the hub from a browser, such as `https://desk.example.com`; "
        "in the environment separated by commas.",
    )
    allowed_hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], BeforeValidator(split_value)] = Field(
        default=(),
        description="Names by which clients reach the hub, such as `hub.example.com` or `hub.example.com:8443`, beside loopback and "
        "`public_url`: links are made from them, and with `demo` no other is served; in the environment separated by commas.",
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        default=(IPv4Network("127.0.0.1/32"), IPv6Network("::1/128")),
        description="Addresses and networks of the proxies in front, such as `10.0.0.5, 10.1.0.0/16`: their `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed. Name the proxies alone: whoever is believed can pass for any address.",
    )
    extensions: Annotated[tuple[str, ...], BeforeValidator(split_value)] = Field(
        default=(),
        description="Extensions of your own, as `module:Class` or `path/to/file.py:Class`, in the order in which they see what comes in; "
        "in the environment separated by commas.",
    )
    drain_seconds: int = Field(default=10, ge=0, le=3600, description="Seconds over which a stopping server sends its clients away.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severity that is logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`json`: one object a line; `console`: for people; `auto`: console on a terminal, else JSON."
    )
    log_repeat_s: float = Field(
        default=60,
        ge=0,
        le=86_400,
        description="An error that repeats is logged once with its traceback, then counted, and the count is logged every so many seconds; "
        "0 logs each one.",
    )
    log_slow_ms: int = Field(
        default=0,
        ge=0,
        le=60_000,
        description="For debugging: what holds the event loop longer than so many milliseconds is logged with its place; 0: nothing is. "
        "The lag itself is always measured: `hub_loop_lag_seconds`.",
    )
    replay: ReplaySettings = Field(
        default_factory=ReplaySettings,
        description="The log of channels whose messages are kept for a while, so that clients that come back get what they missed.",
    )
    tls: TlsSettings = Field(default_factory=TlsSettings, description="TLS by the hub itself: see docs/deployment.md.")
    readiness: ReadinessSettings = Field(
        default_factory=ReadinessSettings, description="What `/readyz` says, and when: see docs/operations.md."
    )
    objects: ObjectsSettings = Field(
        default_factory=ObjectsSettings, description="Where the bytes of files lie, and links to them: docs/files.md."
    )
    presence: PresenceSettings = Field(default_factory=PresenceSettings, description="Joins and leaves as events on `/hub/presence/...`.")
    administration: AdministrationSettings = Field(
        default_factory=AdministrationSettings, description="What administrators may add and change by REST."
    )
    password_hashes: PasswordHashSettings = Field(
        default_factory=PasswordHashSettings, description="What a hash of a user's password costs: docs/authentication.md."
    )
    audit: AuditSettings = Field(default_factory=AuditSettings, description="The log of who changed or tried what.")
    clock: ClockSettings = Field(
        default_factory=ClockSettings,
        description="When the time of day has leapt ahead, and how long nothing is old by that: docs/operations.md.",
    )
    outbox: OutboxSettings = Field(default_factory=OutboxSettings, description="Delivery of webhooks.")
    ownership: OwnershipSettings = Field(default_factory=OwnershipSettings, description="Which of several nodes owns a tenant.")
    supervision: SupervisionSettings = Field(
        default_factory=SupervisionSettings,
        description="How the parent of several workers watches them, and the Valkey that it starts where no Redis is named.",
    )
    cluster: ClusterSettings = Field(
        default_factory=ClusterSettings, description="The nodes of a hub and the links between them: see docs/scaling.md."
    )
    limits: Annotated[Limits, _AsLimits] = Field(default_factory=Limits, description="Limits and time-outs of the protocols.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the values that :func:`load` passes in: it has merged all sources itself, so that it knows the source of each value."""
        return (init_settings,)

    @property
    def patience(self) -> Patience:
        """How long statements on PostgreSQL may take."""
        return Patience(self.database_lock_s, self.database_statement_s)

    @property
    def database(self) -> str:
        """The URL of the database: ``sqlite:///PATH`` or ``postgresql://...``, whatever driver the setting names."""
        if self.database_url is None:
            return sqlite_url(self.data_dir / "hub.db")
        scheme, _, rest = self.database_url.partition("://")
        return f"{'postgresql' if scheme.startswith('postgres') else 'sqlite'}://{rest}"


def model_of(families: Iterable[Section]) -> type[Settings]:
    """The settings of a hub with these families: the section of each family is an attribute with the family's name.

    Raises:
        ValueError: a family has the name of a setting of the hub.
    """
    return _model_with(tuple((family.name, family.settings) for family in families if family.settings is not None))


@lru_cache(maxsize=8)
def _model_with(sections: tuple[tuple[str, type[BaseModel]], ...]) -> type[Settings]:
    """Made once for the same sections: pydantic takes 10 ms of CPU for it."""
    fields: dict[str, Any] = {}
    for name, section in sections:
        if name in Settings.model_fields:
            raise ValueError(f"the family {name} has the name of a setting of the hub")
        summary = (section.__doc__ or f"Settings of {name}.").strip().splitlines()[0]
        fields[name] = (section, Field(default_factory=section, description=summary))
    return create_model("Settings", __base__=Settings, **fields) if fields else Settings


def load(families: Sequence[Section], *, config: Path | None, flags: Mapping[str, Any]) -> Settings:
    """Read the settings.

    Args:
        families: the families whose sections are known.
        config: the TOML file; None takes ``hub.toml`` of the current folder if there is one.
        flags: the flags of the command line, by key; None: the flag is absent. The value of a section is a dictionary.

    Raises:
        SettingsError: the file cannot be read, or there are unknown keys or wrong values. It lists all problems at once.
    """
    model = model_of(families)
    problems: list[str] = []
    file, file_name = _read_file(config, problems)
    environment = _read_environment(model, problems)
    said = {key: value for key, value in flags.items() if value is not None}
    problems += _unknown(model, file, lambda path: f"in {file_name}")
    problems += _unknown(model, said, lambda path: "among the flags")
    sources = [
        (said, lambda path: f"the flag --{'-'.join(path).replace('_', '-')}"),
        (environment, lambda path: f"the environment variable {ENV_PREFIX}{ENV_DELIMITER.join(path).upper()}"),
        (file, lambda path: str(file_name)),
    ]
    if problems:
        raise SettingsError(problems)
    merged: dict[str, Any] = {}
    for values, _ in reversed(sources):
        merged = _merge(merged, values)
    try:
        settings = model(**merged)
    except ValidationError as error:
        raise SettingsError([_problem(each, sources, merged) for each in error.errors()]) from None
    return settings


def _read_file(config: Path | None, problems: list[str]) -> tuple[dict[str, Any], Path]:
    path = config if config is not None else DEFAULT_FILE
    if config is None and not path.exists():
        return {}, path
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")), path
    except OSError as error:
        problems.append(f"{path}: expected a settings file, got: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: expected TOML, got a fault: {error}")
    return {}, path


def _read_environment(model: type[Settings], problems: list[str]) -> dict[str, Any]:
    for variable in sorted(os.environ):
        name = variable.upper()
        if not name.startswith(ENV_PREFIX) or name in CLIENT_VARIABLES or name.startswith(TEST_PREFIX) or not os.environ[variable]:
            continue
        path = name.removeprefix(ENV_PREFIX).lower().split(ENV_DELIMITER)
        if (unknown := _unknown_path(model, path)) is not None:
            known, nearest = unknown
            hint = f"; did you mean {ENV_PREFIX}{ENV_DELIMITER.join(nearest).upper()}?" if nearest else ""
            problems.append(f"{variable}: no such setting{'' if known else ' section'} (from the environment){hint}")
    return EnvironmentSource(model)()


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The model of a section, None when ``key`` is a plain value."""
    annotation = fields_of(model)[key]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return LIMITS_SECTION if annotation is Limits else None


def fields_of(model: type[BaseModel]) -> dict[str, Any]:
    """The keys of a section and the types of their values."""
    return {name: field.annotation for name, field in model.model_fields.items()}


def _unknown_path(model: type[Any], path: Sequence[str]) -> tuple[bool, list[str]] | None:
    """None if ``path`` names a setting; else whether its section is known, and the most similar path that names a setting."""
    at: type[BaseModel] | None = model
    for depth, key in enumerate(path):
        if at is None:  # a dictionary with any keys, or a plain value, which has no settings below it
            return True, list(path[:depth])
        known = fields_of(at)
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            return depth > 0 or len(path) == 1, [*path[:depth], close[0], *path[depth + 1 :]] if close else []
        at = _section(at, key)
    return None


def _unknown(model: type[BaseModel], values: Mapping[str, Any], where: Any, lead: tuple[str, ...] = ()) -> list[str]:
    problems: list[str] = []
    known = fields_of(model)
    for key, value in values.items():
        path = (*lead, key)
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            hint = f"; did you mean {'.'.join((*lead, close[0]))}?" if close else ""
            problems.append(f"{'.'.join(path)}: no such setting ({where(path)}){hint}")
        elif (section := _section(model, key)) is not None and isinstance(value, Mapping):
            problems += _unknown(section, value, where, path)
    return problems


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        present = merged.get(key)
        merged[key] = _merge(present, value) if isinstance(present, dict) and isinstance(value, Mapping) else value
    return merged


_OWN_WORDS: Final = re.compile(
    r"Value error, (?:(?P<field>[a-z_]+(?:, [a-z_]+)*): expected (?P<expected>.+)|expected (?P<came>.+, got .+))", re.DOTALL
)


def _problem(error: Any, sources: Sequence[tuple[Mapping[str, Any], Any]], merged: Mapping[str, Any]) -> str:
    """One finding of pydantic as a line: key, expected, got, source. A value that may be secret is not shown."""
    path = _key_path(error["loc"], merged)
    key, value = _in_entry(".".join(path), error["loc"][len(path) :], _at(merged, path))
    said = _OWN_WORDS.fullmatch(error["msg"])  # a validator of ours that names what came, or fields of a section
    named = [(*path, field) for field in (said["field"] or "").split(", ") if field] if said is not None else []
    origin = next((name(each) for each in [*named, path] for values, name in sources if _at(values, each) is not None), "its default")
    if said is not None:
        where = key if said["field"] is None else f"{key}.{said['field']}"
        return f"{where}: expected {said['expected'] or said['came']} (from {origin})"
    expected = expectation(error["msg"])
    got = (
        "nothing"
        if error["type"] == "missing"
        else "a hidden value"
        if _is_secret(path)
        else repr(_without_secrets(_came(error["loc"], value)))
    )
    return f"{key}: expected {expected}, got {got} (from {origin})"


def _in_entry(key: str, location: Sequence[int | str], value: Any) -> tuple[str, Any]:
    """Key and value of what is wrong in a list of tables, such as ``auth.issuers[0].name``; those of the setting itself for any other."""
    for step in location:
        if isinstance(step, int) and isinstance(value, list | tuple) and step < len(value) and isinstance(value[step], Mapping):
            key, value = f"{key}[{step}]", value[step]
        elif isinstance(step, str) and isinstance(value, Mapping) and key.endswith("]"):
            return f"{key}.{step}", value.get(step)
        else:
            break
    return key, value


def _came(location: Sequence[int | str], value: Any) -> Any:
    """The wrong part of a setting's value: of a list, the item that pydantic names."""
    index = location[-1]
    return value[index] if isinstance(value, list | tuple) and isinstance(index, int) and 0 <= index < len(value) else value


def _without_secrets(value: Any) -> Any:
    """A value that may be shown: keys may stand in a URL."""
    return url_without_secrets(value) if isinstance(value, str) and "://" in value else value


def expectation(message: str) -> str:
    """What pydantic expected, taken from its message: ``a valid integer`` from ``Input should be a valid integer``."""
    for said, meant in (
        (r"^String should match pattern ", "text of pattern "),
        (r"^Input is not a valid path for .*", "a path"),
        (r"^Field required$", "a value"),
        (r"^Extra inputs are not permitted$", "no setting of this name"),
        (r"^\w+ should (be|have) ", ""),
        (r"^Value error, (expected )?", ""),
        (r"^value is not a valid IPv4 or IPv6 network$", "an address or a network such as 10.1.0.0/16"),
        (r"^a valid dictionary or instance of \w+$", "a section"),
        (r"^a valid (list|tuple|set|frozenset)$", "a list (in the environment: values between commas, or JSON)"),
    ):
        message = re.sub(said, meant, message)
    return message


def _key_path(location: Sequence[int | str], merged: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of the settings in an error's location, to which pydantic adds list indexes and the names of its own validators."""
    path: list[str] = []
    at: Any = merged
    for step in location:
        if not isinstance(at, Mapping) or not isinstance(step, str):
            break
        if step in at:
            at = at[step]
            path.append(step)
        elif not path or step.isidentifier():
            path.append(step)
            break
    return tuple(path)


def _at(values: Mapping[str, Any], path: Sequence[str]) -> Any:
    at: Any = values
    for key in path:
        if not isinstance(at, Mapping):
            return at
        at = at.get(key)
    return at


def _is_secret(path: Sequence[str]) -> bool:
    """Whether a value must not be shown: a secret, or a URL that may contain a password."""
    return bool(path) and path[-1].endswith(("secret", "password", "token", "_url")) and path[-1] != "public_url"
