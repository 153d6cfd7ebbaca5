"""The phone that the page is linked to: its QR codes, its codes to type, and which profile it knows."""

from __future__ import annotations

import base64
import secrets
import string
import time
from dataclasses import dataclass, field

from tests.standin.lines import NotNow
from tests.standin.schemas import Settings

ALPHABET = "".join(sorted(set(string.digits + string.ascii_uppercase) - set("01IOUV")))


@dataclass(slots=True)
class Linking:
    """What a page without a login waits for.

    Attributes:
        device: the profile that the phone is linked to; None: whichever comes first.
        ref: the changing part of the QR code; None once WhatsApp stopped making codes.
        codes: codes to type, by the profile that asked for one.
        phone_online: whether the phone can do anything at all.
    """

    device: str | None = None
    ref: str | None = None
    codes: dict[str, str] = field(default_factory=dict)
    phone_online: bool = True
    _left: int = 0
    _since_s: float = 0.0

    def begin(self, settings: Settings) -> None:
        """Make the first of a row of codes."""
        self._left = settings.qr_codes
        self._next()

    def rotate(self, settings: Settings) -> bool:
        """Make the next code when it is time; whether the code changed."""
        if self.ref is None or time.monotonic() - self._since_s < settings.qr_rotate_ms / 1000:
            return False
        self._next()
        return True

    def _next(self) -> None:
        self.ref = f"2@{secrets.token_urlsafe(120)}" if self._left > 0 else None
        self._left -= 1
        self._since_s = time.monotonic()

    def scan(self, text: str) -> str:
        """Scan a QR code; returns the profile whose page shows it.

        Raises:
            NotNow: the phone is offline, or the code is not the one that is shown now.
        """
        self._need_phone()
        parts = text.split(",")
        if len(parts) != 4 or parts[0] != self.ref:
            raise NotNow("The code is not valid any more.")
        return base64.b64decode(parts[3]).decode()

    def ask_code(self, device: str) -> str:
        """Return a new code to type for that profile."""
        letters = [secrets.choice(ALPHABET) for _ in range(8)]
        self.codes[device] = "".join(letters)
        return self.codes[device]

    def type_code(self, text: str) -> str:
        """Type a code into the phone; returns the profile that showed it.

        Raises:
            NotNow: the phone is offline, or no page shows this code.
        """
        self._need_phone()
        for device, code in self.codes.items():
            if code == text.replace("-", "").upper():
                return device
        raise NotNow("No page shows this code.")

    def _need_phone(self) -> None:
        if not self.phone_online:
            raise NotNow("The phone is offline.")
