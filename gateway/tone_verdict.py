"""Whether a test call went well: what the phone found, beside the figures of the call's record. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.codecs.tone_ear import LOUD_DBFS
from gateway.events.quality import Quality
from gateway.tone_phone import Phoned

_MOST_LOSS: Final = 0.03  # above it people hear it in G.711


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked.

    Attributes:
        check: what.
        ok: whether it is well.
        detail: what was found.
    """

    check: str
    ok: bool
    detail: str


def judge(found: Phoned, quality: Quality | None, *, silent: bool = False, echo: bool = False) -> list[Finding]:
    """Return the findings; the call went well where all of them are.

    Args:
        found: by the phone.
        quality: of the call's record; None where there is none.
        silent: nothing need be heard of WhatsApp's side.
        echo: our tone has to come back.
    """
    if found.answered_s is None:
        return [Finding("call", False, found.failure)]
    rang = f"rang after {found.rang_s:g} s, " if found.rang_s is not None else ""
    detail = f"{rang}answered after {found.answered_s:g} s"
    findings = [Finding("call", not found.failure, f"{detail}; {found.failure}" if found.failure else detail)]
    findings += [_to_whatsapp(found, quality), _packets(found), _sound(found, silent=silent)]
    if echo:
        text = "the tone did not come back" if found.echo_ms is None else f"the tone came back after {found.echo_ms} ms"
        findings.append(Finding("echo", found.echo_ms is not None, text))
    return findings


def _to_whatsapp(found: Phoned, quality: Quality | None) -> Finding:
    name = "to WhatsApp"
    if quality is None:
        return Finding(name, True, f"{found.sent} packets sent; the record has no figures of them")
    way, page_tells = quality.sip_to_wa, quality.wa_to_sip.level_dbfs is not None
    text = f"{way.packets} of {found.sent} packets came to the gateway"
    if way.delay_ms is not None:
        text += f", {way.delay_ms:g} ms to the page"
    if way.level_dbfs is not None:
        heard = f"WhatsApp's microphone hears {way.level_dbfs:g} dBFS"
        return Finding(name, way.packets > 0 and way.level_dbfs > LOUD_DBFS, f"{text}; {heard}")
    if way.packets and not page_tells:
        return Finding(name, True, f"{text}; the page did not tell what its microphone hears")
    return Finding(name, False, f"{text}; WhatsApp's microphone heard nothing")


def _packets(found: Phoned) -> Finding:
    sent = found.received + found.lost
    share = found.lost / sent if sent else 1.0
    text = f"{found.received} packets came" if sent else "no packet came; is RTP let through to this host?"
    if sent:
        text += f", {100 * share:.1f} % lost, jitter {found.jitter_ms:g} ms, {found.codec}"
    return Finding("packets", bool(sent) and share <= _MOST_LOSS, text)


def _sound(found: Phoned, *, silent: bool) -> Finding:
    if found.heard_share > 0:
        text = f"{found.heard_dbfs:g} dBFS at the loudest, sound in {100 * found.heard_share:.0f} % of the time"
        return Finding("from WhatsApp", True, text)
    return Finding("from WhatsApp", silent, "only silence was heard" + ("" if silent else "; did anybody speak?"))
