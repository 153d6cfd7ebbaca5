"""docs/pbx.md: both sides of each configuration fit together, every line is explained, and every test named exists."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gateway.domain.bridge_config import BridgeConfig, merge
from gateway.sip.settings import EndpointSettings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "pbx.md").read_text()
Section = tuple[str, dict[str, str]]


def part(*headings: str) -> str:
    """The text below a heading, and below a heading in that."""
    text = TEXT
    for depth, heading in enumerate(headings, 2):
        text = text.split(f"\n{'#' * depth} {heading}", 1)[1]
        text = re.split(rf"\n#{{2,{depth}}} ", text)[0]
    return text


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def sections(text: str) -> list[Section]:
    """Sections of a configuration of Asterisk: names may come again, comments are left out."""
    found: list[Section] = []
    for raw in text.splitlines():
        line = raw.split(";", 1)[0].strip()
        if line.startswith("["):
            found.append((line.strip("[]"), {}))
        elif line:
            key, _, value = line.partition("=")
            known = found[-1][1]
            known[key.strip()] = "\n".join(filter(None, (known.get(key.strip()), value.lstrip(">").strip())))
    return found


def of_type(found: list[Section], kind: str, name: str | None = None) -> dict[str, str]:
    matching = [one for title, one in found if one.get("type") == kind and name in {None, title}]
    assert len(matching) == 1, (kind, name)
    return matching[0]


@dataclass(frozen=True)
class Setup:
    """One way to connect: the PBX's files and Ponte's body."""

    text: str

    @property
    def body(self) -> BridgeConfig:
        (one,) = blocks(self.text, "json")
        return merge(BridgeConfig(), json.loads(one))


def host_and_port(address: str | None) -> tuple[str, int]:
    host, _, port = (address or "").removeprefix("sip:").partition(":")
    return host, int(port)


ASTERISK = {name: Setup(part("Asterisk (chan_pjsip)", name)) for name in ("Registration", "Trunk")}
FREESWITCH = {name: Setup(part("FreeSWITCH (mod_sofia)", name)) for name in ("Registration", "Trunk")}
FREESWITCH_SHARED = part("FreeSWITCH (mod_sofia)").split("\n### ")[0]


@pytest.mark.parametrize("setup", [*ASTERISK.values(), *FREESWITCH.values()])
def test_the_body_is_taken(setup: Setup) -> None:
    body = setup.body
    assert body.enabled
    assert (body.sip_listen_user, body.sip_listen_secret) == ("incoming_user", "incomingSecret123")
    assert body.sip_extension == "1000"


@pytest.mark.parametrize("setup", ASTERISK.values(), ids=ASTERISK)
def test_asterisk_answers_what_ponte_asks(setup: Setup) -> None:
    found, body = sections(blocks(setup.text, "ini")[0]), setup.body
    endpoint = of_type(found, "endpoint")
    out = of_type(found, "auth", endpoint["outbound_auth"])
    assert (out["username"], out["password"]) == (body.sip_listen_user, body.sip_listen_secret)
    assert host_and_port(of_type(found, "transport")["bind"])[1] == host_and_port(body.sip_server)[1]


def test_ponte_registers_with_asterisk() -> None:
    setup = ASTERISK["Registration"]
    found, body = sections(blocks(setup.text, "ini")[0]), setup.body
    # Asterisk finds the endpoint by Authorization's user, and the bindings by To's: all have one name
    assert body.sip_user is not None
    endpoint = of_type(found, "endpoint", body.sip_user)
    assert "auth_username" in endpoint["identify_by"].split(",")
    assert "auth_username" in of_type(found, "global")["endpoint_identifier_order"].split(",")
    assert (endpoint["aors"], of_type(found, "aor", body.sip_user)["max_contacts"]) == (body.sip_user, "1")
    auth = of_type(found, "auth", endpoint["auth"])
    assert (auth["username"], auth["password"]) == (body.sip_user, body.sip_pass)


def test_asterisk_knows_the_trunk_by_its_address() -> None:
    setup = ASTERISK["Trunk"]
    found, body = sections(blocks(setup.text, "ini")[0]), setup.body
    assert not body.sip_user
    host, port = host_and_port(of_type(found, "aor")["contact"])
    assert port == body.sip_listen_port
    assert of_type(found, "identify")["match"] == host
    assert "auth" not in of_type(found, "endpoint")


def test_the_image_of_asterisk_has_the_configuration_of_the_docs() -> None:
    pjsip, extensions = (sections(one) for one in blocks(ASTERISK["Registration"].text, "ini"))
    folder = ROOT / "docker" / "asterisk"
    text = (folder / "pjsip.conf.in").read_text()
    body = ASTERISK["Registration"].body
    for name, value in (("TRUNK_PASSWORD", body.sip_pass), ("LISTEN_SECRET", body.sip_listen_secret)):
        text = text.replace(f"$PONTE_PBX_{name}", value or "")
    assert [one for one in sections(text) if one[0] != "1000"] == pjsip
    assert sections((folder / "extensions.conf").read_text()) == extensions


def elements(text: str, tag: str) -> list[ElementTree.Element]:
    return [found for one in blocks(text, "xml") for found in ElementTree.fromstring(one).iter(tag)]


def params(element: ElementTree.Element) -> dict[str, str]:
    return {one.attrib["name"]: one.attrib["value"] for one in element.iter() if one.tag in {"param", "variable"}}


def test_freeswitch_answers_what_ponte_asks() -> None:
    (gateway,) = elements(FREESWITCH_SHARED, "gateway")
    given = params(gateway)
    for setup in FREESWITCH.values():
        body = setup.body
        assert (given["username"], given["password"]) == (body.sip_listen_user, body.sip_listen_secret)
        assert host_and_port(given["proxy"])[1] == body.sip_listen_port
    assert given["realm"] == EndpointSettings(server=None).realm
    assert any(f"sofia/gateway/{gateway.attrib['name']}/" in one.attrib.get("data", "")
               for one in elements(FREESWITCH_SHARED, "action"))  # fmt: skip


def test_ponte_registers_with_freeswitch() -> None:
    setup = FREESWITCH["Registration"]
    (user,), (context,) = elements(setup.text, "user"), elements(setup.text, "context")
    given = params(user)
    assert (user.attrib["id"], given["password"]) == (setup.body.sip_user, setup.body.sip_pass)
    assert given["user_context"] == context.attrib["name"]


def test_freeswitch_knows_the_trunk_by_its_address() -> None:
    setup = FREESWITCH["Trunk"]
    (gateway,) = elements(FREESWITCH_SHARED, "gateway")
    host, _ = host_and_port(params(gateway)["proxy"])
    fields = {one.attrib["field"]: one.attrib["expression"] for one in elements(setup.text, "condition")}
    assert re.search(fields["network_addr"], host)
    assert not re.search(fields["network_addr"], "192.0.2.100")


@pytest.mark.parametrize("setup", FREESWITCH.values(), ids=FREESWITCH)
def test_freeswitch_has_the_extension(setup: Setup) -> None:
    fields = {one.attrib["field"]: one.attrib["expression"] for one in elements(setup.text, "condition")}
    assert re.search(fields["destination_number"], setup.body.sip_extension or "")


def test_freeswitch_takes_numbers_with_and_without_plus() -> None:
    (condition,) = elements(FREESWITCH_SHARED, "condition")
    for number in ("5511987654321", "+5511987654321"):
        found = re.search(condition.attrib["expression"], number)
        assert found is not None
        assert found[1] == "5511987654321"
    assert not re.search(condition.attrib["expression"], "1000")


def explained(pbx: str) -> set[str]:
    rows = [line for line in part(f"Line by line: {pbx}").splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])}


def test_every_line_of_asterisks_files_is_explained() -> None:
    written = {
        key for setup in ASTERISK.values() for one in blocks(setup.text, "ini") for _, keys in sections(one)
        for key in keys
    }  # fmt: skip
    assert written - explained("Asterisk") == set()


def test_every_line_of_freeswitchs_files_is_explained() -> None:
    written: set[str] = set()
    for text in (FREESWITCH_SHARED, *(setup.text for setup in FREESWITCH.values())):
        for name, attribute in (("param", "name"), ("variable", "name"), ("condition", "field"),
                                ("action", "application")):  # fmt: skip
            written |= {one.attrib[attribute] for one in elements(text, name)}
        written |= {name for name in ("gateway", "user", "context", "params", "variables") if elements(text, name)}
        written |= {one.attrib["data"].partition("=")[0] for one in elements(text, "action")
                    if one.attrib["application"] == "set"}  # fmt: skip
    assert written - explained("FreeSWITCH") == set()


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    there = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named - there == set()
    assert len(named) > 8
