"""The pictures of a report: charts as SVG and PNG, images as PNG. Every chart comes in two widths, for page and phone.

Matplotlib's object interface only, so that nothing global is touched and reports can be written from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from search.format import parameter_value, thousands
from search.records.models import TrialRecord
from search.report.analysis import Rung, anytime, is_number
from search.report.charts.style import BLUE, MANY_POINTS, STATE_STYLES, Chart, clean, fitting, make_chart, percent_axis

# ----------------------------------------------------------------------------------------------------------- search


def history_chart(trials: Sequence[TrialRecord]) -> Chart:
    alt = "Selection accuracy of every trial in order, by what became of it, with the best so far as a line."
    return make_chart("search-history", alt, lambda figure, is_narrow: _draw_history(figure, is_narrow, trials))


def score(trial: TrialRecord) -> float | None:
    """Selection accuracy: the value of a complete trial, the best so far of a stopped one; None without any."""
    if trial.state == "complete":
        return trial.value
    if trial.state == "pruned" and trial.best is not None:
        return trial.best.validation_accuracy
    return None


def accuracy_floor(trials: Sequence[TrialRecord]) -> float:
    """Where the accuracy axis of a search begins: far enough down for the better three quarters of the complete
    trials and half of the stopped ones. A few very bad trials would otherwise press all others into one line."""
    complete = [trial.value for trial in trials if trial.value is not None]
    stopped = [score(trial) for trial in trials if trial.state == "pruned" and score(trial) is not None]
    wanted = [float(np.quantile(values, q)) for values, q in ((complete, 0.25), (stopped, 0.5)) if values]
    if not wanted:
        return 0.0
    top = max(complete + stopped)
    return max(0.0, top - 1.25 * max(top - min(wanted), 0.005))


def n_below_floor(trials: Sequence[TrialRecord]) -> int:
    floor = accuracy_floor(trials)
    return sum(score(trial) is not None and score(trial) < floor for trial in trials)


def _draw_history(figure: Figure, is_narrow: bool, trials: Sequence[TrialRecord]) -> None:
    figure.set_figheight(3.6)
    axes, floor = figure.add_subplot(), accuracy_floor(trials)
    top = max((s for trial in trials if (s := score(trial)) is not None), default=1.0)
    span = max(top - floor, 0.004)
    for state, (colour, marker, label) in STATE_STYLES.items():
        drawn = [(t.number, _clamped(score(t), floor, floor - 0.09 * span)) for t in trials if t.state == state]
        if drawn:
            size = 26 if len(trials) <= 150 else 12
            axes.scatter(
                *zip(*drawn, strict=True),
                s=size,
                c="none" if state == "pruned" else colour,
                edgecolors=colour,
                marker=marker,
                linewidths=1.1,
                label=label,
                rasterized=len(trials) > MANY_POINTS,
                zorder=3,
            )
    _draw_best_so_far(axes, trials)
    axes.set_ylim(floor - 0.15 * span, top + 0.08 * span)
    axes.set_xlabel("trial", fontsize=10)
    axes.set_ylabel("selection accuracy (%)", fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlim(-0.7, max(t.number for t in trials) + 0.7)
    clean(axes)
    percent_axis(axes)
    figure.legend(loc="outside upper left", ncols=1 if is_narrow else 5, fontsize=9, frameon=False)


def _clamped(value: float | None, floor: float, below: float) -> float:
    """The value, or the line under the axis' floor for what lies below it or has no value."""
    return below if value is None or value < floor else value


def _draw_best_so_far(axes: Axes, trials: Sequence[TrialRecord]) -> None:
    complete = [trial for trial in trials if trial.value is not None]
    if complete:
        numbers = [trial.number for trial in complete] + [trials[-1].number]
        best = np.maximum.accumulate([trial.value for trial in complete]).tolist()
        axes.step(numbers, [*best, best[-1]], where="post", color="#222222", linewidth=1.4, label="best so far")


def importance_chart(importances: Mapping[str, float]) -> Chart:
    ranked = sorted(importances.items(), key=lambda item: item[1])[-15:]
    alt = "Importance of the parameters, largest first: " + ", ".join(f"{k} {v:.2f}" for k, v in reversed(ranked[-5:]))
    return make_chart("importance", alt, lambda figure, is_narrow: _draw_importance(figure, ranked))


