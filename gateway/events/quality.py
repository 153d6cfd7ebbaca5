"""The figures of a call's audio, as the API, the events and the records show them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DirectionQuality(BaseModel):
    """The audio of one direction."""

    model_config = ConfigDict(frozen=True)

    packets: int = Field(description="RTP packets that came")
    lost: int = Field(description="Packets that never came, by their sequence numbers")
    jitter_ms: float = Field(description="Of their arrival (RFC 3550)")
    dropped: int = Field(description="Packets that came and were not passed on")
    keys: int = Field(description="Telephone keys")
    mos: float | None = Field(
        default=None,
        description="Mean opinion score by the E-model (ITU-T G.107, G.107.1), 1 to 4.5; null where nothing was heard",
    )
    r: float | None = Field(default=None, description="The rating behind it: 93.2 at best in narrow band, 129 in wide")
    scale: Literal["narrow", "wide"] | None = Field(
        default=None, description="Narrow band (G.711) or wide band (G.722, Opus): scores of the two are not comparable"
    )
    loss_percent: float | None = Field(
        default=None, description="Of the sound, lost on the whole way or made up by the listener's end"
    )
    burst_r: float | None = Field(
        default=None, description="How much longer runs of lost packets were than by chance; 1: random"
    )
    delay_ms: float | None = Field(
        default=None,
        description="From the page to the phone's loudspeaker, or back: measured networks and buffers, and 20 ms for "
        "the packet; without WhatsApp's own way. null where neither side told a round trip",
    )
    level_dbfs: float | None = Field(
        default=None, description="Mean level while somebody spoke, as the page hears it; null where it does not tell"
    )
    concealed_ms: float | None = Field(
        default=None, description="Sound that the page made up since it did not come; null where it does not tell"
    )


class Quality(BaseModel):
    """Figures of a call's audio."""

    model_config = ConfigDict(frozen=True)

    codec: str | None = Field(description="Towards the SIP side")
    wa_to_sip: DirectionQuality
    sip_to_wa: DirectionQuality
    round_trip_ms: float | None = Field(description="To the SIP peer and back, by its RTCP; null before it said")
    page_round_trip_ms: float | None = Field(default=None, description="To the page and back, by its RTCP")
    peer_lost: int = Field(description="Of our packets, as the SIP peer says")
    peer_jitter_ms: float = Field(description="Of our packets, as the SIP peer says")
    page_lost: int = Field(default=0, description="Of our packets, as the page says")
    page_jitter_ms: float = Field(default=0.0, description="Of our packets, as the page says")
    late_ms: float = Field(default=0.0, description="How late packets were taken from the network, on average")
