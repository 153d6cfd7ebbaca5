"""What can be tuned about the way to Chrome, with units and reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.browser.allow import AllowList


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How HTTP requests to Chrome, the node helper and the wasm server are made.

    Attributes:
        allow: what may be connected to beside loopback and private networks.
        connect_timeout_s: for name resolution and for TCP with TLS, each; a LAN answers in milliseconds.
        timeout_s: for a whole small request.
        max_body_bytes: of a JSON answer; a Chrome with a hundred tabs answers 100 kB.
        ca_file: certificates to trust instead of the system's, for https and wss.
    """

    allow: AllowList = field(default_factory=AllowList)
    connect_timeout_s: float = 5.0
    timeout_s: float = 10.0
    max_body_bytes: int = 4 * 1024 * 1024
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class BrowserSettings:
    """How the CDP connection is made and held.

    Attributes:
        http: how the endpoint is asked and checked.
        backoff_min_s: pause after the first failed connect; Chrome restarts in about a second.
        backoff_max_s: cap of the pause; a Chrome that is back is found within this time.
        recovery_s: for so long after a connection was lost the pause is capped at `recovery_max_s`: a helper starts its
            Chrome again in one to three seconds, and calls wait for it.
        recovery_max_s: that cap.
        backoff_jitter: share of each pause that is random, so that many gateways do not come at once.
        keepalive_s: seconds of silence after which Chrome is asked for its version: a half-open TCP connection gives
            no other sign.
        keepalive_timeout_s: how long that answer may take before the connection counts as dead.
        max_message_bytes: of one CDP message. The bundle is 600 kB, a screenshot a few MB.
        max_pending: commands under way at a time; more means that the page does not answer any more.
        on_answer: told of each command that Chrome answered, or did not in time: its method, and after what time (s).
    """

    http: HttpSettings = field(default_factory=HttpSettings)
    backoff_min_s: float = 0.25
    backoff_max_s: float = 10.0
    recovery_s: float = 30.0
    recovery_max_s: float = 0.5
    backoff_jitter: float = 0.3
    keepalive_s: float = 10.0
    keepalive_timeout_s: float = 10.0
    max_message_bytes: int = 64 * 1024 * 1024
    max_pending: int = 512
    on_answer: Callable[[str, float], None] = lambda method, seconds: None
