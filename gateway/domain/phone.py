"""Phone numbers as WhatsApp wants them: E.164 digits without the plus."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

import phonenumbers

_DIALABLE: Final = re.compile(r"\+?[0-9][0-9 .()/-]*")
_PLUS_IN_SEPARATORS: Final = re.compile(r"^[ .()/-]+")
_MAX_LENGTH: Final = 64  # E.164 has 15 digits; the rest is room for prefixes and separators


def parse_request_user(user: str, default_region: str) -> str | None:
    """Return the E.164 digits that the user part of a Request-URI dials, or None where it holds no number.

    Accepted are ``+``, a ``00`` prefix, the visual separators of RFC 3966, ``tel:``, URI parameters after ``;`` (of
    which a global ``phone-context`` completes a local number), percent-escapes, and national numbers of the default
    region. A number that fits neither is tried with its country code without ``+``. Whether a number is in use is
    left to WhatsApp, and so is Brazil's ninth digit: only the length is checked.

    Args:
        user: the user part, or a whole tel URI.
        default_region: ISO 3166 code of two letters, for numbers without a country code.
    """
    if len(user) > _MAX_LENGTH:
        return None
    text = unquote(user, errors="replace")
    if text[:4].lower() == "tel:":
        text = text[4:]
    text, *parameters = text.split(";")
    text = _PLUS_IN_SEPARATORS.sub("", text.strip())
    if not text.isascii() or not _DIALABLE.fullmatch(text):
        return None
    digits = re.sub(r"[^0-9]", "", text)
    if text.startswith("+"):
        return _global(digits)
    context = _phone_context(parameters)
    if context is not None:
        return _global(context + digits)
    if digits.startswith("00"):
        # Tried as it stands first: in Brazil the digits after 00 name a carrier, and PBXes leave the carrier out.
        found = _global(digits[2:], strict=True)
        if found is not None:
            return found
    return _possible(digits, default_region) or _global(digits.removeprefix("00"), strict=True)


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
