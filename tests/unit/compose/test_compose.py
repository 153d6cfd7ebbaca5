"""compose.yaml by the eyes of Debian's docker-compose, and what it names against what is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import Settings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
# Read by `ponte`; the helper's own settings begin with PONTE_HELPER_.
GATEWAY = {f"PONTE_{name.upper()}" for name in Settings.model_fields}


def config(*options: str, token: str | None = "a-long-random-text") -> subprocess.CompletedProcess[str]:
    compose = shutil.which("docker-compose")
    assert compose is not None, "docker-compose is missing (Debian's package docker-compose)"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PONTE_", "COMPOSE_"))}
    if token is not None:
        env["PONTE_HELPER_TOKEN"] = token
    return subprocess.run(
        [compose, "-f", str(ROOT / "compose.yaml"), *options, "config"],
        capture_output=True, text=True, timeout=60, env=env, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    done = config("--profile", "pbx")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


def test_the_usual_profile_has_gateway_and_chrome_and_no_pbx() -> None:
    done = config()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    running = {name for name, service in yaml.safe_load(done.stdout)["services"].items() if "profiles" not in service}
    assert running == {"gateway", "chrome"}


def test_the_pbx_is_asterisk_behind_its_profile(services: dict[str, Any]) -> None:
    assert services["pbx"]["profiles"] == ["pbx"]
    assert "asterisk" in services["pbx"]["build"]["context"]


def test_there_is_no_default_token() -> None:
    done = config(token=None)
    assert done.returncode != 0
    assert "PONTE_HELPER_TOKEN" in done.stderr


def test_both_sides_get_the_same_token(services: dict[str, Any]) -> None:
    for name in ("gateway", "chrome"):
        assert services[name]["environment"]["PONTE_HELPER_TOKEN"] == "a-long-random-text"


def test_chrome_and_helper_are_not_reachable_from_outside(services: dict[str, Any]) -> None:
    assert "ports" not in services["chrome"]
    assert not [port for port in services["gateway"]["ports"] if "9080" in str(port)]


def test_the_gateway_knows_every_setting_it_is_given(services: dict[str, Any]) -> None:
    assert set(services["gateway"]["environment"]) <= GATEWAY


def test_the_published_rtp_ports_are_those_of_the_settings(services: dict[str, Any]) -> None:
    environment = services["gateway"]["environment"]
    wanted = range(int(environment["PONTE_RTP_PORT_MIN"]), int(environment["PONTE_RTP_PORT_MAX"]) + 1)
    # Where an address of this machine is named, docker-compose gives a string.
    ports = [port for port in services["gateway"]["ports"] if isinstance(port, dict)]
    udp = {port["target"]: port["published"] for port in ports if port["protocol"] == "udp"}
    assert {port: udp.get(port) for port in wanted} == {port: port for port in wanted}


@pytest.mark.parametrize("name", ["gateway", "chrome", "pbx"])
def test_every_dockerfile_copies_what_there_is(services: dict[str, Any], name: str) -> None:
    build = services[name]["build"]
    context = Path(build["context"])
    text = (context / build.get("dockerfile", "Dockerfile")).read_text()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M):
        for source in sources.split():
            assert (context / source).exists(), source
    if name != "pbx":
        assert re.search(r"^USER (?!root)\w+", text, re.M), "runs as root"


def test_the_dockerfile_of_the_gateway_sets_known_settings() -> None:
    text = (ROOT / "docker" / "gateway.Dockerfile").read_text()
    assert set(re.findall(r"\bPONTE_\w+(?==)", text)) <= GATEWAY


def test_asterisk_gets_its_secrets_from_the_environment_only() -> None:
    text = (ROOT / "docker" / "asterisk" / "pjsip.conf.in").read_text()
    assert set(re.findall(r"^password=(.*)$", text, re.M)) == {
        "$PONTE_PBX_TRUNK_PASSWORD", "$PONTE_PBX_LISTEN_SECRET", "$PONTE_PBX_PHONE_PASSWORD",
    }  # fmt: skip
