"""How are numbers put into words? Every length, size, count and share that people read is written here.

Functions of one quantity differ in the room they have: `duration` for sentences, `rough_duration` for estimates,
`clock_time` for the terminal's columns. None of them ends a line or a sentence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from fmnist.metrics.intervals import Interval
from fmnist.scoring import Metric, shown_value

NOT_KNOWN = "not known"
UNITS_OF_SIZE = ("bytes", "kB", "MB", "GB")
LARGE_UNITS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))
ROOM_FOR_NAMES, LONGEST_NAME = 90, 30  # characters, of a list of names and of a name in it
METRIC_WORDS: dict[Metric, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
}
SHARES: tuple[Metric, ...] = ("accuracy", "balanced_accuracy")  # metrics that are written in percent
SMALLEST_P_VALUE = 0.001  # p-values below are not worth a figure of their own


def percent(share: float | None, digits: int = 2) -> str:
    """Write a share from 0 to 1 as `93.21 %`; None as `not known`.

    Args:
        share: an accuracy, or another part of a whole.
        digits: behind the point.
    """
    if share is None:
        return NOT_KNOWN
    return f"{100 * share:.{digits}f} %"


def points(difference: float | None) -> str:
    """Write the size of a difference between two shares, without its sign, as `0.42 points`; None as `not known`."""
    if difference is None:
        return NOT_KNOWN
    return f"{100 * abs(difference):.2f} points"


def percent_range(interval: Interval) -> str:
    """Write an interval of shares as `92.10 to 94.02 %`."""
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f} %"


def narrow_range(interval: Interval) -> str:
    """Write an interval of shares as `(92.1 to 94.0)`, for a column whose figures are percentages."""
    return f"({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def in_metric(metric: Metric, score: float | None) -> str:
    """Write a score as its metric is written: `93.21 %`, a macro F1 as `0.932`, a log loss as `0.2134`.

    Args:
        metric: of the score.
        score: as `fmnist.scoring.score_of` has it, so the negative log loss; None is `not known`.
    """
    if score is None:
        return NOT_KNOWN
    if metric in SHARES:
        return percent(score)
    return f"{shown_value(metric, score):.{digits_of(metric)}f}"


def shown_score(metric: Metric, score: float) -> str:
    """Write a score for the terminal's columns: as `in_metric` does, but shares as `93.21%`."""
    return f"{score:.2%}" if metric in SHARES else in_metric(metric, score)


def digits_of(metric: Metric) -> int:
    """Digits behind the point that a figure of this metric is written with; a share's are those of its percentage."""
    return {"macro_f1": 3, "log_loss": 4}.get(metric, 2)


def metric_range(metric: Metric, interval: Interval) -> str:
    """Write an interval of scores as `92.10 to 94.02 %` or `0.2011 to 0.2254`, the smaller figure first."""
    if metric in SHARES:
        return percent_range(interval)
    low, high = sorted(shown_value(metric, score) for score in (interval.low, interval.high))
    digits = digits_of(metric)
    return f"{low:.{digits}f} to {high:.{digits}f}"


def difference_in(metric: Metric, difference: float) -> str:
    """Write the size of a difference between two scores: `0.42 points` of shares, else `0.013`."""
    if metric in SHARES:
        return points(difference)
    return f"{abs(difference):.{digits_of(metric)}f}"


def signed(difference: float, digits: int = 2) -> str:
    """Write a difference as `+0.42` or `-0.42`, that with a true minus sign; without a sign where it rounds to 0.

    Args:
        difference: in the unit that stands beside it.
        digits: behind the point.
    """
    text = f"{difference:+.{digits}f}"
    if float(text) == 0:
        return text[1:]
    return text.replace("-", "\N{MINUS SIGN}")


def shown_signed(metric: Metric, difference: float) -> str:
    """Write a difference between two scores as `+4.00`, in points of shares; of log losses, less is better."""
    factor = 100 if metric in SHARES else shown_value(metric, 1.0)
    return signed(factor * difference, digits_of(metric))


def ratio(a: float, b: float) -> str:
    """Write b divided by a as `0.50`; `not known` where a is 0."""
    return f"{b / a:.2f}" if a else NOT_KNOWN


def p_value(p: float) -> str:
    """Write a p-value as `0.042` or `< 0.001`."""
    if p < SMALLEST_P_VALUE:
        return f"< {SMALLEST_P_VALUE}"
    return f"{p:.3f}"


def count(n: int | None) -> str:
    """Write a whole number as `1,234`; None as `not known`."""
    return NOT_KNOWN if n is None else f"{n:,}"


