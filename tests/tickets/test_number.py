"""Ticket numbers: readable aloud, and each says its group and its time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaeport.tickets.number import NotATicket, new_number, parse, parse_group


@given(st.integers(1_577_836_800, 1_577_836_800 + 2**30 - 1))
def test_a_number_says_its_group_and_its_time(when: int) -> None:
    found = parse(new_number("K7QF2B", when))
    assert (found.group, found.time) == ("K7QF2B", when)


def test_numbers_of_one_second_differ() -> None:
    assert len({new_number("K7QF2B", 1_700_000_000) for _ in range(100)}) > 95


def test_a_number_is_of_now() -> None:
    assert abs(parse(new_number("000000")).time - time.time()) < 5


@pytest.mark.parametrize("typed", ["k7qf2b-3m2xab-9tzq", "K7QF2B3M2XAB9TZQ", " K7QF2B 3M2XAB 9TZQ "])
def test_a_number_may_be_typed_as_it_comes(typed: str) -> None:
    assert parse(typed).text == "K7QF2B-3M2XAB-9TZQ"


def test_letters_that_look_like_digits_are_digits() -> None:
    assert parse("OIL000-000000-0000").text == "011000-000000-0000"
    assert parse_group("oil000") == "011000"


@pytest.mark.parametrize(
    "wrong", ["", "K7QF2B", "K7QF2B-3M2XAB-9TZ", "K7QF2B-3M2XAB-9TZQQ", "U7QF2B-3M2XAB-9TZQ", "../../x"]
)
def test_anything_else_is_refused_with_an_example(wrong: str) -> None:
    with pytest.raises(NotATicket, match="K7QF2B-3M2XAB-9TZQ"):
        parse(wrong)


@pytest.mark.parametrize("wrong", ["", "K7QF2", "K7QF2BB", "K7QF2!"])
def test_a_group_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(NotATicket, match="six characters"):
        parse_group(wrong)
