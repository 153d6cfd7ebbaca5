"""Settings of numbers: how they are dialled and shown."""

from __future__ import annotations

from pydantic import BaseModel, Field, field_validator

from gateway.domain.errors import ConfigError
from gateway.domain.numbers import CallerForm, CallerIdentity, NumberPolicy, parse_prefix_rules


class NumberSettings(BaseModel):
    """How numbers travel between the PBX and WhatsApp."""

    default_region: str = Field(
        default="BR", description="Country (ISO 3166) of numbers dialled without a country code"
    )
    area_code: str = Field(
        default="",
        description="Area code of numbers dialled without one, for example 11; empty, because a PBX usually sends it",
    )
    dial_prefixes: str = Field(
        default="",
        description="Prefixes of dialled numbers to change, as found=put separated by commas: 0= takes the 0 of an "
        "outside line off, 0015=+ turns a carrier's prefix into +. The longest that fits is applied, once; empty, "
        "because +, 00 and a carrier after 0 are understood without",
    )
    caller_form: CallerForm = Field(
        default=CallerForm.DIGITS,
        description="How a WhatsApp number is shown to the PBX: digits (5511987654321, as contact lists of most PBXes "
        "have it), e164 (+5511987654321), or national (11987654321, other countries with +)",
    )
    caller_prefixes: str = Field(
        default="", description="The same rules for that number: =0 puts a 0 before it, so that a phone can call back"
    )
    caller_identity: CallerIdentity = Field(
        default=CallerIdentity.ASSERTED,
        description="Where the PBX finds a WhatsApp caller's number: asserted (From and P-Asserted-Identity), plain "
        "(From alone, for a PBX that takes no assertions), private (P-Asserted-Identity with Privacy: id, From "
        "anonymous: the PBX knows it, its phones do not)",
    )
    blf_numbers: bool = Field(
        default=False,
        description="Tell those who watch an account (BLF, RFC 4235) who is at the other end, number and name. Off: a "
        "lamp on a desk needs neither, and every colleague's phone would show customers' numbers",
    )

    @field_validator("default_region")
    @classmethod
    def _region(cls, value: str) -> str:
        return _checked_policy(value.upper(), "").default_region

    @field_validator("area_code")
    @classmethod
    def _area_code(cls, value: str) -> str:
        return _checked_policy("BR", value).area_code

    @field_validator("dial_prefixes", "caller_prefixes")
    @classmethod
    def _prefixes(cls, value: str) -> str:
        try:
            parse_prefix_rules(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value

    @property
    def number_policy(self) -> NumberPolicy:
        """How numbers travel between the PBX and WhatsApp."""
        return NumberPolicy(
            self.default_region,
            self.area_code,
            parse_prefix_rules(self.dial_prefixes),
            self.caller_form,
            parse_prefix_rules(self.caller_prefixes),
        )


def _checked_policy(default_region: str, area_code: str) -> NumberPolicy:
    try:
        return NumberPolicy(default_region, area_code)
    except ConfigError as error:
        raise ValueError(str(error)) from None
