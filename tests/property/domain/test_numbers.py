"""The number policy on anything that may come."""

from __future__ import annotations

import contextlib

import phonenumbers
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.domain.errors import ConfigError
from gateway.domain.numbers import (
    CallerForm,
    NumberPolicy,
    PrefixRule,
    parse_prefix_rules,
    presented_name,
    rewrite,
)

pytestmark = pytest.mark.property

digits = st.text("0123456789", min_size=1, max_size=12)
prefix = st.text("0123456789*#", max_size=5)
rules = st.dictionaries(prefix, prefix, max_size=6).map(
    lambda found: tuple(PrefixRule(one, put) for one, put in found.items() if one != put)
)
# Brazil's mobile numbers, with and without the ninth digit, of every area code that is in use
area = st.sampled_from([11, 12, 21, 27, 31, 41, 47, 51, 61, 71, 81, 85, 91, 98])
eight = st.integers(60_000_000, 99_999_999)
brazilian = st.builds(lambda ddd, nine, rest: f"55{ddd}{nine}{rest}", area, st.sampled_from(["", "9"]), eight)
policies = st.builds(
    NumberPolicy, st.sampled_from(["BR", "DE", "US", "IT"]), st.sampled_from(["", "11"]), rules,
    st.sampled_from(list(CallerForm)), rules,
)  # fmt: skip


@settings(deadline=None)
@given(policies, st.text(max_size=80))
def test_any_text_gives_digits_or_nothing(policy: NumberPolicy, user: str) -> None:
    found = policy.dialled(user)
    assert found is None or (found.isascii() and found.isdigit() and 5 <= len(found) <= 17)


@settings(deadline=None)
@given(brazilian)
def test_both_forms_of_a_brazilian_number_reach_whatsapp_unchanged(number: str) -> None:
    for dialled in ("+" + number, "00" + number, "0" + number[2:], number[2:], number):
        assert NumberPolicy().dialled(dialled) == number
    outside = NumberPolicy(dial_prefixes=parse_prefix_rules("0=,0015=+"))
    for dialled in ("0" + number[2:], "00" + number[2:], "0015" + number, "+" + number):
        assert outside.dialled(dialled) == number


@settings(deadline=None)
@given(brazilian, st.sampled_from(list(CallerForm)))
def test_what_is_shown_can_be_dialled_back(number: str, form: CallerForm) -> None:
    policy = NumberPolicy(caller_form=form)
    assert policy.dialled(policy.presented(number)) == number


@settings(deadline=None)
@given(st.sampled_from(["BR", "DE", "US", "JP", "IT", "PT"]), st.sampled_from([CallerForm.E164, CallerForm.NATIONAL]))
def test_numbers_of_other_countries_too(region: str, form: CallerForm) -> None:
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None
    number = f"{example.country_code}{phonenumbers.national_significant_number(example)}"
    policy = NumberPolicy(caller_form=form)
    assert policy.dialled(policy.presented(number)) == number


@given(rules, st.text("0123456789+*#", max_size=20))
def test_one_rule_is_applied_once_and_the_rest_of_the_number_stays(found: tuple[PrefixRule, ...], text: str) -> None:
    changed = rewrite(text, found)
    fitting = [rule for rule in found if text.startswith(rule.found)]
    if not fitting:
        assert changed == text
    else:
        longest = max(fitting, key=lambda rule: len(rule.found))
        assert changed == longest.put + text.removeprefix(longest.found)


@given(rules)
def test_rules_are_read_as_they_are_written(found: tuple[PrefixRule, ...]) -> None:
    assume(all(rule.found or rule.put for rule in found))
    assert parse_prefix_rules(", ".join(f"{rule.found} = {rule.put}" for rule in found)) == found


@given(st.text(max_size=200))
def test_any_text_is_rules_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert all(rule.found != rule.put for rule in parse_prefix_rules(text))


@given(st.text(max_size=200) | st.none())
def test_a_name_is_one_printable_line(name: str | None) -> None:
    shown = presented_name(name)
    assert shown.isprintable()
    assert len(shown) <= 64
    assert shown == shown.strip()
