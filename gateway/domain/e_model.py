"""The E-model: how good a telephone call sounds, from what was measured of it (ITU-T G.107, and G.107.1 for wide band).

The rating R goes from 0 to 93.2 in narrow band and to 129 in wide band, and is turned into a mean opinion score (MOS,
1 to 4.5) by a curve. Both are estimates of what people would say on average; no call of one's own is an average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Scale = Literal["narrow", "wide"]
"""Which rating: G.107's, whose best is 93.2, or G.107.1's, whose best is 129."""

WIDE_BEST: Final = 129.0  # R of a clean wide band call (G.107.1 clause 6.2)
WIDE_FACTOR: Final = 1.29  # G.107.1 annex A: its R is divided by this before the curve of MOS
_DELAY_FREE_MS: Final = 100.0  # mT: delay that people do not mind (G.107 table 2: delay sensitivity "default")
_MAX_LOSS_IMPAIRMENT: Final = 95.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """The planning parameters of G.107 with the defaults of its table 2.

    Attributes:
        slr: send loudness rating, dB.
        rlr: receive loudness rating, dB.
        stmr: sidetone masking rating, dB.
        lstr: listener sidetone rating, dB.
        ds: D-value of the telephone, send side.
        telr: talker echo loudness rating, dB.
        wepl: weighted echo path loss, dB.
        t_ms: mean one-way delay of the echo path.
        tr_ms: round-trip delay in the four-wire loop.
        ta_ms: absolute delay from mouth to ear.
        qdu: quantizing distortion units.
        ie: equipment impairment factor of the codec (G.113).
        bpl: packet loss robustness factor of the codec (G.113).
        ppl: packets lost, percent.
        burst_r: mean length of a run of lost packets over that of random loss; 1: random.
        nc: circuit noise at the 0 dBr point, dBm0p.
        nfor: noise floor at the receive side, dBmp.
        ps: room noise at the send side, dB(A).
        pr: room noise at the receive side, dB(A).
        advantage: what people forgive for the sake of, say, mobility.
    """

    slr: float = 8.0
    rlr: float = 2.0
    stmr: float = 15.0
    lstr: float = 18.0
    ds: float = 3.0
    telr: float = 65.0
    wepl: float = 110.0
    t_ms: float = 0.0
    tr_ms: float = 0.0
    ta_ms: float = 0.0
    qdu: float = 1.0
    ie: float = 0.0
    bpl: float = 4.3
    ppl: float = 0.0
    burst_r: float = 1.0
    nc: float = -70.0
    nfor: float = -64.0
    ps: float = 35.0
    pr: float = 35.0
    advantage: float = 0.0


@dataclass(frozen=True, slots=True)
class CodecImpairment:
    """What a codec costs.

    Attributes:
        scale: of which rating.
        ie: without loss.
        bpl: how well it bears loss.
    """

    scale: Scale
    ie: float
    bpl: float


# Wide band: G.722 has Ie 13 at 64 kbit/s. Neither it nor Opus has a Bpl there: G.722 is given G.711's, since both are
# concealed by the waveform before; Opus what listeners' scores gave for its wide band under random loss (17 to 25).
# Opus has no Ie there either: that of G.722, which it is not worse than at the bit rates of these calls.
IMPAIRMENTS: Final[Mapping[str, CodecImpairment]] = {
    "PCMU": CodecImpairment("narrow", 0.0, 25.1),  # G.113 appendix I: with concealment, which phones and Chrome have
    "PCMA": CodecImpairment("narrow", 0.0, 25.1),
    "G722": CodecImpairment("wide", 13.0, 25.1),
    "opus": CodecImpairment("wide", 13.0, 18.0),
}
"""By codec, the names of `gateway.domain.codecs`."""


def loss_impairment(ie: float, bpl: float, ppl: float, burst_r: float = 1.0) -> float:
    """Return Ie-eff, what codec and loss cost together (G.107 clause 7.5).

    Args:
        ie: of the codec.
        bpl: of the codec.
        ppl: packets lost, percent.
        burst_r: 1 for random loss.
    """
    if ppl <= 0:
        return ie
    return ie + (_MAX_LOSS_IMPAIRMENT - ie) * ppl / (ppl / max(burst_r, 1.0) + bpl)


def absolute_delay_impairment(ta_ms: float) -> float:
    """Return Idd, what delay alone costs (G.107 equation 7-27)."""
    if ta_ms <= _DELAY_FREE_MS:
        return 0.0
    x = math.log2(ta_ms / _DELAY_FREE_MS)
    return float(25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2))


def rating(parameters: Parameters = Parameters()) -> float:
    """Return the rating R of G.107; 93.2 with all defaults."""
    p = parameters
    noise = _noise(p)
    basic = 15 - 1.5 * (p.slr + noise)
    talker = _talker_echo(p, noise)
    delay = talker + _listener_echo(p, basic) + absolute_delay_impairment(p.ta_ms)
    equipment = loss_impairment(p.ie, p.bpl, p.ppl, p.burst_r)
    return basic - _simultaneous(p, basic, noise) - delay - equipment + p.advantage


def wide_rating(parameters: Parameters = Parameters()) -> float:
    """Return the rating of G.107.1 for a call whose loudness and noise are the defaults; 129 at best.

    Echo and delay cost what they do in G.107.
    """
    p = parameters
    noise = _noise(p)
    delay = _talker_echo(p, noise) + absolute_delay_impairment(p.ta_ms)
    return WIDE_BEST - delay - loss_impairment(p.ie, p.bpl, p.ppl, p.burst_r) + p.advantage


def mos(r: float) -> float:
    """Return the mean opinion score of a rating of G.107 (annex B)."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)  # the curve dips below 1 under R = 6.5


