"""Numbers as people read them."""

import pytest

from gaeport.console import rendering


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (0.0, "$0"),
        (6e-7, "$0.0000006"),
        (0.003458123, "$0.00346"),
        (0.5, "$0.5"),
        (1.2, "$1.20"),
        (12345.678, "$12,345.68"),
        (1e-12, "$0.000000000001"),
    ],
)
def test_prices_have_three_digits_that_count(price: float, text: str) -> None:
    assert rendering.dollars(price) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.00 ms"), (0.00042, "0.42 ms"), (0.0042, "4.2 ms"), (0.042, "42 ms"), (4200.0, "4,200.0 s")],
)
def test_times_are_in_milliseconds_up_to_a_second(seconds: float, text: str) -> None:
    assert rendering.milliseconds(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5_000_000, "4.8 MiB")])
def test_sizes(count: int, text: str) -> None:
    assert rendering.size(count) == text
