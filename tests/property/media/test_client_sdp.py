"""Descriptions of WebRTC clients, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import RemoteProtocolError
from gateway.media.client_sdp import NOWHERE, OwnTransport, put_on, take_off
from gateway.protocol.sdp import SdpSession, parse_sdp
from tests.unit.media.test_client_sdp import AUDIO, VIDEO, chrome

pytestmark = pytest.mark.property

OWN = OwnTransport("ufra", "p" * 22, ("sha-256", "AB"), ["a 1 udp 1 192.0.2.9 30000 typ host"], "active", 77, "me")
LINES = chrome(AUDIO, VIDEO, bundle="0 1").splitlines()
NOISE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40)


def answered(text: str) -> None:
    try:
        plain, _ = take_off(text)
        answer, _ = SdpSession(1).answer_offer(plain, NOWHERE)
    except RemoteProtocolError:
        return
    offered, written = parse_sdp(text).media, parse_sdp(str(put_on(answer, OWN, "UDP/TLS/RTP/SAVPF"))).media
    assert [one.media for one in written] == [one.media for one in offered]
    assert sum(one.port != 0 for one in written) == 1


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    answered(text)


@given(
    st.lists(
        st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from(["drop", "double", "noise", "cut"]), NOISE),
        max_size=6,
    )
)
def test_an_offer_with_damage(damage: list[tuple[int, str, str]]) -> None:
    lines = list(LINES)
    for place, kind, noise in damage:
        at = place % len(lines)
        if kind == "drop" and len(lines) > 1:
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "cut":
            lines[at] = lines[at][: len(noise)]
        else:
            lines[at] = lines[at].partition(":")[0] + ":" + noise
    answered("\r\n".join(lines) + "\r\n")
