"""The charts of what a report's figures are worth: calibration, changed images, survival at the rungs, rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fmnist.metrics.evaluation import Evaluation
from search.format import parameter_value
from search.records.models import ChangedTestScore, TrialRecord
from search.report.analysis import BaselineScore, Calibration, Rung, anytime, is_number
from search.report.charts.search import (
    BLUE,
    GREY,
    ORANGE,
    STATE_STYLES,
    Chart,
    clean,
    fitting,
    make_chart,
    percent_axis,
    score,
)


def reliability_chart(calibration: Calibration) -> Chart:
    before, after = calibration.before, calibration.after
    alt = (
        f"Accuracy against confidence in bins, on the test set, as delivered and with temperature "
        f"{calibration.temperature:.2f}: expected calibration error {100 * before.expected_calibration_error:.1f} and "
        f"{100 * after.expected_calibration_error:.1f} points."
    )
    return make_chart("reliability", alt, lambda figure, is_narrow: _draw_reliability(figure, is_narrow, calibration))


def _draw_reliability(figure: Figure, is_narrow: bool, calibration: Calibration) -> None:
    figure.set_figheight(5.0 if is_narrow else 3.9)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="as sure as right")
    for part, colour, marker, label in (
        (calibration.before, ORANGE, "o", "as delivered"),
        (calibration.after, BLUE, "s", f"with temperature {calibration.temperature:.2f}"),
    ):
        drawn = [b for b in part.bins if b.n_images >= 5]  # of fewer, an accuracy says nothing
        x, y = [b.mean_confidence for b in drawn], [b.accuracy for b in drawn]
        errors = np.array(
            [(b.accuracy - b.accuracy_interval.low, b.accuracy_interval.high - b.accuracy) for b in drawn]
        )
        axes.errorbar(
            x, y, yerr=np.maximum(errors.T, 0), fmt=f"{marker}-", color=colour, markersize=4, capsize=2, linewidth=1.2,
            elinewidth=0.9, label=label,
        )  # fmt: skip
    bins = calibration.before.bins
    counts.bar([(b.low + b.high) / 2 for b in bins], [b.n_images for b in bins], width=0.055, color=ORANGE)
    counts.set_yscale("log")
    counts.set_ylabel("images", fontsize=10)
    counts.set_xlabel("confidence (%)", fontsize=10)
    axes.set_ylabel("accuracy (%)", fontsize=10)
    for each in (axes, counts):
        clean(each)
        each.set_xlim(0, 1.01)
        each.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share):g}"))
    percent_axis(axes)
    axes.set_ylim(-0.02, 1.02)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper left", ncols=1 if is_narrow else 3, fontsize=9,
        frameon=False,
    )  # fmt: skip


def baselines_chart(scores: Sequence[BaselineScore], evaluation: Evaluation) -> Chart:
    best = scores[0]
    alt = (
        f"Test accuracy with 95 % intervals: the delivered model {100 * evaluation.accuracy:.2f} %, the best baseline, "
        f"{best.record.name}, {100 * best.rival.accuracy:.2f} %."
    )
    return make_chart("baselines", alt, lambda figure, is_narrow: _draw_baselines(figure, scores, evaluation))


def _draw_baselines(figure: Figure, scores: Sequence[BaselineScore], evaluation: Evaluation) -> None:
    figure.set_figheight(0.9 + 0.28 * (1 + len(scores)))
    axes = figure.add_subplot()
    names = ["the delivered model", *(score.record.name for score in scores)]
    middle = np.array([evaluation.accuracy, *(score.rival.accuracy for score in scores)])
    intervals = [evaluation.accuracy_interval, *(score.accuracy_interval for score in scores)]
    low, high = (np.array([getattr(interval, end) for interval in intervals]) for end in ("low", "high"))
    places = np.arange(len(names))[::-1]
    for rows, colour in ((slice(0, 1), ORANGE), (slice(1, None), BLUE)):
        errors = (middle[rows] - low[rows], high[rows] - middle[rows])
        axes.errorbar(middle[rows], places[rows], xerr=errors, fmt="o", color=colour, markersize=5, capsize=3)
    published = [(score.record.published_accuracy, place) for score, place in zip(scores, places[1:], strict=True)]
    drawn = [(accuracy, place) for accuracy, place in published if accuracy is not None]
    axes.plot([accuracy for accuracy, _ in drawn], [place for _, place in drawn], "x", color=GREY)
    axes.set_yticks(places, names)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 3):g}"))
    axes.set_xlabel("test accuracy (%)", fontsize=10)
    clean(axes, grid="x")


def changes_chart(changed: Sequence[ChangedTestScore], accuracy: float) -> Chart:
    worst = min(changed, key=lambda row: row.accuracy)
    alt = (
        f"Test accuracy on changed images, {100 * accuracy:.1f} % on unchanged ones; lowest, {worst.change}: "
        f"{100 * worst.accuracy:.1f} %."
    )
    return make_chart("changed-images", alt, lambda figure, is_narrow: _draw_changes(figure, changed, accuracy))


def _draw_changes(figure: Figure, changed: Sequence[ChangedTestScore], accuracy: float) -> None:
    figure.set_figheight(0.9 + 0.27 * len(changed))
    axes = figure.add_subplot()
    places = np.arange(len(changed))[::-1]
    bars = axes.barh(places, [row.accuracy for row in changed], color=BLUE, height=0.64)
    axes.bar_label(
        bars, [f"{100 * row.accuracy:.1f}" for row in changed], padding=-30, fontsize=9, color="white", weight="bold"
    )
    axes.axvline(accuracy, color=ORANGE, linewidth=1.2, linestyle="--")
    axes.set_yticks(places, [row.change for row in changed])
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share):g}"))
    axes.set_xlabel("test accuracy (%)", fontsize=10)
    clean(axes, grid="x")


def survival_chart(rungs: Sequence[Rung]) -> Chart:
    alt = "How many trials were still in training after so many images: " + ", ".join(
        f"{rung.n_reached} reached {rung.n_images:,}" for rung in rungs[:6]
    )
    return make_chart("rung-survival", alt, lambda figure, is_narrow: _draw_survival(figure, rungs))


def _draw_survival(figure: Figure, rungs: Sequence[Rung]) -> None:
    figure.set_figheight(2.7)
    axes = figure.add_subplot()
    x = [0.6 * rungs[0].n_images, *(rung.n_images for rung in rungs)]
    y = [rungs[0].n_reached, *(rung.n_reached for rung in rungs)]
    axes.step(x, y, where="pre", color=BLUE, linewidth=1.8)
    axes.fill_between(x, y, step="pre", color=BLUE, alpha=0.15)
    axes.set_xscale("log")
    axes.set_xticks([rung.n_images for rung in _apart(rungs)], [_thousands(rung.n_images) for rung in _apart(rungs)])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("training images seen by the trial (thousands)", fontsize=10)
    axes.set_ylabel("trials in training", fontsize=10)
    clean(axes)


def _apart(rungs: Sequence[Rung]) -> list[Rung]:
    """Those whose labels don't overlap on a logarithmic axis; of near ones the one at which more trials ended."""
    kept: list[Rung] = []
    for rung in rungs:
        if kept and rung.n_images < 1.35 * kept[-1].n_images:
            kept[-1] = max(kept[-1], rung, key=lambda each: each.n_ended)
        else:
            kept.append(rung)
    return kept


