"""Process settings: flag > environment > file > default. The only module that reads the environment.

Each setting is ``PONTE_<NAME>`` in the environment, ``<name>`` in the TOML file and ``--<name>`` on the command line
(secrets have no flag: a command line is visible to every user of the machine). An unknown key is an error everywhere.
What belongs to one account is not here but in its configuration (`gateway.domain.bridge_config`).
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.domain.errors import ConfigError
from gateway.domain.hosts import check_host, parse_url
from gateway.domain.numbers import CallerForm, CallerIdentity, NumberPolicy, parse_prefix_rules

ENV_PREFIX: Final = "PONTE_"
CONFIG_FILE_VARIABLE: Final = "PONTE_CONFIG"

_OTHER_PROGRAMS: Final = ("HELPER_", "WASM_", "STANDIN_", "SANDBOX_", "DEMO_", "TEST_", "BENCH_")
"""What may follow the prefix in variables that other programs of the project read, so that they are no errors here."""
_OTHER_VARIABLES: Final = frozenset({CONFIG_FILE_VARIABLE, "PONTE_API_KEY"})  # the latter: `ponte keys create --key`

Port = Annotated[int, Field(ge=1, le=65535)]
SharedPort = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Names = Annotated[tuple[str, ...], NoDecode]


def _state_dir() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "ponte"


class Settings(BaseSettings):
    """The settings of one gateway process. Each default says its unit, where it has one, and its reason."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,  # compose files pass unset variables as empty strings
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # a mistyped secret must not end up in the error text
        validate_default=True,
    )

    api_host: str = Field(
        default="127.0.0.1", description="Address the HTTP API listens on; loopback until told otherwise"
    )
    api_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8080, description="Port of the HTTP API; 0 takes a free one, which the ready line names"
    )
    body_timeout_s: Seconds = Field(
        default=10.0, description="Seconds for a request body to arrive; 64 KiB fit any line"
    )
    api_rate_per_s: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000,
        description="Requests a second of one account that the HTTP API answers; more get a 429. A dashboard makes "
        "ten, so this only stops a client that went wild",
    )
    offer_rate_per_min: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=30,
        description="Calls a minute that one account may begin by POST /call/offer; more get a 429. An account has one "
        "line, and WhatsApp bans who dials like a machine",
    )
    sip_host: str = Field(
        default="0.0.0.0",
        description="Address of SIP listeners. They start only when an account is configured and let nobody in "
        "without digest or a known address, so every interface is a safe default that a PBX can reach",
    )
    sip_digest: Annotated[tuple[Literal["MD5", "SHA-256", "SHA-512-256"], ...], NoDecode, Field(min_length=1)] = Field(
        default=("MD5",),
        description="Digest algorithms that callers may use, separated by commas, the preferred one first. MD5 alone, "
        "since kamailio 5.6 and baresip 1.0 give up on a challenge that offers SHA-256 beside it",
    )
    sip_strangers: Literal["answer", "drop_scanners", "silent"] = Field(
        default="drop_scanners",
        description="What is told to those who are neither an address of a sipServer nor proved a password within the "
        "hour: `answer` as RFC 3261 has it, `drop_scanners` the same but nothing to who calls itself as known scanners "
        "do, `silent` nothing but the challenge that a caller with a password needs",
    )
    sip_redirects: Annotated[int, Field(ge=0, le=10)] = Field(
        default=3,
        description="Other extensions that a call to the PBX is tried at when it is answered 300, 301 or 302, always "
        "by way of sipServer; 0: none",
    )
    sip_tls_port: SharedPort | None = Field(
        default=None,
        description="Port of SIP over TLS for all accounts, by custom 5061; empty: none, because it needs a "
        "certificate",
    )
    sip_ws_port: SharedPort | None = Field(
        default=None,
        description="Port of SIP over WebSocket (RFC 7118) without TLS, for behind a proxy that ends TLS; empty: none",
    )
    sip_wss_port: SharedPort | None = Field(
        default=None, description="Port of SIP over WebSocket with TLS; empty: none, because it needs a certificate"
    )
    sip_ws_path: Annotated[str, Field(pattern=r"^/[!-~]*$")] = Field(
        default="/ws",
        description="Path of WebSockets that are opened to a sipServer; Asterisk's. What others open may have any",
    )
    sip_ws_origins: Names = Field(
        default=(),
        description="Origins of web pages whose browsers may open a WebSocket here, separated by commas, for example "
        "https://phone.example.com; empty: any, since a page that connects still needs the account's password, and "
        "browsers send none by themselves. What sends no Origin is no browser and may connect in any case",
    )
    sip_session_expires_s: Annotated[int, Field(ge=0, le=86400)] = Field(
        default=600,
        description="Session interval that calls ask for (RFC 4028), 90 s at least; 0: none. A third of what the RFC "
        "recommends, since a dead call holds an account's only line",
    )
    sip_outbound: bool = Field(
        default=True,
        description="Register over connections as RFC 5626 has it (instance, reg-id): a PBX that knows it keeps one "
        "binding over reconnections and calls by the connection; others pass over it",
    )
    sip_gruu: bool = Field(
        default=False,
        description="Ask the registrar for a GRUU (RFC 5627) and use it as Contact of calls. Off, because a proxy that "
        "gives GRUUs and does not look them up in dialogs (kamailio as it comes) loses every BYE",
    )
    sip_tls_certificate: Path | None = Field(
        default=None,
        description="PEM file with the certificate of SIP over TLS and its chain: for the listeners, and for servers "
        "that ask for one; empty: none",
    )
    sip_tls_key: Path | None = Field(
        default=None, description="PEM file with its key, without a password; empty: it stands in the same file"
    )
    sip_tls_verify_clients: bool = Field(
        default=False,
        description="Let only those connect by TLS and WSS who show a certificate of a trusted authority. Callers are "
        "asked for their password either way",
    )
    sip_ca_file: Path | None = Field(
        default=None,
        description="PEM file with the authorities to trust for SIP over TLS; empty: the system's. Apart from ca_file, "
        "since a PBX often has an authority of its own",
    )
    public_address: str = Field(
        default="",
        description="Address written into SIP and SDP; empty: the local address that each peer is reached from",
    )
    rtp_port_min: Port = Field(
        default=30000,
        description="First RTP port. The range lies below Linux's ephemeral ports and beside Asterisk's RTP",
    )
    rtp_port_max: Port = Field(default=30999, description="Last RTP port; two ports a call, so 500 calls")
    webrtc_addresses: Names = Field(
        default=(),
        description="Addresses of this machine that WebRTC SIP clients are told to send audio to, separated by commas; "
        "empty: the one that the client's signalling came to and those of every interface. public_address, where it is "
        "an IP address, is told as well",
    )
    srtp: Literal["accept", "offer"] = Field(
        default="accept",
        description="SRTP (SDES keys) towards the PBX: `accept` takes it where the PBX offers it, `offer` also asks "
        "for it in calls to the PBX, and has no call without it. The keys travel in the SDP: who reads SIP can decrypt",
    )
    codecs: Annotated[tuple[Literal["opus", "G722", "PCMA", "PCMU"], ...], NoDecode, Field(min_length=1)] = Field(
        default=("opus", "G722", "PCMA", "PCMU"),
        description="Audio codecs towards the PBX, separated by commas, best first: the order of our offers; an answer "
        "follows the PBX's. None is converted, so none costs more here. Wide band comes first, since WhatsApp's sound "
        "is: a PBX that allows G.711 only takes that. A-law before mu-law, as trunks in Brazil and Europe have it",
    )
    default_region: str = Field(
        default="BR", description="Country (ISO 3166) of numbers dialled without a country code"
    )
    area_code: str = Field(
        default="",
        description="Area code of numbers dialled without one, for example 11; empty, because a PBX usually sends it",
    )
    dial_prefixes: str = Field(
        default="",
        description="Prefixes of dialled numbers to change, as found=put separated by commas: 0= takes the 0 of an "
        "outside line off, 0015=+ turns a carrier's prefix into +. The longest that fits is applied, once; empty, "
        "because +, 00 and a carrier after 0 are understood without",
    )
    caller_form: CallerForm = Field(
        default=CallerForm.DIGITS,
        description="How a WhatsApp number is shown to the PBX: digits (5511987654321, as contact lists of most PBXes "
        "have it), e164 (+5511987654321), or national (11987654321, other countries with +)",
    )
    caller_prefixes: str = Field(
        default="", description="The same rules for that number: =0 puts a 0 before it, so that a phone can call back"
    )
    caller_identity: CallerIdentity = Field(
        default=CallerIdentity.ASSERTED,
        description="Where the PBX finds a WhatsApp caller's number: asserted (From and P-Asserted-Identity), plain "
        "(From alone, for a PBX that takes no assertions), private (P-Asserted-Identity with Privacy: id, From "
        "anonymous: the PBX knows it, its phones do not)",
    )
    blf_numbers: bool = Field(
        default=False,
        description="Tell those who watch an account (BLF, RFC 4235) who is at the other end, number and name. Off: a "
        "lamp on a desk needs neither, and every colleague's phone would show customers' numbers",
    )
    ring_timeout_s: Seconds = Field(
        default=60.0, description="Seconds a call may ring; WhatsApp itself gives up by then"
    )
    phone_silence_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30.0,
        description="Seconds without RTP and RTCP of a phone that sent some before, and holds nothing, after which it "
        "is asked in the dialog whether it is still there. Six RTCP reports are missing by then; 0: never",
    )
    shutdown_grace_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30.0,
        description="Seconds that SIGTERM waits for calls in progress; below the 90 s after which systemd kills",
    )

    wasm_host: str = Field(default="127.0.0.1", description="Address of the wasm server that `ponte serve` starts")
    wasm_port: Port = Field(default=9080, description="Its port; the seed's default for wasmServerPort")
    page_url: str = Field(default="https://web.whatsapp.com/", description="The page that is driven")
    page_script: Path | None = Field(
        default=None,
        description="Python file with Playwright functions that drive the page at page_url (docs/script-driver.md); "
        "empty: the page is WhatsApp Web. It runs with the gateway's rights",
    )
    local_helper_url: str = Field(
        default="",
        description="Node helper of accounts that name neither Chrome nor helper; empty: one is started beside",
    )
    local_chrome: Path | None = Field(
        default=None, description="Chrome for a helper that is started beside; empty: the one that is installed"
    )
    local_chrome_flags: str = Field(
        default="", description="More flags for that Chrome, as a shell would split them; its sandbox stays on"
    )
    helper_token: SecretStr | None = Field(
        default=None,
        description="Bearer token for node helpers whose URL has no userinfo; the helper reads the same variable",
    )
    allow_hosts: Names = Field(
        default=(),
        description="Host names, addresses and networks, separated by commas, that chromeRemoteURL, nodeRemoteHelper "
        "and wasmServerIP may lead to beside loopback and private networks; empty, because both ends of such a "
        "connection are full control of a WhatsApp account",
    )
    build_check_s: Annotated[float, Field(ge=60, le=604_800)] = Field(
        default=21_600.0,
        description="Seconds between trials of the build that WhatsApp Web serves, in a page of its own; a new one "
        "comes every few days and open pages are told, and a trial loads some 20 MB",
    )
    force_calling_gates: Names = Field(
        default=(),
        description="Ids of accounts, separated by commas, in whose page WhatsApp's gates for calls are forced open; "
        "empty, because an account for which WhatsApp has not enabled calls on the web may be noticed by it",
    )
    connect_timeout_s: Seconds = Field(
        default=5.0,
        description="Seconds to reach Chrome, helper or wasm server; a LAN takes milliseconds, a VPN one second",
    )
    http_timeout_s: Seconds = Field(default=10.0, description="Seconds for an answer of helper or wasm server")
    webrtc_connect_timeout_s: Seconds = Field(
        default=15.0, description="Seconds for ICE and DTLS with a page or a client"
    )
    reconnect_max_s: Seconds = Field(
        default=10.0,
        description="Cap of the pause between two tries to reach Chrome: what came back is found within it",
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates to trust for https and wss to Chrome, helper and wasm server; empty: the system's",
    )

    state_dir: Path = Field(default_factory=_state_dir, description="Folder of database and secret key, made 0700")
    database_url: str = Field(
        default="", description="SQLAlchemy URL, SQLite or PostgreSQL; empty: SQLite file ponte.db in state_dir"
    )
    database_timeout_s: Annotated[float, Field(gt=0, le=60)] = Field(
        default=5.0, description="Seconds to wait for a locked database before the request fails with a 500"
    )
    call_retention_days: Annotated[int, Field(ge=0, le=36500)] = Field(
        default=90,
        description="Days that call records are kept after the call's end, then they are deleted; 0 keeps them for "
        "ever. They name people: no longer than invoices and complaints need",
    )
    event_retention_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=7,
        description="Days that events are kept for subscribers that resume, and as the webhooks' log; what a webhook "
        "waits for is kept longer",
    )
    event_log_size: Annotated[int, Field(ge=1000, le=100_000_000)] = Field(
        default=200_000, description="Events that are kept at most, all accounts together; about 200 MB"
    )
    webhook_allow_hosts: Names = Field(
        default=(),
        description="Host names, addresses and networks, separated by commas, that webhooks may be sent to beside "
        "public addresses, and by http too; empty, because whoever has an API key could reach into your network",
    )
    webhook_timeout_s: Seconds = Field(
        default=15.0, description="Seconds for a webhook's endpoint to answer; the scheme asks for 15 to 30"
    )
    secret_key: SecretStr | None = Field(
        default=None, description="Fernet keys separated by commas, newest first; empty: taken from secret_key_file"
    )
    secret_key_file: Path | None = Field(
        default=None,
        description="File with one Fernet key a line, newest first; default secret.key in state_dir, made 0600",
    )

    log_format: Literal["auto", "json", "pretty"] = Field(
        default="auto", description="auto: pretty on a terminal, else JSON"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severity logged")
    log_drop_pii: bool = Field(
        default=False, description="Drop keys that begin with pii. (numbers, names, SDP) from logs"
    )

    @field_validator(
        "allow_hosts", "webhook_allow_hosts", "force_calling_gates", "webrtc_addresses", "sip_ws_origins", "sip_digest",
        "codecs", mode="before",
    )  # fmt: skip
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("allow_hosts", "webhook_allow_hosts")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            try:
                ipaddress.ip_network(entry, strict=False)
            except ValueError:
                if "/" in entry:
                    raise ValueError(f"{entry!r} is not a network like 10.0.0.0/8") from None
                check_host(entry)
        return value

    @field_validator("sip_ws_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https?://[a-z0-9.\-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?", origin):
                raise ValueError(
                    f"{origin!r} is no origin like https://phone.example.com (RFC 6454: lower case, no path)"
                )
        return value

    @field_validator("webrtc_addresses")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            ipaddress.ip_address(address)  # its ValueError names it
        return value

    @field_validator("default_region")
    @classmethod
    def _region(cls, value: str) -> str:
        return _checked_policy(value.upper(), "").default_region

    @field_validator("sip_session_expires_s")
    @classmethod
    def _session(cls, value: int) -> int:
        if 0 < value < 90:
            raise ValueError("must be 0, or 90 or more (RFC 4028 section 4)")
        return value

    @field_validator("area_code")
    @classmethod
    def _area_code(cls, value: str) -> str:
        return _checked_policy("BR", value).area_code

    @field_validator("dial_prefixes", "caller_prefixes")
    @classmethod
    def _prefixes(cls, value: str) -> str:
        try:
            parse_prefix_rules(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("local_chrome_flags")
    @classmethod
    def _flags(cls, value: str) -> str:
        shlex.split(value)  # its ValueError says which quote is left open
        return value

    @field_validator("api_host", "sip_host", "wasm_host", "public_address")
    @classmethod
    def _host(cls, value: str) -> str:
        return check_host(value) if value else value

    @field_validator("page_url", "local_helper_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value:
            parse_url(value, ("https", "http"))
        return value

    @model_validator(mode="after")
    def _rtp_range(self) -> Settings:
        if self.rtp_port_max < self.rtp_port_min + 1:
            raise ValueError("rtp_port_max must be above rtp_port_min: a call needs two ports")
        return self

    @model_validator(mode="after")
    def _sip_tls(self) -> Settings:
        for name in ("sip_tls_port", "sip_wss_port"):
            if getattr(self, name) is not None and self.sip_tls_certificate is None:
                raise ValueError(f"{name} needs sip_tls_certificate")
        ports = [port for port in (self.sip_tls_port, self.sip_ws_port, self.sip_wss_port) if port]
        if len(set(ports)) < len(ports):
            raise ValueError("sip_tls_port, sip_ws_port and sip_wss_port must differ")
        return self

    @property
    def number_policy(self) -> NumberPolicy:
        """How numbers travel between the PBX and WhatsApp."""
        return NumberPolicy(
            self.default_region,
            self.area_code,
            parse_prefix_rules(self.dial_prefixes),
            self.caller_form,
            parse_prefix_rules(self.caller_prefixes),
        )

    @property
    def effective_database_url(self) -> str:
        """The database URL with the default filled in. May hold a password: never logged."""
        return self.database_url or f"sqlite:///{self.state_dir / 'ponte.db'}"

    @property
    def effective_secret_key_file(self) -> Path:
        """The key file with the default filled in."""
        return self.secret_key_file or self.state_dir / "secret.key"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags and environment only; `load_settings` adds the file below them."""
        return init_settings, env_settings


def _checked_policy(default_region: str, area_code: str) -> NumberPolicy:
    try:
        return NumberPolicy(default_region, area_code)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def load_settings(flags: Mapping[str, object] | None = None, *, config_file: Path | None = None) -> Settings:
    """Read the settings of this process.

    Args:
        flags: values from the command line, by setting name; those that are None count as not given.
        config_file: TOML file; default: the one that PONTE_CONFIG names, else none.

    Raises:
        ConfigError: a value or a name is wrong; the sentence names it, and never holds a secret.
    """
    environ = {name.upper(): value for name, value in os.environ.items() if name.upper().startswith(ENV_PREFIX)}
    _refuse_unknown_variables(environ)
    if config_file is None and environ.get(CONFIG_FILE_VARIABLE):
        config_file = Path(environ[CONFIG_FILE_VARIABLE])
    values = _read_file(config_file) if config_file is not None else {}
    values = {name: value for name, value in values.items() if not environ.get(ENV_PREFIX + name.upper())}
    values |= {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(f"Bad setting{' ' + name if name else ''}: {message}{more}", name or None) from None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration file {path} is not valid TOML: {error}") from None
    for name in values:
        if name not in Settings.model_fields:
            raise ConfigError(f"Unknown setting {name} in {path}{_did_you_mean(name)}", name)
    return values


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    for variable in environ:
        name = variable.removeprefix(ENV_PREFIX)
        known = variable in _OTHER_VARIABLES or name.lower() in Settings.model_fields
        if not known and not name.startswith(_OTHER_PROGRAMS):
            hint = _did_you_mean(name.lower(), upper=True)
            raise ConfigError(f"Unknown setting {variable} in the environment{hint}", name.lower())


def _did_you_mean(name: str, *, upper: bool = False) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.7)
    if not near:
        return ""
    return f"; did you mean {ENV_PREFIX + near[0].upper() if upper else near[0]}?"


def child_environment() -> dict[str, str]:
    """Return this process's environment without Ponte's own variables, for a child that needs none of its secrets."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(ENV_PREFIX)}


def flag_of(name: str) -> str:
    """Return the command line flag of the setting *name*."""
    return "--" + name.replace("_", "-")
