"""How numbers are read from the PBX and shown to it: prefixes, region, the form of the caller's number."""

from __future__ import annotations

import enum
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

import phonenumbers

from gateway.domain.errors import ConfigError
from gateway.domain.phone import dialled_text, e164_digits, national_digits

_PREFIX: Final = re.compile(r"[0-9+*#]{0,16}")
_PUT: Final = re.compile(r"\+?[0-9]{0,16}|[*#0-9]{0,16}")
_AREA_CODE: Final = re.compile(r"[0-9]{0,6}")
_MOST_RULES: Final = 64
_MOST_NAME: Final = 64  # characters; phones show 20 to 30, and some cut a header at 100 bytes


class CallerForm(enum.StrEnum):
    """How a WhatsApp number is written towards the PBX."""

    DIGITS = "digits"
    """``5511987654321``."""
    E164 = "e164"
    """``+5511987654321``."""
    NATIONAL = "national"
    """``11987654321`` for numbers of the default region, ``+`` and all digits for those of others."""


@dataclass(frozen=True, slots=True)
class PrefixRule:
    """A number that begins with *found* gets *put* in its place; an empty *found* fits every number."""

    found: str
    put: str


def parse_prefix_rules(text: str, field: str | None = None) -> tuple[PrefixRule, ...]:
    """Read rules written as ``found=put``, separated by commas.

    Args:
        text: for example ``0=`` (take the outside line's 0 off) or ``0=,0015=+`` (and turn a carrier's prefix into +).
        field: name of the setting, for the error.

    Raises:
        ConfigError: a rule is malformed, comes twice, or there are too many; the sentence names it.
    """
    rules: dict[str, PrefixRule] = {}
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        found, equals, put = (part.strip() for part in item.partition("="))
        if not equals:
            raise ConfigError(f"the prefix rule {item!r} has no '=': write found=put, for example 0= or 00=+", field)
        if not _PREFIX.fullmatch(found) or "+" in found[1:]:
            raise ConfigError(f"the prefix rule {item!r} looks for something else than up to 16 of 0-9 + * #", field)
        if not _PUT.fullmatch(put):
            raise ConfigError(f"the prefix rule {item!r} puts something else than + and up to 16 digits", field)
        if found == put:
            raise ConfigError(f"the prefix rule {item!r} changes nothing", field)
        if found in rules:
            raise ConfigError(f"the prefix {found!r} has two rules", field)
        rules[found] = PrefixRule(found, put)
    if len(rules) > _MOST_RULES:
        raise ConfigError(f"there are more than {_MOST_RULES} prefix rules", field)
    return tuple(rules.values())


def rewrite(text: str, rules: tuple[PrefixRule, ...]) -> str:
    """Apply the rule with the longest fitting prefix, once; without one *text* stays as it is."""
    fitting = [rule for rule in rules if text.startswith(rule.found)]
    if not fitting:
        return text
    rule = max(fitting, key=lambda one: len(one.found))
    return rule.put + text[len(rule.found) :]


@dataclass(frozen=True, slots=True)
class NumberPolicy:
    """How numbers travel between a PBX and WhatsApp.

    Attributes:
        default_region: ISO 3166 code of two letters: country of numbers that are dialled without one.
        area_code: put before numbers that are dialled without one; empty: none is.
        dial_prefixes: applied to what the PBX dials, before it is read as a number.
        caller_form: how the number of a WhatsApp caller is written.
        caller_prefixes: applied to that, so that calling back goes the right way.

    Raises:
        ConfigError: the region or the area code is none.
    """

    default_region: str = "BR"
    area_code: str = ""
    dial_prefixes: tuple[PrefixRule, ...] = ()
    caller_form: CallerForm = CallerForm.DIGITS
    caller_prefixes: tuple[PrefixRule, ...] = ()

    def __post_init__(self) -> None:
        if self.default_region not in phonenumbers.SUPPORTED_REGIONS:
            raise ConfigError("must be a country code of two letters, for example BR", "default_region")
        if not _AREA_CODE.fullmatch(self.area_code):
            raise ConfigError("must be up to six digits, for example 11", "area_code")

    def dialled(self, user: str) -> str | None:
        """Return the E.164 digits that the user part of a Request-URI dials, or None where it holds no number.

        A number with a global ``phone-context`` is complete and is left alone by the rules. Brazil's ninth digit is
        neither added nor taken away: WhatsApp looks up both forms itself.
        """
        text, context = dialled_text(user)
        if not text:
            return None
        if context is not None and not text.startswith("+"):
            return e164_digits("+" + context + text, self.default_region)
        return e164_digits(rewrite(text, self.dial_prefixes), self.default_region, self.area_code)

    def presented(self, phone: str | None) -> str:
        """Return the user part that shows a WhatsApp number to the PBX; empty where the number is not known.

        Args:
            phone: E.164 digits without the plus.
        """
        if not phone:
            return ""
        text = phone if self.caller_form is CallerForm.DIGITS else "+" + phone
        if self.caller_form is CallerForm.NATIONAL:
            text = national_digits(phone, self.default_region) or text
        return rewrite(text, self.caller_prefixes)


def presented_name(name: str | None) -> str:
    """Return a WhatsApp name as a display name: one line, printable, composed (NFC), not longer than phones show."""
    composed = unicodedata.normalize("NFC", (name or "").encode("utf-8", "ignore").decode())
    printable = "".join(char if char.isprintable() else " " for char in composed)
    return " ".join(printable.split())[:_MOST_NAME].rstrip()


class CallerIdentity(enum.StrEnum):
    """Where the PBX finds the number of a WhatsApp caller (RFC 3323, RFC 3325)."""

    ASSERTED = "asserted"
    """In From and P-Asserted-Identity."""
    PLAIN = "plain"
    """In From alone: the PBX is outside the trust domain of assertions, or trips over them."""
    PRIVATE = "private"
    """In P-Asserted-Identity with ``Privacy: id``; From is anonymous."""
