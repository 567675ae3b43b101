"""The configuration: one TOML file, each key also as `GATEWAY_<SECTION>__<KEY>`, and the defaults.

The environment wins over the file, the file over the defaults. Unknown keys are errors. `config.example.toml`
documents every key. Relative paths start from the working directory.
"""

import difflib
import json
import os
import shlex
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.duration import Duration
from gateway.errors import Refusal, StartError
from gateway.secret import Secret

PREFIX = "GATEWAY_"
DEFAULT_FILE = Path("config.toml")
LOOPBACK_NAMES = "localhost,127.0.0.1,::1"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a listener stands. `host` has no brackets; port 0 takes any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host:port` or `[v6]:port`. Raises `ValueError` that says which form is right."""
        host, colon, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        bracketed = host != bare
        if not colon or not bare or bracketed != (":" in bare) or not (port.isascii() and port.isdigit()):
            raise ValueError(f"{text!r} is not an address; write host:port, such as 127.0.0.1:8080 or [::1]:8080")
        if int(port) > 65535:  # noqa: PLR2004 - the largest port number there is
            raise ValueError(f"{port} is not a port; write a number from 0 to 65535")
        return cls(bare, int(port))

    @property
    def authority(self) -> str:
        """The host and port as a URL has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reachable(self) -> Self:
        """The same on loopback where it listens on every address: something to write into a URL."""
        match self.host:
            case "0.0.0.0":  # noqa: S104 - compared, not bound
                return type(self)("127.0.0.1", self.port)
            case "::":
                return type(self)("::1", self.port)
            case _:
                return self

    def __str__(self) -> str:
        return self.authority


def _listen(value: Any) -> Any:
    if isinstance(value, Listen):
        return value
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is not an address; write it as a text, such as "127.0.0.1:8080"')  # noqa: TRY004 - as below
    return Listen.parse(value)


def _networks(value: Any) -> Any:
    """Read a list of networks; in the environment it is JSON, or words with commas between them."""
    if isinstance(value, str):
        value = (
            json.loads(value) if value.lstrip().startswith("[") else [word for word in value.split(",") if word.strip()]
        )
    if not isinstance(value, list | tuple):
        raise ValueError('write a list of networks, such as ["127.0.0.1/32"]')  # noqa: TRY004 - pydantic collects ValueError
    read, wrong = [], []
    for one in value:
        try:
            read.append(_network(one))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(wrong))
    return tuple(read)


def _network(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ip_network(value.strip())
    except ValueError as error:
        raise ValueError(f"{error}; write a network such as 10.1.0.0/16, or one address as 127.0.0.1/32") from None


def _store_url(value: str) -> str:
    """Check the scheme alone: the value may hold a password, so no message repeats it."""
    if not value.startswith(("sqlite:///", "postgresql://")):
        raise ValueError("write sqlite:///PATH or postgresql://user@host/database")
    return value


def key_source(value: str) -> str:
    """Return what names a place of the master key. Raises `ValueError` that says which form is right.

    It doesn't repeat the value: somebody may have put the key itself there.
    """
    kind, _, name = value.partition(":")
    if kind not in {"file", "env", "command"} or not name.strip():
        raise ValueError("this is not a key source; write file:PATH, env:NAME or command:PROGRAM ARGUMENT…")
    if kind == "command":
        try:
            shlex.split(name)
        except ValueError:
            raise ValueError("the command of a key source has a quotation mark that isn't closed") from None
    return value


def _public_url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if scheme not in {"http", "https"} or not separator or not rest or set(rest) & set(" ?#@\\"):
        raise ValueError(f"{value!r} is not an origin; write https://gateway.example.com")
    return value.rstrip("/")


def _webhook_url(value: str) -> str:
    """Check that it may carry events: https, or http to this machine. The value may hold a token: it isn't repeated."""
    if not value:
        return value
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("write a URL such as https://example.com/hooks/gateway") from None
    if not host or parts.username is not None or parts.fragment or set(value) & set(" \\"):
        raise ValueError("write a URL such as https://example.com/hooks/gateway, without a user name or a fragment")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)):
        return value
    raise ValueError("write https://; http:// is for this machine alone")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _secret(value: Any) -> Any:
    return Secret(value) if isinstance(value, str) else value


ListenAddress = Annotated[Listen, BeforeValidator(_listen), PlainSerializer(str)]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    BeforeValidator(_networks),
    PlainSerializer(lambda value: [str(one) for one in value]),
]
SecretText = Annotated[Secret, BeforeValidator(_secret), PlainSerializer(lambda _: "")]
"""A secret, or where it is. Settings that are handed on to another process are handed on without it."""
Count = Annotated[int, Field(ge=1)]
Wait = Annotated[Duration, Field(gt=0)]


class _Section(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Proxy(_Section):
    """The data plane's listener."""

    listen: ListenAddress = Listen("127.0.0.1", 8080)


class Web(_Section):
    """The control plane's listener. `public_url` is how browsers and providers reach it, without a slash at the end."""

    listen: ListenAddress = Listen("127.0.0.1", 8081)
    public_url: Annotated[str, AfterValidator(_public_url)] = "http://127.0.0.1:8081"


class Store(_Section):
    """The database. `{data_dir}` stands for that directory."""

    url: Annotated[str, AfterValidator(_store_url)] = "sqlite:///{data_dir}/gateway.db"


class Keys(_Section):
    """Where the master key comes from: `file:PATH` (made on first start), `env:NAME`, or `command:PROGRAM ARGUMENT…`.

    Each gives 32 bytes as base64 or hex.
    """

    source: Annotated[str, AfterValidator(key_source)] = "file:{data_dir}/master.key"


class Access(_Section):
    """Who may call. `anonymous`: loopback callers need no client token."""

    anonymous: bool = False


class Egress(_Section):
    """Where requests may go besides public addresses."""

    allow_networks: Networks = ()

    @property
    def no_proxy(self) -> str:
        """What programs needn't ask the gateway for: their own machine's services, unless it is set up to reach them.

        What their surroundings exempt is not taken over: those calls would go out without their credentials.
        """
        return "" if any(network.is_loopback for network in self.allow_networks) else LOOPBACK_NAMES


class Webhook(_Section):
    """Who is told of connections' lives; empty: nobody. `secret` is `env:NAME` or `file:PATH`, or the secret itself."""

    url: Annotated[str, AfterValidator(_webhook_url)] = ""
    secret: SecretText = Secret("")

    def read_secret(self, environ: Mapping[str, str]) -> Secret:
        """Return what messages are signed with. Raises `StartError`: there is none, or it can't be read."""
        kind, _, name = self.secret.reveal().partition(":")
        match kind:
            case "env":
                found = environ.get(name, "")
            case "file":
                try:
                    found = Path(name).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError):
                    raise _refused(("webhook.secret", f"the file {name} can't be read")) from None
            case _:
                found = self.secret.reveal()
        if not found:
            where = f"{kind}:{name} is empty" if name else "there is none; write env:NAME or file:PATH"
            raise _refused(("webhook.secret", where))
        return Secret(found)


class Limits(_Section):
    """Sizes in bytes, and counts."""

    header_bytes: Count = 65_536
    header_count: Count = 128
    replay_bytes: Annotated[int, Field(ge=0)] = 1_048_576
    rewrite_bytes: Count = 1_048_576
    connections: Count = 10_000
    tunnels: Count = 5_000


class Timeouts(_Section):
    """Seconds; in a file a number or a text such as `30s`."""

    connect: Wait = 10.0
    tls: Wait = 10.0
    request_header: Wait = 30.0
    response_header: Wait = 300.0
    idle: Wait = 300.0
    shutdown: Wait = 10.0


class Log(_Section):
    """How the log is written to standard error."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """Everything that can be configured. Build it with `load_settings`; tests may build it directly."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__", enable_decoding=False
    )

    data_dir: Path = Path("data")
    policies_dir: Path = Path("policies")
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    proxy: Proxy = Proxy()
    web: Web = Web()
    store: Store = Store()
    keys: Keys = Keys()
    access: Access = Access()
    egress: Egress = Egress()
    webhook: Webhook = Webhook()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings calls this by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env files: one place less to look
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the key and the token have files of their own
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over what is given."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _place(self) -> Self:
        """Put the data directory into the values that name it, and derive the public URL where none is given."""
        place = str(self.data_dir)
        updates: dict[str, _Section] = {
            "store": self.store.model_copy(update={"url": self.store.url.replace("{data_dir}", place)}),
            "keys": self.keys.model_copy(update={"source": self.keys.source.replace("{data_dir}", place)}),
        }
        if "public_url" not in self.web.model_fields_set:
            updates["web"] = self.web.model_copy(update={"public_url": f"http://{self.web.listen.reachable}"})
        for name, section in updates.items():
            self.__dict__[name] = section  # the model is frozen for everyone else
        return self


def find_config(option: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: the option, else `GATEWAY_CONFIG`, else `./config.toml` where it is, else none.

    Raises `StartError` where `./config.toml` may be somebody else's: it can name a command that is run for the master
    key, and whoever is in a directory of others, such as /tmp, has not asked for theirs.
    """
    named = option or (Path(environ["GATEWAY_CONFIG"]) if environ.get("GATEWAY_CONFIG") else None)
    if named is not None or not DEFAULT_FILE.is_file():
        return named
    found = (DEFAULT_FILE.lstat(), DEFAULT_FILE.stat())
    if any(one.st_uid not in {0, os.geteuid()} for one in found) or found[1].st_mode & stat.S_IWOTH:
        place = str(DEFAULT_FILE.absolute())
        raise _refused((place, "another user owns it or can change it; if it is to be read, name it with --config"))
    return DEFAULT_FILE


def load_settings(file: Path | None) -> Settings:
    """Read the file (none: the defaults) and the environment. Raises `StartError`: each fault with its place."""
    given = _read(file) if file else {}
    faults = _unknown_sections(os.environ) + _open_secrets(given, file)
    try:
        settings = Settings(**given)
    except ValidationError as error:
        faults += [_fault(one, file, os.environ) for one in error.errors(include_url=False, include_context=False)]
    if faults:
        raise _refused(*faults)
    return settings


def _open_secrets(given: Mapping[str, Any], file: Path | None) -> list[tuple[str, str]]:
    """Name secrets that stand in the file itself, which is copied, shown and checked in."""
    section = given.get("webhook")
    secret = section.get("secret") if isinstance(section, dict) else None
    if not isinstance(secret, str) or not secret or secret.startswith(("env:", "file:")):
        return []
    message = f"write env:NAME or file:PATH, or set {PREFIX}WEBHOOK__SECRET: no secret stands in this file"
    return [(f"{file}: webhook.secret", message)]


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _refused((str(file), f"the configuration can't be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise _refused((str(file), "the configuration is not UTF-8 text")) from None
    except tomllib.TOMLDecodeError as error:
        raise _refused((str(file), f"not valid TOML: {error}")) from None


def _refused(*faults: tuple[str, str]) -> StartError:
    errors = tuple({"path": place, "message": message} for place, message in faults)
    return StartError(Refusal(code="invalid", detail="; ".join(": ".join(one) for one in faults), errors=errors))


def _unknown_sections(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name variables whose section doesn't exist: pydantic-settings would pass over them without a word."""
    faults = []
    for name in environ:
        section, separator, _ = name.upper().removeprefix(PREFIX).partition("__")
        if name.upper().startswith(PREFIX) and separator and section.lower() not in Settings.model_fields:
            message = f"there is no section {section.lower()!r}{_nearest(section.lower(), Settings.model_fields)}"
            faults.append((name, message))
    return faults


def _fault(error: ErrorDetails, file: Path | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """Say in one clause where the value stands and what would be right there."""
    path = [str(part) for part in error["loc"] if isinstance(part, str)][:2]
    variable = PREFIX + "__".join(path).upper()
    named = next((name for name in environ if name.upper() == variable), None)
    place = named or (f"{file}: {'.'.join(path)}" if file else ".".join(path))
    return place, _what(error, path)


def _what(error: ErrorDetails, path: list[str]) -> str:
    message = error["msg"]
    match error["type"]:
        case "extra_forbidden":
            return f"there is no such key{_nearest(path[-1], _keys(path[:-1]))}"
        case "value_error":
            return message.removeprefix("Value error, ")
        case "int_parsing" | "int_type" | "int_from_float" | "float_type" | "float_parsing":
            return f"{error['input']!r} is not a number"
        case "bool_parsing" | "bool_type":
            return f"{error['input']!r} is not a switch; write true or false"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"it is a section; write [{path[-1]}] and its keys below: {', '.join(_keys(path))}"
        case _:
            return message.replace("Input should be", "it should be")


def _keys(path: list[str]) -> list[str]:
    fields = Settings.model_fields
    if path:
        section = fields[path[0]].annotation
        fields = section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else {}
    return list(fields)


def _nearest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"
