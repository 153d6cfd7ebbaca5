"""Process settings: where they come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.accounts.service import rtpengine_settings
from gateway.accounts.sip_side import stack_settings
from gateway.config import Settings, child_environment, load_settings
from gateway.domain.errors import ConfigError
from gateway.sip.tls import TlsSettings

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.upper().startswith("PONTE_"):
            monkeypatch.delenv(name)


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ponte.toml"
    file.write_text('api_port = 1001\nwasm_port = 1002\nrtp_port_min = 1003\nallow_hosts = ["chrome", "10.0.0.0/8"]\n')
    monkeypatch.setenv("PONTE_API_PORT", "2001")
    monkeypatch.setenv("PONTE_WASM_PORT", "2002")
    found = load_settings({"api_port": "3001", "default_region": None}, config_file=file)
    assert (found.api_port, found.wasm_port, found.rtp_port_min, found.rtp_port_max) == (3001, 2002, 1003, 30999)
    assert found.allow_hosts == ("chrome", "10.0.0.0/8")
    monkeypatch.setenv("PONTE_CONFIG", str(file))
    assert load_settings().rtp_port_min == 1003


def test_every_default_explains_itself() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_safe_defaults() -> None:
    found = load_settings()
    assert (found.api_host, found.api_port, found.wasm_host, found.wasm_port) == ("127.0.0.1", 8080, "127.0.0.1", 9080)
    assert found.allow_hosts == ()
    assert found.default_region == "BR"
    assert found.effective_database_url == f"sqlite:///{found.state_dir}/ponte.db"


def test_lists_and_empty_values_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONTE_ALLOW_HOSTS", " 203.0.113.0/24, chrome ,")
    monkeypatch.setenv("PONTE_PUBLIC_ADDRESS", "")
    monkeypatch.setenv("PONTE_API_PORT", "")
    found = load_settings()
    assert (found.allow_hosts, found.public_address, found.api_port) == (("203.0.113.0/24", "chrome"), "", 8080)


def test_unknown_names_are_errors_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="bogus"):
        load_settings({"bogus": 1})
    file = tmp_path / "ponte.toml"
    file.write_text("api_prot = 1\n")
    with pytest.raises(ConfigError, match="did you mean api_port"):
        load_settings(config_file=file)
    monkeypatch.setenv("PONTE_API_PROT", "1")
    with pytest.raises(ConfigError, match="did you mean PONTE_API_PORT"):
        load_settings()


def test_variables_of_the_projects_other_programs_are_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PONTE_HELPER_CDP_PORT", "PONTE_HELPER_TOKEN", "PONTE_API_KEY", "PONTE_STANDIN_CONTROL_PORT"):
        monkeypatch.setenv(name, "x")
    found = load_settings()
    assert found.helper_token is not None
    assert found.helper_token.get_secret_value() == "x"


def test_each_media_worker_needs_a_pair_of_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONTE_RTP_PORT_MIN", "30001")
    monkeypatch.setenv("PONTE_RTP_PORT_MAX", "30006")
    monkeypatch.setenv("PONTE_MEDIA_WORKERS", "2")
    assert load_settings().media_workers == 2
    monkeypatch.setenv("PONTE_MEDIA_WORKERS", "3")
    with pytest.raises(ConfigError, match="media_workers"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wasm_port", "0"), ("api_port", "65536"), ("api_port", "http"), ("default_region", "XX"),
        ("log_format", "xml"),
        ("allow_hosts", "10.0.0.0/33"), ("allow_hosts", "a b"), ("api_host", "a b"), ("page_url", "web.whatsapp.com"),
        ("ring_timeout_s", "0"), ("shutdown_grace_s", "-1"), ("rtp_port_min", "30999"), ("database_timeout_s", "nan"),
        ("local_chrome_flags", "--x='y"), ("area_code", "+11"), ("dial_prefixes", "0"), ("caller_prefixes", "=0,=1"),
        ("media_workers", "-1"), ("media_workers", "65"),
        ("caller_form", "pretty"), ("caller_identity", "public"), ("sip_session_expires_s", "89"),
    ],
)  # fmt: skip
def test_bad_values_are_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({name: value})
    assert name in str(caught.value)
    assert caught.value.http_status == 400


def test_a_secret_is_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONTE_SECRET_KEY", "hunter2")
    found = load_settings()
    assert "hunter2" not in repr(found) + str(found) + found.model_dump_json()


def test_children_get_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONTE_SECRET_KEY", "hunter2")
    monkeypatch.setenv("SOMETHING_ELSE", "stays")
    found = child_environment()
    assert "hunter2" not in found.values()
    assert found["SOMETHING_ELSE"] == "stays"


@pytest.mark.parametrize("content", [b"api_port = ", b"\xff", None])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ponte.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ponte\.toml"):
        load_settings(config_file=file)


def test_sip_over_tls_and_websocket(tmp_path: Path) -> None:
    found = stack_settings(load_settings())
    assert (found.tls_port, found.ws_port, found.wss_port) == (None, None, None)
    pem = str(tmp_path / "own.pem")
    flags = {"sip_tls_port": "5061", "sip_wss_port": "8443", "sip_ws_port": "8088", "sip_tls_certificate": pem,
             "sip_tls_key": pem, "sip_ca_file": pem, "sip_tls_verify_clients": "true",
             "sip_host": "127.0.0.1"}  # fmt: skip
    settings = load_settings(flags)
    found = stack_settings(settings)
    assert (found.tls_port, found.ws_port, found.wss_port, found.shared_host) == (5061, 8088, 8443, "127.0.0.1")
    assert found.tls == TlsSettings(pem, pem, pem, True)
    quiet = stack_settings(settings, listen=False)
    assert (quiet.tls_port, quiet.ws_port, quiet.wss_port, quiet.tls) == (None, None, None, found.tls)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"sip_tls_port": 5061}, "sip_tls_port needs sip_tls_certificate"),
        ({"sip_wss_port": 8443}, "sip_wss_port needs sip_tls_certificate"),
        ({"sip_ws_port": 5061, "sip_tls_port": 5061, "sip_tls_certificate": "x"}, "must differ"),
        ({"sip_ws_path": "ws"}, "sip_ws_path"),
        ({"sip_ws_origins": "phone.example.com"}, "sip_ws_origins"),
        ({"sip_ws_origins": "https://phone.example.com/page"}, "sip_ws_origins"),
        ({"webrtc_addresses": "10.0.0.1,eth0"}, "webrtc_addresses"),
        ({"rtpengine": "tcp:127.0.0.1:2223"}, "rtpengine"),
        ({"rtpengine": "udp:127.0.0.1"}, "rtpengine"),
        ({"rtpengine_keys": "127.0.0.1"}, "rtpengine_keys"),
        ({"rtpengine_interfaces": "one"}, "rtpengine_interfaces"),
    ],
)
def test_listeners_that_cannot_be(flags: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_settings(flags)


def test_an_rtpengine_as_it_is_set() -> None:
    found = rtpengine_settings(load_settings({"media": "rtpengine"}))
    assert (found.host, found.port, found.key_log) == ("127.0.0.1", 2223, None)
    flags = {
        "media": "rtpengine", "rtpengine": "udp:[2001:db8::1]:22222", "rtpengine_keys": "10.0.0.1:2224",
        "rtpengine_interfaces": "pages, sip", "srtp": "offer", "codecs": "PCMA",
    }  # fmt: skip
    found = rtpengine_settings(load_settings(flags))
    assert (found.host, found.port, found.key_log) == ("2001:db8::1", 22222, ("10.0.0.1", 2224))
    assert (found.interfaces.page, found.interfaces.sip) == ("pages", "sip")
    assert (found.offer_srtp, found.codecs) == (True, ("PCMA",))
