"""How one direction of a call sounded, by what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.domain.e_model import IMPAIRMENTS, Parameters, Scale, mos, rating, wide_mos, wide_rating

PACKET_MS: Final = 20.0  # sound waits until its packet is full
LEAST_BUFFER_MS: Final = 20.0  # a phone's jitter buffer holds a packet at least
BUFFER_PER_JITTER: Final = 2.0  # and grows with the jitter: what is later than twice its mean is rare


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a direction.

    Attributes:
        codec: a name of `gateway.domain.codecs`; None where none was agreed on.
        sent: packets that its sender sent, as far as their numbers tell.
        lost: of these, how many the listener's end did not get.
        loss_runs: holes that they left; 0: not known.
        seconds: that it was listened to.
        concealed_ms: sound that the listener's end made up, where it says so.
        delay_ms: from mouth to ear; None where it is not known.
    """

    codec: str | None
    sent: int
    lost: int
    loss_runs: int = 0
    seconds: float = 0.0
    concealed_ms: float | None = None
    delay_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """How it sounded.

    Attributes:
        mos: mean opinion score, 1 to 4.5, by the E-model.
        r: the rating behind it, of the scale.
        scale: narrow band (G.107, 93.2 at best) or wide band (G.107.1, 129).
        loss_percent: of the sound, lost or made up.
        burst_r: mean length of a run of lost packets over that of random loss.
    """

    mos: float
    r: float
    scale: Scale
    loss_percent: float
    burst_r: float


def judge(measured: Measured) -> Judgement | None:
    """Return how a direction sounded; None where there was nothing to hear."""
    impairment = IMPAIRMENTS.get(measured.codec or "")
    if impairment is None or measured.sent <= 0:
        return None
    lost = min(1.0, max(0, measured.lost) / measured.sent)
    concealed = 0.0
    if measured.concealed_ms is not None and measured.seconds > 0:
        concealed = min(1.0, measured.concealed_ms / 1000 / measured.seconds)
    burst_r = 1.0
    if measured.loss_runs and lost < 1:
        burst_r = max(1.0, measured.lost / measured.loss_runs * (1 - lost))  # random loss has runs of 1 / (1 - p)
    delay_ms = measured.delay_ms or 0.0
    parameters = Parameters(
        ie=impairment.ie, bpl=impairment.bpl, ppl=100 * max(lost, concealed), burst_r=burst_r,
        t_ms=delay_ms, ta_ms=delay_ms, tr_ms=2 * delay_ms,
    )  # fmt: skip
    wide = impairment.scale == "wide"
    r = max(0.0, wide_rating(parameters) if wide else rating(parameters))
    return Judgement(
        mos=round(wide_mos(r) if wide else mos(r), 2),
        r=round(r, 1),
        scale=impairment.scale,
        loss_percent=round(parameters.ppl, 2),
        burst_r=round(burst_r, 2),
    )


def delay_ms(round_trips_ms: tuple[float | None, ...], buffer_ms: float | None, jitter_ms: float) -> float | None:
    """Return the delay of one direction from the page's loudspeaker to the phone's, or back.

    Args:
        round_trips_ms: of each network on the way; half of it is one way.
        buffer_ms: how long sound waits at the listener's end; None: by the jitter, as phones do.
        jitter_ms: of what the listener's end gets.

    Returns:
        None where no network's round trip is known.
    """
    known = [trip for trip in round_trips_ms if trip is not None]
    if not known:
        return None
    if buffer_ms is None:
        buffer_ms = max(LEAST_BUFFER_MS, BUFFER_PER_JITTER * jitter_ms)
    return round(PACKET_MS + sum(known) / 2 + buffer_ms, 1)
