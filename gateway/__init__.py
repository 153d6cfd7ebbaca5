"""Ponte: joins WhatsApp Web calls to SIP. docs/ARCHITECTURE.md draws the parts."""

from typing import Final

__version__: Final = "0.1.0"
