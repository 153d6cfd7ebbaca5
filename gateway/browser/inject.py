"""The one script that is injected (docs/ARCHITECTURE.md section 8.2), and what answers its worklet URL. Pure."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.browser.assets import Assets
from gateway.browser.ownership import Claim
from gateway.domain.errors import ConfigError

WHATSAPP: Final = "whatsapp"
SCRIPT: Final = "script"
"""The bundle's drivers: the one that knows WhatsApp Web, and the one for pages that a user's script drives."""

BINDING: Final = "__ponteEmit"
INJECTING: Final = "ponte.injecting"
INJECTED: Final = "ponte.injected"
"""Types of the events by which the script says where it begins and ends; never passed on to subscribers."""

OWNED: Final = "ponte.owned"
"""Type of the event of a script that found another gateway's in its document; not passed on either."""

LATE_MARK: Final = 'Symbol.for("ponte.late")'
"""Set on documents whose own code ran before the script did: `LATE`, or `LATE_MICROPHONE`."""
LATE: Final = "late"
LATE_MICROPHONE: Final = "microphone"
"""That code has been at the microphone already, and may hold on to what it found."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """Return the origin of *url* as the page's ``location.origin`` spells it; empty for what has none.

    Args:
        url: any URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is None or port == _DEFAULT_PORTS[parts.scheme]:
        return f"{parts.scheme}://{host}"
    return f"{parts.scheme}://{host}:{port}"


@dataclass(frozen=True, slots=True)
class Injection:
    """What one page gets.

    Attributes:
        origin: the only origin that gets it.
        source: the script for new documents.
        late_source: the same for a document that is already open.
        worklet_url: the URL that is answered with the worklet's module.
        worklet_js: that module.
        claim: whose page it is.
    """

    origin: str
    source: str
    late_source: str
    worklet_url: str
    worklet_js: bytes
    claim: Claim

    @property
    def worklet_pattern(self) -> str:
        """URL pattern for `Fetch.enable`; its special characters do not occur in the URL."""
        return self.worklet_url

    @property
    def worklet_headers(self) -> list[dict[str, str]]:
        """Headers that a cross-origin isolated page demands of its worklet."""
        return [
            {"name": "Content-Type", "value": "text/javascript; charset=utf-8"},
            {"name": "Cross-Origin-Resource-Policy", "value": "same-origin"},
            {"name": "Cross-Origin-Embedder-Policy", "value": "require-corp"},
            {"name": "Cache-Control", "value": "no-store"},
        ]


def build_injection(assets: Assets, *, url: str, driver: str = WHATSAPP, claim: Claim | None = None) -> Injection:
    """Build the script for the origin of *url*.

    Args:
        assets: the checked files of the wasm server.
        url: the page's address.
        driver: which of the bundle's drivers is to run.
        claim: whose page it is; None: a new owner's.

    Raises:
        ConfigError: *url* is not one of http or https.
    """
    claim = claim or Claim()
    origin = origin_of(url)
    if not origin:
        raise ConfigError("The page's address must be an http or https URL")
    worklet_path = f"/__ponte/{assets.worklet_js.sha256}/worklet.js"
    config = {
        "abi": assets.abi,
        "driver": driver,
        "wasm": base64.b64encode(assets.media_wasm.content).decode("ascii"),
        "workletUrl": worklet_path,
        "binding": BINDING,
        "leaseMs": round(1000 * claim.lease_s),
    }

    def script(*, late: bool) -> str:
        emit = f"globalThis[{json.dumps(BINDING)}]?.(JSON.stringify"
        # Another gateway that is attached hears it too, as long as it does not know that it lost the page.
        owner = f"owner: {json.dumps(claim.owner)}"
        # A block, not a function: a `var` at the top of a bundle is meant to be a global.
        return "\n".join(
            (
                f"if (globalThis === globalThis.top && location.origin === {json.dumps(origin)}) try {{",
                f'if (!{claim.at_start()}) {emit}({{type: "{OWNED}", {owner}}})); else {{',
                f"if (!globalThis.__ponte) globalThis[{LATE_MARK}] ??= {json.dumps(LATE)};" if late else "",
                f'{emit}({{type: "{INJECTING}", {owner}}}));',
                f"globalThis.__ponteConfig = {json.dumps(config)};",
                assets.page_js.text,
                ";",
                assets.wa_js.text if driver == WHATSAPP else "",
                ";",
                f'{emit}({{type: "{INJECTED}", {owner}}})); }}',
                "} catch (error) {",
                f'{emit}({{type: "{INJECTED}", {owner}, error: String(error && error.message || error)}}));',
                "}",
            )
        )

    return Injection(
        origin, script(late=False), script(late=True), origin + worklet_path, assets.worklet_js.content, claim
    )


def call_expression(name: str, args: tuple[object, ...]) -> str:
    """Return the expression that calls a command of the bundle and never throws.

    The call itself is made while the evaluation's user gesture holds. JSON in ASCII is JavaScript too.

    Args:
        name: command name, an identifier.
        args: what JSON can hold.

    Raises:
        ValueError: *name* is no identifier, or an argument is not finite.
        TypeError: JSON cannot hold an argument.
    """
    if not (name.isascii() and name.isidentifier()):
        raise ValueError("the name of a page command is an identifier")
    listed = ", ".join(json.dumps(arg, ensure_ascii=True, allow_nan=False) for arg in args)
    return (
        "(async () => { try { "
        'if (!globalThis.__ponte) return {error: "not_injected: the page has no bundle"}; '
        f"const value = await globalThis.__ponte.{name}({listed}); "
        "return {value: value === undefined ? null : value}; "
        "} catch (error) { return {error: String(error && error.message || error)}; } })()"
    )


def split_error(text: str) -> tuple[str, str]:
    """Return code and sentence of a page error ``code: sentence``; ``page_failed`` where there is no code."""
    code, separator, sentence = text.partition(": ")
    if separator and code.isascii() and code.isidentifier() and code.islower():
        return code, sentence
    return "page_failed", text
