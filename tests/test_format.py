"""Numbers in words: what each function writes, at the places where its rule changes."""

from __future__ import annotations

from typing import Any

import pytest

from fmnist.metrics.intervals import Interval
from search import format

MINUS = "\N{MINUS SIGN}"
SIZES: dict[str, list[tuple[Any, str]]] = {
    "percent": [(0.93214, "93.21 %"), (1.0, "100.00 %"), (None, "not known")],
    "points": [(0.0042, "0.42 points"), (-0.0042, "0.42 points"), (0.0, "0.00 points"), (None, "not known")],
    "signed": [(0.42, "+0.42"), (-0.42, f"{MINUS}0.42"), (0.004, "0.00"), (-0.004, "0.00")],
    "p_value": [(0.0421, "0.042"), (0.001, "0.001"), (0.00099, "< 0.001"), (1.0, "1.000")],
    "count": [(0, "0"), (1234, "1,234"), (None, "not known")],
    "short_count": [
        (0, "0"),
        (999, "999"),
        (1_000, "1.00 k"),
        (12_345, "12.3 k"),
        (280_000, "280 k"),
        (None, "not known"),
    ],
    "rounded_count": [(0.0, ""), (1_234_567.0, "1,230,000"), (42.0, "42")],
    "narrow_count": [(999, "999"), (15_600, "16k"), (999_499, "999k"), (999_500, "1.0M"), (1_234_567, "1.2M")],
    "tick_count": [(500.0, "500"), (2_500.0, "2.5 k"), (10_000_000.0, "10 M")],
    "thousands": [(15_000, "15"), (2_500, "2.5"), (2_512, "2.5")],
    "file_size": [(999, "999 bytes"), (11_500, "11.5 kB"), (3_210_000, "3.21 MB"), (10**13, "10000 GB")],
    "rough_size": [(320_400_000, "320 MB"), (999_999_999, "1,000 MB"), (2_500_000_000, "2.5 GB")],
    "duration": [
        (0.42, "0.4 s"),
        (42.0, "42 s"),
        (185.0, "3 min 5 s"),
        (7_800.0, "2 h 10 min"),
        (7_261.0, "2 h 1 min"),
    ],
    "rough_duration": [(89.0, "89 s"), (90.0, "2 min"), (5_399.0, "90 min"), (5_400.0, "1.5 h")],
    "clock_time": [(127.0, "2:07"), (3_909.0, "1:05:09"), (None, "")],
    "milliseconds": [(0.0312, "0.031 ms"), (1.5, "1.50 ms"), (42.4, "42 ms")],
    "parameter_value": [(0.00612345, "0.00612"), (True, "yes"), (False, "no"), (3, "3"), ("relu", "relu")],
    "setting_value": [
        (None, "not given"),
        (0.1234567, "0.123457"),
        (True, "yes"),
        ((1, None), "1, not given"),
        ([], "none"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "text"), [(name, value, text) for name, cases in SIZES.items() for value, text in cases]
)
def test_number_is_written_as_its_function_promises(name: str, value: Any, text: str) -> None:
    assert getattr(format, name)(value) == text


def test_digits_of_a_share_can_be_chosen() -> None:
    assert format.percent(0.93214, 0) == "93 %"
    assert format.signed(-0.42, 1) == f"{MINUS}0.4"


def test_interval_is_written_in_percent() -> None:
    assert format.percent_range(Interval(0.921, 0.9402)) == "92.10 to 94.02 %"
    assert format.narrow_range(Interval(0.921, 0.9402)) == "(92.1 to 94.0)"


@pytest.mark.parametrize(("n", "text"), [(0, "0 trials"), (1, "1 trial"), (1234, "1,234 trials")])
def test_noun_is_in_the_plural_but_for_one(n: int, text: str) -> None:
    assert format.with_noun(n, "trial") == text


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["boot", "sandal"], "boot, sandal"),
        (["x" * 31, "y" * 30], f"{'x' * 29}…, {'y' * 30}"),
        ([f"class {i}" for i in range(1200)], f"{', '.join(f'class {i}' for i in range(10))} and 1,190 more"),
    ],
)
def test_names_are_listed_as_far_as_a_line_has_room(names: list[str], text: str) -> None:
    assert format.list_names(names) == text


@pytest.mark.parametrize(("a", "b", "text"), [(4, 2, "0.50"), (0, 2, "not known")])
def test_ratio_is_of_the_second_to_the_first(a: float, b: float, text: str) -> None:
    assert format.ratio(a, b) == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("run a", "`run a`"),
        ("run 'a`b'", "`` run 'a`b' ``"),
        ("run 'a```b'", "```` run 'a```b' ````"),
        ("run 'a\nb'", "\n\n```\nrun 'a\nb'\n```"),
        ("run 'a\n```\nb'", "\n\n````\nrun 'a\n```\nb'\n````"),
    ],
)
def test_command_stays_whole_in_markdown_whatever_paths_it_names(text: str, code: str) -> None:
    assert format.code(text) == code


@pytest.mark.parametrize(
    ("metric", "score", "written", "in_terminal"),
    [
        ("accuracy", 0.93214, "93.21 %", "93.21%"),
        ("balanced_accuracy", 0.93214, "93.21 %", "93.21%"),
        ("macro_f1", 0.93214, "0.932", "0.932"),
        ("log_loss", -0.21344, "0.2134", "0.2134"),
    ],
)
def test_scores_are_written_as_their_metric_is_known(metric: str, score: float, written: str, in_terminal: str) -> None:
    assert (format.in_metric(metric, score), format.shown_score(metric, score)) == (written, in_terminal)
    assert format.in_metric(metric, None) == "not known"


def test_intervals_and_differences_of_log_losses_are_positive_and_in_order() -> None:
    assert format.metric_range("log_loss", Interval(-0.25, -0.125)) == "0.1250 to 0.2500"
    assert format.metric_range("balanced_accuracy", Interval(0.5, 0.75)) == "50.00 to 75.00 %"
    assert format.shown_signed("log_loss", 0.125) == f"{MINUS}0.1250", "a better score is a lower loss"
    assert format.shown_signed("balanced_accuracy", 0.125) == "+12.50"
    assert (
        format.difference_in("log_loss", -0.125) == "0.1250"
        and format.difference_in("accuracy", -0.125) == "12.50 points"
    )
