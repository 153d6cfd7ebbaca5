"""Who drives a page: a mark in its document, so that two gateways never put their bundles into the same page.

Checking and setting the mark is one evaluation, which nothing can come between. It is renewed while its owner lives,
and holds for `Claim.lease_s` after that; an owner that is attached to the page no more is dead at once. A page that is
still to be loaded is told by its address, see `OPENING_URL`.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Final

OWNER_MARK: Final = 'Symbol.for("ponte.owner")'

OPENING_URL: Final = "about:blank#ponte"
"""What a page shows between being opened and being sent to its address, and the first page of a node helper's Chrome.

Whoever opens one lists the pages after that, and gives way where another one is being opened or is open: of two
gateways that do this at the same time at most one should find itself alone. It looks again when its page has loaded.
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A gateway's claim to a page.

    Attributes:
        owner: whose; the page may read it, so it says nothing of the gateway.
        refresh_s: between renewals.
        lease_s: for how long a claim holds that is not renewed. Four renewals: a page's main thread may be busy for
            seconds, and a gateway's machine too.
    """

    owner: str = field(default_factory=lambda: secrets.token_hex(8))
    refresh_s: float = 5.0
    lease_s: float = 20.0

    def take(self, max_age_s: float) -> str:
        """Return the expression that takes the page, and tells who has it: us, or the id of another owner.

        Args:
            max_age_s: a claim of another owner that was renewed within this time stands.
        """
        return (
            f"(() => {{ const mark = globalThis[{OWNER_MARK}]; const now = performance.now(); "
            f"if (mark && mark.id !== {json.dumps(self.owner)} && now - mark.at <= {1000 * max_age_s:.0f}) "
            f"return mark.id; {self._set()} return {json.dumps(self.owner)}; }})()"
        )

    def renew(self, origin: str) -> str:
        """Return the expression that renews the claim, and tells whether the page is still ours."""
        return (
            f"(() => {{ if (location.origin !== {json.dumps(origin)}) return true; "
            f"const mark = globalThis[{OWNER_MARK}]; "
            f"if (mark && mark.id !== {json.dumps(self.owner)}) return false; "
            f"const now = performance.now(); {self._set()} return true; }})()"
        )

    def release(self) -> str:
        """Return the expression that gives the page up."""
        return f"if (globalThis[{OWNER_MARK}]?.id === {json.dumps(self.owner)}) delete globalThis[{OWNER_MARK}];"

    def at_start(self) -> str:
        """Return a JavaScript condition that takes a new document, and holds where no other owner was first."""
        mark = f"globalThis[{OWNER_MARK}]"
        return (
            f"((mark, now) => {{ if (mark && mark.id !== {json.dumps(self.owner)}) return false; {self._set()} "
            f"return true; }})({mark}, performance.now())"
        )

    def _set(self) -> str:
        # Not enumerable: a page that looks through its globals has no use for it.
        return (
            f"Object.defineProperty(globalThis, {OWNER_MARK}, "
            f"{{value: {{id: {json.dumps(self.owner)}, at: now}}, configurable: true}});"
        )