def wide_mos(r: float) -> float:
    """Return the mean opinion score of a rating of G.107.1 (annex A)."""
    return mos(r / WIDE_FACTOR)


def _power_sum(*levels_db: float) -> float:
    return 10 * math.log10(sum(10 ** (level / 10) for level in levels_db))


def _noise(p: Parameters) -> float:
    """No: all noise at the 0 dBr point, dBm0p (equations 7-3 to 7-7)."""
    olr = p.slr + p.rlr
    send_room = p.ps - p.slr - p.ds - 100 + 0.004 * (p.ps - olr - p.ds - 14) ** 2
    effective = p.pr + 10 * math.log10(1 + 10 ** ((10 - p.lstr) / 10))
    receive_room = p.rlr - 121 + effective + 0.008 * (effective - 35) ** 2
    return _power_sum(p.nc, send_room, receive_room, p.nfor + p.rlr)


def _simultaneous(p: Parameters, basic: float, noise: float) -> float:
    """Is: too loud, wrong sidetone, quantizing (equations 7-8 to 7-17)."""
    loudness = p.slr + p.rlr + 0.2 * (64 + noise - p.rlr)
    too_loud = 20 * ((1 + (loudness / 8) ** 8) ** (1 / 8) - loudness / 8)
    q = 37 - 15 * math.log10(p.qdu)
    g = 1.07 + 0.258 * q + 0.0602 * q * q
    y = (basic - 100) / 15 + 46 / 8.4 - g / 9
    z = 46 / 30 - g / 40
    quantizing = 15 * math.log10(1 + 10**y + 10**z)
    return float(too_loud + _sidetone(p) + quantizing)


def _sidetone(p: Parameters) -> float:
    masking = -10 * math.log10(10 ** (-p.stmr / 10) + math.exp(-p.t_ms / 4) * 10 ** (-p.telr / 10))
    return float(
        12 * (1 + ((masking - 13) / 6) ** 8) ** (1 / 8)
        - 28 * (1 + ((masking + 1) / 19.4) ** 35) ** (1 / 35)
        - 13 * (1 + ((masking - 3) / 33) ** 13) ** (1 / 13)
        + 29
    )


def _talker_echo(p: Parameters, noise: float) -> float:
    """Idte (equations 7-20 to 7-24), for a sidetone of the usual range."""
    if p.t_ms < 1:
        return 0.0
    masked = p.telr - 40 * math.log10((1 + p.t_ms / 10) / (1 + p.t_ms / 150)) + 6 * math.exp(-0.3 * p.t_ms**2)
    without = -1.5 * (noise - p.rlr)
    echo = 80 + 2.5 * (masked - 14)
    half = (without - echo) / 2
    return float((half + math.sqrt(half * half + 100) - 1) * (1 - math.exp(-p.t_ms)))


def _listener_echo(p: Parameters, basic: float) -> float:
    """Idle (equations 7-25 and 7-26)."""
    echo = 10.5 * (p.wepl + 7) * (p.tr_ms + 1) ** -0.25
    half = (basic - echo) / 2
    return float(half + math.sqrt(half * half + 169))
