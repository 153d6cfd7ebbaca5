"""Numbers in Request-URIs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.phone import parse_request_user

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
        ("+4915112345678", "4915112345678"),
        ("004915112345678", "4915112345678"),
        ("4915112345678", "4915112345678"),
        ("+14155552671", "14155552671"),
        ("+390236618300", "390236618300"),  # Italy keeps its leading zero
    ],
)
def test_a_number(user: str, expected: str) -> None:
    assert parse_request_user(user, "BR") == expected


@pytest.mark.parametrize(
    "user",
    [
        "", " ", "alice", "6001", "+", "++5511987654321", "+55119876543210000", "*97", "1-800-FLOWERS", "anonymous",
        "+0",
        "5" * 65, "+5511987654321x", "٥٥١١٩٨٧٦٥٤٣٢١", "%", "%ff%fe", ";user=phone", "tel:", "119876\r\n54321", "+٥٥",
    ],
)  # fmt: skip
def test_no_number(user: str) -> None:
    assert parse_request_user(user, "BR") is None


def test_a_number_of_no_country_is_not_guessed() -> None:
    assert parse_request_user("5500000000000", "US") is None  # Brazil's code and a right length, but no such number
    assert parse_request_user("5511987654321", "US") == "5511987654321"


def test_the_default_region_decides() -> None:
    assert parse_request_user("01512 3456789", "DE") == "4915123456789"
    assert parse_request_user("4155552671", "US") == "14155552671"


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=80))
def test_any_text_gives_digits_or_nothing(user: str) -> None:
    found = parse_request_user(user, "BR")
    assert found is None or (found.isascii() and found.isdigit() and 5 <= len(found) <= 17)
