"""Numbers and names between the PBX and WhatsApp."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import ConfigError
from gateway.domain.numbers import CallerForm, NumberPolicy, parse_prefix_rules, presented_name
from gateway.domain.phone import e164_digits, national_digits

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("+5511987654321", "5511987654321"),
        ("005511987654321", "5511987654321"),
        ("0021 5511 98765-4321", "5511987654321"),  # with a Brazilian carrier code
        ("+55 (11) 98765-4321", "5511987654321"),
        ("%2B5511987654321", "5511987654321"),
        ("+5511987654321;user=phone", "5511987654321"),
        ("tel:+5511987654321;cpc=ordinary", "5511987654321"),
        ("98765-4321;phone-context=+5511", "5511987654321"),
        ("98765-4321;isub=1;phone-context=example.com;phone-context=+55-11", "5511987654321"),
        ("11987654321", "5511987654321"),
        ("011987654321", "5511987654321"),
        ("5511987654321", "5511987654321"),
        ("551187654321", "551187654321"),  # the ninth digit is left alone, missing
        ("+551187654321", "551187654321"),
        ("00551187654321", "551187654321"),  # the same after 00, where 55 could be a carrier
        ("0021 5511 8765-4321", "551187654321"),
        ("+4915112345678", "4915112345678"),
        ("004915112345678", "4915112345678"),
        ("4915112345678", "4915112345678"),
        ("+14155552671", "14155552671"),
        ("+390236618300", "390236618300"),  # Italy keeps its leading zero
    ],
)
def test_a_number(user: str, expected: str) -> None:
    assert NumberPolicy().dialled(user) == expected


@pytest.mark.parametrize(
    "user",
    [
        "", " ", "alice", "6001", "+", "++5511987654321", "+55119876543210000", "*97", "1-800-FLOWERS", "anonymous",
        "+0",
        "5" * 65, "+5511987654321x", "٥٥١١٩٨٧٦٥٤٣٢١", "%", "%ff%fe", ";user=phone", "tel:", "119876\r\n54321", "+٥٥",
    ],
)  # fmt: skip
def test_no_number(user: str) -> None:
    assert NumberPolicy().dialled(user) is None


def test_a_number_of_no_country_is_not_guessed() -> None:
    assert NumberPolicy("US").dialled("5500000000000") is None  # Brazil's code and a right length, but no such number
    assert NumberPolicy("US").dialled("5511987654321") == "5511987654321"


def test_the_default_region_decides() -> None:
    assert NumberPolicy("DE").dialled("01512 3456789") == "4915123456789"
    assert NumberPolicy("US").dialled("4155552671") == "14155552671"


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=80))
def test_any_text_gives_digits_or_nothing(user: str) -> None:
    found = NumberPolicy().dialled(user)
    assert found is None or (found.isascii() and found.isdigit() and 5 <= len(found) <= 17)


@pytest.mark.parametrize(
    ("rules", "user", "expected"),
    [
        ("0=", "0011987654321", "5511987654321"),  # outside line, then a national number with its 0
        ("0=", "0005511987654321", "5511987654321"),  # outside line, then 00 and the country
        ("0=", "+5511987654321", "5511987654321"),
        ("0=,0055=+55", "005511987654321", "5511987654321"),  # the longest prefix wins
        ("0=,0055=+55", "0005511987654321", "5511987654321"),
        ("0=,0055=+55", "0011987654321", "5511987654321"),
        ("0015=+", "00155511987654321", "5511987654321"),  # international by way of a carrier
        ("9=", "911987654321", "5511987654321"),
        ("*9=", "*9 (11) 98765-4321", "5511987654321"),
        ("+5599=+5511", "+5599987654321", "5511987654321"),
        ("=+", "5511987654321", "5511987654321"),  # everything is international
        ("=+", "11987654321", "11987654321"),
        ("0=", "011;phone-context=+55", None),  # complete: no rule touches it, and it is too short
        ("1=2", "alice", None),
    ],
)
def test_prefixes(rules: str, user: str, expected: str | None) -> None:
    policy = NumberPolicy(dial_prefixes=parse_prefix_rules(rules))
    assert policy.dialled(user) == expected


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("987654321", "5511987654321"),
        ("87654321", "551187654321"),  # without the ninth digit it stays without
        ("011987654321", "5511987654321"),
        ("21987654321", "5521987654321"),
        ("08007010141", "558007010141"),  # numbers that have no area code
        ("+4915112345678", "4915112345678"),
        ("123", None),
    ],
)
def test_the_area_code_completes_local_numbers(user: str, expected: str | None) -> None:
    assert NumberPolicy(area_code="11").dialled(user) == expected


@pytest.mark.parametrize(
    ("form", "prefixes", "phone", "expected"),
    [
        (CallerForm.DIGITS, "", "5511987654321", "5511987654321"),
        (CallerForm.E164, "", "5511987654321", "+5511987654321"),
        (CallerForm.NATIONAL, "", "5511987654321", "11987654321"),
        (CallerForm.NATIONAL, "", "551187654321", "1187654321"),
        (CallerForm.NATIONAL, "", "4915112345678", "+4915112345678"),
        (CallerForm.NATIONAL, "+=000,=00", "5511987654321", "0011987654321"),  # outside line, then the national 0
        (CallerForm.NATIONAL, "+=000,=00", "4915112345678", "0004915112345678"),
        (CallerForm.DIGITS, "55=0", "5511987654321", "011987654321"),
    ],
)
def test_the_caller_as_the_pbx_sees_it(form: CallerForm, prefixes: str, phone: str, expected: str) -> None:
    policy = NumberPolicy(caller_form=form, caller_prefixes=parse_prefix_rules(prefixes))
    assert policy.presented(phone) == expected
    assert policy.presented(None) == policy.presented("") == ""


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("0", "no '='"), ("0=,0=1", "two rules"), ("a=1", "looks for"), ("0=x", "puts"), ("1+=2", "looks for"),
        ("0=12345678901234567", "puts"), ("55=55", "changes nothing"), ("=", "changes nothing"),
        (",".join(f"{number}=" for number in range(65)), "more than 64"),
    ],
)  # fmt: skip
def test_a_bad_rule_is_named(rules: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse_prefix_rules(rules, "dial_prefixes")
    assert caught.value.field == "dial_prefixes"


def test_a_bad_policy_is_named() -> None:
    with pytest.raises(ConfigError, match="country code"):
        NumberPolicy("XX")
    with pytest.raises(ConfigError, match="digits"):
        NumberPolicy(area_code="x")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, ""), ("Ana", "Ana"), (" Ana\r\n\tMaria ", "Ana Maria"), ("Jose\u0301", "José"),
        ("x" * 70, "x" * 64), ("\udcff", ""), ("\u200bAna", "Ana"), ("Ana 🌻", "Ana 🌻"),
    ],
)  # fmt: skip
def test_names(name: str | None, expected: str) -> None:
    assert presented_name(name) == expected


def test_national_digits_of_no_number() -> None:
    assert national_digits("0", "BR") is None
    assert e164_digits("", "BR") is None