def _thousands(n: int) -> str:
    return f"{n / 1000:g}" if n % 100 == 0 else f"{n / 1000:.1f}"


def anytime_chart(trials: Sequence[TrialRecord]) -> Chart | None:
    """None where no trial was trained to its end."""
    curve = anytime(trials)
    if not curve:
        return None
    alt = (
        f"Best selection accuracy of complete trials against training images of all trials: {curve[-1][1]:.2%} at last"
    )
    return make_chart("anytime", alt, lambda figure, is_narrow: _draw_anytime(figure, curve, trials))


def _draw_anytime(figure: Figure, curve: Sequence[tuple[int, float]], trials: Sequence[TrialRecord]) -> None:
    figure.set_figheight(2.7)
    axes = figure.add_subplot()
    total = sum(trial.n_images for trial in trials)
    x, y = [n / 1e6 for n, _ in curve], [best for _, best in curve]
    axes.step([*x, total / 1e6], [*y, y[-1]], where="post", color=BLUE, linewidth=1.8)
    axes.plot(x, y, "o", color=BLUE, markersize=4)
    axes.set_xlim(left=0)
    axes.set_xlabel("training images of all trials (millions)", fontsize=10)
    axes.set_ylabel("best selection\naccuracy (%)", fontsize=10)
    percent_axis(axes)
    clean(axes)


def pair_chart(trials: Sequence[TrialRecord], importances: Mapping[str, float] | None) -> Chart | None:
    """The two numeric parameters of most importance against each other; None where there are no two."""
    names = _two_numeric(trials, importances)
    if names is None:
        return None
    alt = f"Trials by {names[0]} and {names[1]}, coloured by selection accuracy."
    return make_chart("pair", alt, lambda figure, is_narrow: _draw_pair(figure, trials, names))


def _two_numeric(trials: Sequence[TrialRecord], importances: Mapping[str, float] | None) -> tuple[str, str] | None:
    scored = [trial for trial in trials if score(trial) is not None]
    ranked = sorted(importances or {}, key=lambda name: -importances[name])
    numeric = [name for name in ranked if _n_values(scored, name) >= 4]
    return (numeric[0], numeric[1]) if len(numeric) >= 2 else None


def _n_values(trials: Sequence[TrialRecord], name: str) -> int:
    values = [trial.params.get(name) for trial in trials]
    return len({value for value in values if is_number(value)})


def _draw_pair(figure: Figure, trials: Sequence[TrialRecord], names: tuple[str, str]) -> None:
    figure.set_figheight(3.6)
    axes = figure.add_subplot()
    drawn = [t for t in trials if score(t) is not None and all(is_number(t.params.get(name)) for name in names)]
    low, high = np.quantile([score(trial) for trial in drawn], [0.1, 1.0])
    for state in ("pruned", "complete"):
        _, marker, label = STATE_STYLES[state]
        rows = [trial for trial in drawn if trial.state == state]
        points = axes.scatter(
            *([trial.params[name] for trial in rows] for name in names), c=[score(trial) for trial in rows],
            cmap="viridis", vmin=low, vmax=high, marker=marker, s=46 if state == "complete" else 24,
            edgecolors="#222222" if state == "complete" else "none", linewidths=0.9, label=label,
        )  # fmt: skip
    for axis, name in zip("xy", names, strict=True):
        values = [trial.params[name] for trial in drawn]
        if min(values) > 0 and max(values) / min(values) >= 50:
            axes.set(**{f"{axis}scale": "log"})
        axes.set(**{f"{axis}label": fitting(name)})
    bar = figure.colorbar(points, ax=axes, format=FuncFormatter(lambda share, _: parameter_value(100 * share)))
    bar.set_label("selection accuracy (%)", fontsize=10)
    clean(axes, grid="both")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=9, frameon=False)
