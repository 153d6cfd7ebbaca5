"""What a watcher of an account is shown: `application/dialog-info+xml` (RFC 4235)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from gateway.domain.states import CallState, Direction
from gateway.protocol.sip.text import clean

EVENT: Final = "dialog"
DIALOG_INFO: Final = "application/dialog-info+xml"


@dataclass(frozen=True, slots=True)
class DialogView:
    """One call of an account, as a watcher sees it.

    Attributes:
        id: names the call; a watcher learns nothing else by it.
        state: ``trying``, ``early``, ``confirmed`` or ``terminated``.
        direction: ``initiator`` where the account calls, ``recipient`` where it is called.
        remote: URI of the WhatsApp side; empty: not shown.
        remote_name: its display name.
    """

    id: str
    state: str
    direction: str
    remote: str = ""
    remote_name: str = ""


_STATES: Final = {
    CallState.CREATED: "trying", CallState.CONNECTING: "trying", CallState.RINGING: "early",
    CallState.EARLY_MEDIA: "early", CallState.ACTIVE: "confirmed", CallState.ENDING: "terminated",
    CallState.ENDED: "terminated",
}  # fmt: skip


def dialog_state(direction: Direction, state: CallState) -> tuple[str, str]:
    """Return the state and the direction of RFC 4235 for a call of the account.

    A call from WhatsApp rings there before any phone of ours does, so it is never ``trying``.
    """
    shown = _STATES[state]
    if direction is Direction.WHATSAPP_TO_SIP:
        return ("early" if shown == "trying" else shown), "recipient"
    return shown, "initiator"


def write_dialog_info(entity: str, version: int, dialogs: Sequence[DialogView]) -> str:
    """Return the whole state of an account as a document.

    Always ``state="full"``: an account has one line, so there is hardly anything to leave out, and a watcher that
    missed a document is right again with the next. Without a call one dialog is shown as ``terminated``, which phones
    read more surely than an empty document.

    Args:
        entity: URI that was subscribed to.
        version: counts the documents of one subscription, from 0.
        dialogs: the account's calls.
    """
    shown = dialogs or [DialogView("none", "terminated", "")]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="{version}" state="full"'
        f" entity={quoteattr(clean(entity))}>",
        *(line for dialog in shown for line in _dialog(entity, dialog)),
        "</dialog-info>",
    ]
    return "\r\n".join(lines) + "\r\n"


def _dialog(entity: str, dialog: DialogView) -> list[str]:
    direction = f" direction={quoteattr(dialog.direction)}" if dialog.direction else ""
    lines = [f"<dialog id={quoteattr(clean(dialog.id))}{direction}>", f"<state>{escape(dialog.state)}</state>"]
    if dialog.state != "terminated":
        lines.append(f"<local><identity>{escape(clean(entity))}</identity></local>")
        if dialog.remote:
            name = f" display={quoteattr(clean(dialog.remote_name))}" if dialog.remote_name else ""
            lines.append(f"<remote><identity{name}>{escape(clean(dialog.remote))}</identity></remote>")
    return [*lines, "</dialog>"]