def _draw_importance(figure: Figure, ranked: Sequence[tuple[str, float]]) -> None:
    figure.set_figheight(0.9 + 0.26 * len(ranked))
    axes = figure.add_subplot()
    names, values = zip(*ranked, strict=True)
    bars = axes.barh(names, values, color=BLUE, height=0.66)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
    axes.set_xlabel("importance (share)", fontsize=10)
    axes.set_xlim(0, 1.18 * max(max(values), 1e-6))
    clean(axes, grid="x")


def parameters_chart(trials: Sequence[TrialRecord], names: Sequence[str]) -> Chart:
    alt = f"Selection accuracy against the value of each of {len(names)} parameters: {', '.join(names)}."
    return make_chart("parameters", alt, lambda figure, is_narrow: _draw_parameters(figure, is_narrow, trials, names))


def parameter_names(trials: Sequence[TrialRecord]) -> list[str]:
    """The parameters that take more than one value among the trials with a score, those of most trials first."""
    scored = [trial for trial in trials if score(trial) is not None]
    values: dict[str, list[object]] = {}
    for trial in scored:
        for name, value in trial.params.items():
            values.setdefault(name, []).append(value)
    varied = [name for name, found in values.items() if len({str(value) for value in found}) > 1]
    return sorted(varied, key=lambda name: -len(values[name]))


def _draw_parameters(figure: Figure, is_narrow: bool, trials: Sequence[TrialRecord], names: Sequence[str]) -> None:
    n_columns = min(2 if is_narrow else 4, len(names))
    n_rows = -(-len(names) // n_columns)
    figure.set_figheight(0.5 + 1.75 * n_rows)
    panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    floor = accuracy_floor(trials)
    for axes, name in zip(panels.flat, names, strict=False):
        _draw_parameter(axes, trials, name, floor)
    for axes in list(panels.flat)[len(names) :]:
        axes.set_visible(False)
    figure.supylabel("selection accuracy (%)", fontsize=10)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(),
        loc="outside upper left",
        ncols=1 if is_narrow else 3,
        fontsize=9,
        frameon=False,
    )


def _draw_parameter(axes: Axes, trials: Sequence[TrialRecord], name: str, floor: float) -> None:
    scored = [trial for trial in trials if name in trial.params and score(trial) is not None]
    place, labels, is_logarithmic = _places([trial.params[name] for trial in trials if name in trial.params])
    jitter = np.random.default_rng(0).uniform(-0.18, 0.18, len(scored)) if labels else np.zeros(len(scored))
    top = max(score(trial) for trial in trials if score(trial) is not None)
    span = max(top - floor, 0.004)
    for state in ("pruned", "complete"):
        colour, marker, label = STATE_STYLES[state]
        rows = [i for i, trial in enumerate(scored) if trial.state == state]
        axes.scatter(
            [place(scored[i].params[name]) + jitter[i] for i in rows],
            [_clamped(score(scored[i]), floor, floor - 0.07 * span) for i in rows],
            s=13,
            c="none" if state == "pruned" else colour,
            edgecolors=colour,
            alpha=0.5 if state == "pruned" else 0.85,
            marker=marker,
            linewidths=0.8,
            label=label,
            rasterized=len(trials) > MANY_POINTS,
        )
    axes.set_title(fitting(name), fontsize=9)
    axes.set_ylim(floor - 0.14 * span, top + 0.08 * span)
    clean(axes)
    percent_axis(axes)
    axes.tick_params(labelsize=8)
    if labels:
        size, rotation = (8, 0) if sum(map(len, labels)) <= 18 else (7, 90)
        axes.set_xticks(range(len(labels)), labels, fontsize=size, rotation=rotation)
        axes.set_xlim(-0.5, len(labels) - 0.5)
    elif is_logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(3))


def _places(values: Sequence[object]) -> tuple[Callable[[object], float], list[str], bool]:
    """How values become places on the axis, the labels of the places (none for a scale), and whether it is
    logarithmic. Words, truth values and up to 6 whole numbers get a strip each."""
    distinct = set(values)
    if not all(is_number(value) for value in distinct):
        labels = sorted({parameter_value(value) for value in distinct})
        return lambda value: float(labels.index(parameter_value(value))), labels, False
    if len(distinct) <= 6 and all(float(value).is_integer() for value in distinct):
        ordered = sorted(distinct)
        return lambda value: float(ordered.index(value)), [parameter_value(value) for value in ordered], False
    return float, [], min(distinct) > 0 and max(distinct) / min(distinct) >= 50


# --------------------------------------------------------------------------------------------------- winner and test


# ------------------------------------------------------------------------------------------------------------ images


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
    axes.set_xticks([rung.n_images for rung in _apart(rungs)], [thousands(rung.n_images) for rung in _apart(rungs)])
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
