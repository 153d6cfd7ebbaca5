"""Phone numbers as WhatsApp wants them: E.164 digits without the plus."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

import phonenumbers

_DIALABLE: Final = re.compile(r"\+?[0-9]+")
_SEPARATORS: Final = re.compile(r"[ .()/-]")  # RFC 3966 and what people write
_MAX_LENGTH: Final = 64  # E.164 has 15 digits; the rest is room for prefixes and separators


def dialled_text(user: str) -> tuple[str, str | None]:
    """Return what the user part of a Request-URI dials, bare, and the ``phone-context`` that it stands in.

    Percent-escapes, ``tel:``, visual separators and parameters are taken off; an empty text holds nothing to dial.

    Args:
        user: the user part, or a whole tel URI.

    Returns:
        The characters, and the digits of a global ``phone-context`` (RFC 3966), None where there is none.
    """
    if len(user) > _MAX_LENGTH:
        return "", None
    text = unquote(user, errors="replace")
    if text[:4].lower() == "tel:":
        text = text[4:]
    text, *parameters = text.split(";")
    return _SEPARATORS.sub("", text.strip()), _phone_context(parameters)


def e164_digits(text: str, default_region: str, area_code: str = "") -> str | None:
    """Return the E.164 digits of a dialled number, or None where it is none.

    Accepted are ``+``, a ``00`` prefix and national numbers of the default region. A number that fits neither is tried
    with its country code without ``+``. Whether a number is in use is left to WhatsApp, and so is Brazil's ninth digit:
    only the length is checked.

    Args:
        text: digits, a ``+`` before them where the country code follows.
        default_region: ISO 3166 code of two letters, for numbers without a country code.
        area_code: put before numbers that are dialled without one; empty: none is.
    """
    if not text.isascii() or not _DIALABLE.fullmatch(text):
        return None
    digits = text.removeprefix("+")
    if text.startswith("+"):
        return _global(digits)
    if digits.startswith("00"):
        # Tried as it stands first: in Brazil the digits after 00 name a carrier, and PBXes leave the carrier out. At
        # home a mobile number without its ninth digit is good too, though no numbering plan has it any more.
        home = digits[2:].startswith(str(phonenumbers.country_code_for_region(default_region)))
        for strict in (not home, False):
            found = _global(digits[2:], strict=strict) or _possible(digits, default_region, strict=strict)
            if found is not None:
                return found
    if area_code and not _possible(digits, default_region, strict=True):
        found = _possible(area_code + digits, default_region)
        if found is not None:
            return found
    return _possible(digits, default_region) or _global(digits, strict=True)


def national_digits(digits: str, region: str) -> str | None:
    """Return an E.164 number without its country code, or None where it is not one of *region*.

    Args:
        digits: E.164 without the plus.
        region: ISO 3166 code of two letters.
    """
    try:
        number = phonenumbers.parse("+" + digits, None)
    except phonenumbers.NumberParseException:
        return None
    if number.country_code != phonenumbers.country_code_for_region(region):
        return None
    return phonenumbers.national_significant_number(number)


def _phone_context(parameters: list[str]) -> str | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "phone-context" and value.startswith("+"):
            return re.sub(r"[^0-9]", "", value)
    return None


def _global(digits: str, *, strict: bool = False) -> str | None:
    return _possible("+" + digits, None, strict=strict)


def _possible(text: str, region: str | None, *, strict: bool = False) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    # "Local only" numbers lack their area code: nobody can dial them from elsewhere.
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    if strict and not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