def with_noun(n: int, noun: str) -> str:
    """Write a number of things as `1 trial` or `1,234 trials`.

    Args:
        n: how many.
        noun: in the singular; one whose plural ends in s.
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def short_count(n: int | None) -> str:
    """Write a number in three significant figures: `850`, `12.3 k`, `280 k`, `3.21 M`; None as `not known`."""
    if n is None:
        return NOT_KNOWN
    for factor, unit in LARGE_UNITS:
        if n >= factor:
            return f"{_three_figures(n / factor)} {unit}"
    return str(n)


def rounded_count(n: float) -> str:
    """Write an estimated number, rounded to three significant figures, as `1,230,000`; 0 as nothing."""
    return f"{float(f'{n:.3g}'):,.0f}" if n else ""


def narrow_count(n: int) -> str:
    """Write a number in five characters at most: `800`, `16k`, `1.2M`."""
    if n < 1_000:
        return str(n)
    if n < 999_500:  # from there on, thousands round to four figures
        return f"{n / 1_000:.0f}k"
    return f"{n / 1_000_000:.1f}M"


def tick_count(n: float) -> str:
    """Write the number at a tick of an axis, which is a round one, as `500`, `2.5 k` or `10 M`."""
    if n >= 1_000_000:
        return f"{n / 1_000_000:g} M"
    if n >= 1_000:
        return f"{n / 1_000:g} k"
    return f"{n:g}"


def thousands(n: int) -> str:
    """Write a number as thousands, for an axis that names the unit.

    Round ones are `15` or `2.5`, others go to a tenth.
    """
    return f"{n / 1_000:g}" if n % 100 == 0 else f"{n / 1_000:.1f}"


def file_size(n_bytes: int) -> str:
    """Write a size in three significant figures: `950 bytes`, `11.5 kB`, `3.21 MB`."""
    power = min(int(math.log(max(n_bytes, 1), 1000)), len(UNITS_OF_SIZE) - 1)
    return f"{_three_figures(n_bytes / 1000**power)} {UNITS_OF_SIZE[power]}"


def rough_size(n_bytes: float) -> str:
    """Write an estimated size as `320 MB` or `2.5 GB`."""
    if n_bytes < 1e9:
        return f"{n_bytes / 1e6:,.0f} MB"
    return f"{n_bytes / 1e9:,.1f} GB"


def duration(seconds: float) -> str:
    """Write a time by its two largest units: `0.4 s`, `42 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    shown = [f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if n]
    return " ".join(shown[:2])


def rough_duration(seconds: float) -> str:
    """Write an estimated time by one unit: `42 s`, `15 min`, `1.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def clock_time(seconds: float | None) -> str:
    """Write a time as a clock does, `2:07` or `1:05:09`; None as nothing."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def milliseconds(value: float) -> str:
    """Write a time in milliseconds with as many digits as mean something: `0.031 ms`, `1.50 ms`, `42 ms`."""
    if value < 0.1:
        return f"{value:.3f} ms"
    if value < 10:
        return f"{value:.2f} ms"
    return f"{value:.0f} ms"


def parameter_value(value: Any) -> str:
    """Write a parameter's value: floats in three significant figures, truth values as `yes` and `no`."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def setting_value(value: Any) -> str:
    """Write what a study records of itself: floats in six significant figures, None as `not given`, lists by comma."""
    if value is None:
        return "not given"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(setting_value(item) for item in value) or "none"
    return parameter_value(value)


def list_names(names: Sequence[str]) -> str:
    """List names as far as a line has room: `boot, sandal`, or `A, B, C and 23 more`; a long one loses its end."""
    shown: list[str] = []
    n_characters = 0
    for name in names:
        if len(name) > LONGEST_NAME:
            name = f"{name[: LONGEST_NAME - 1]}…"
        n_characters += len(name) + 2
        if shown and n_characters > ROOM_FOR_NAMES:
            break
        shown.append(name)
    text = ", ".join(shown)
    if len(shown) < len(names):
        text += f" and {len(names) - len(shown):,} more"
    return text


def _three_figures(number: float) -> str:
    digits = max(0, 2 - int(math.log10(max(number, 1))))
    return f"{number:.{digits}f}"


def code_block(text: str) -> str:
    """Write text as a block of code in Markdown, whatever it holds: a path in a command may have line breaks."""
    fence = "`" * max(3, 1 + _longest_run_of_backticks(text))
    return f"{fence}\n{text}\n{fence}"


def code(text: str) -> str:
    """Write text as code in a line of Markdown; as a block below that line, if it has line breaks itself."""
    if len(text.splitlines()) > 1:
        return f"\n\n{code_block(text)}"
    n_ticks = _longest_run_of_backticks(text)
    if n_ticks == 0:
        return f"`{text}`"
    ticks = "`" * (n_ticks + 1)
    return f"{ticks} {text} {ticks}"


def _longest_run_of_backticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
