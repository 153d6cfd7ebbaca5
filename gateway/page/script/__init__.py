"""Calls of any web client, driven by a user's own Playwright script (docs/script-driver.md)."""

from gateway.page.script.driver import ScriptDriver
from gateway.page.script.events import ScriptEvents
from gateway.page.script.loader import Script, load_script

__all__ = ["Script", "ScriptDriver", "ScriptEvents", "load_script"]
