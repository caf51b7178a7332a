"""The pictures of a report: charts as SVG and PNG, images as PNG. Every chart comes in two widths, for page and phone.

Matplotlib's object interface only, so that nothing global is touched and reports can be written from any thread.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from PIL import Image, ImageDraw, ImageFont

from fmnist.metrics.evaluation import Evaluation
from search.format import parameter_value
from search.records.models import ConfirmRecord, TrialRecord
from search.report.analysis import is_number

# Okabe and Ito's colours, told apart with any colour vision
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#00795A", "#A6528A", "#6b6b6b"
STATE_STYLES = {  # state -> colour, marker, label
    "complete": (BLUE, "o", "trained to the end"),
    "pruned": (ORANGE, "v", "stopped early (best so far)"),
    "failed": (PURPLE, "X", "failed"),
    "infeasible": (GREY, "s", "outside the limits"),
}
PAGE_INCHES, PHONE_INCHES = 7.9, 3.75  # 72 points each; a browser shows a point as 4/3 pixels
PNG_DPI = 130
MANY_POINTS = 400  # above it, points go into the SVG as one bitmap, to keep the page light
MANY_CLASSES = 30  # above it, a confusion matrix is a picture without numbers, and tables of classes scroll
MOST_NAMED_CLASSES = 120  # above it, that picture has no names either
SVG_STYLE = {"svg.fonttype": "path", "svg.hashsalt": "report"}  # the same records give the same bytes

Draw = Callable[[Figure, bool], None]  # (empty figure, whether it is for a phone)


@dataclass(frozen=True)
class Chart:
    """One chart, drawn for page and phone."""

    name: str  # of its file, without suffix
    alt: str  # what it shows, for those who don't see it
    wide_svg: bytes
    narrow_svg: bytes
    wide_width: int  # CSS pixels
    wide_height: int
    png: bytes


def make_chart(name: str, alt: str, draw: Draw) -> Chart:
    wide, narrow = _drawn(draw, PAGE_INCHES, False), _drawn(draw, PHONE_INCHES, True)
    width, height = (round(96 * inches) for inches in wide.get_size_inches())
    return Chart(name, alt, _svg(wide), _svg(narrow), width, height, figure_png(wide))


def _drawn(draw: Draw, width_inches: float, is_narrow: bool) -> Figure:
    figure = Figure(figsize=(width_inches, width_inches / 2), layout="constrained", facecolor="white")
    draw(figure, is_narrow)
    return figure


def _svg(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with matplotlib.rc_context(SVG_STYLE), _without_word_of_missing_glyphs():
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def figure_png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.set_dpi(PNG_DPI)
    with _without_word_of_missing_glyphs():
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


@contextmanager
def _without_word_of_missing_glyphs() -> Iterator[None]:
    """Matplotlib's font lacks some scripts: names in them are boxes in pictures, and right in the page."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def clean(axes: Axes, *, grid: str = "y") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e3e3e3", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)


def percent_axis(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 3):g}"))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


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


def fitting(name: str, limit: int = 24) -> str:
    """As much of a name as there is room for; its dollar signs begin no formula."""
    shown = name if len(name) <= limit else f"{name[: limit - 1]}…"
    return shown.replace("$", r"\$")


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


def learning_chart(record: ConfirmRecord, n_train: int) -> Chart:
    alt = "Loss and accuracy over the epochs of the winner's confirmation training, on training and selection images."
    return make_chart("learning", alt, lambda figure, is_narrow: _draw_learning(figure, is_narrow, record, n_train))


def _draw_learning(figure: Figure, is_narrow: bool, record: ConfirmRecord, n_train: int) -> None:
    figure.set_figheight(5.4 if is_narrow else 3.2)
    loss, accuracy = figure.subplots(2, 1, sharex=True) if is_narrow else figure.subplots(1, 2)
    _draw_curves(loss, record, n_train, "loss")
    _draw_curves(accuracy, record, n_train, "accuracy")
    loss.set_ylabel("cross-entropy loss", fontsize=10)
    accuracy.set_ylabel("accuracy (%)", fontsize=10)
    percent_axis(accuracy)
    accuracy.set_xlabel("epochs", fontsize=10)
    if not is_narrow:
        loss.set_xlabel("epochs", fontsize=10)
    handles, labels = accuracy.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=1 if is_narrow else 3, fontsize=9, frameon=False)


def _draw_curves(axes: Axes, record: ConfirmRecord, n_train: int, figure_name: str) -> None:
    """Training and validation figures over the epochs, with the best point marked."""
    for part, colour, style, label in (
        ("train", ORANGE, "--", "training (augmented images)"),
        ("validation", BLUE, "-", "validation (selection split)"),
    ):
        drawn = [(p.n_images / n_train, getattr(p, f"{part}_{figure_name}")) for p in record.history]
        drawn = [(x, y) for x, y in drawn if y is not None]
        if drawn:
            axes.plot(
                *zip(*drawn, strict=True), style, color=colour, linewidth=1.6, label=label, marker=".", markersize=4
            )
    best = getattr(record.best, f"validation_{figure_name}")
    if best is not None:
        axes.plot(
            record.best.n_images / n_train, best, "*", color="#111111", markersize=12, label="best point", zorder=4
        )
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.set_xlim(left=0)
    clean(axes)


def finalists_chart(rows: Sequence[Mapping[str, object]]) -> Chart:
    """rows: as in report.json's `finalists`."""
    alt = (
        "Accuracy of each finalist in the search and in its confirmation training, on selection and confirmation split."
    )
    return make_chart("finalists", alt, lambda figure, is_narrow: _draw_finalists(figure, is_narrow, rows))


def _draw_finalists(figure: Figure, is_narrow: bool, rows: Sequence[Mapping[str, object]]) -> None:
    figure.set_figheight(1.5 + 0.34 * len(rows) + (0.5 if is_narrow else 0))
    axes = figure.add_subplot()
    places = np.arange(len(rows))[::-1]
    for key, colour, marker, label, shift in (
        ("search_accuracy", GREY, "o", "in the search", 0.2),
        ("full_selection_accuracy", ORANGE, "v", "selection split, confirmation training", 0.0),
    ):
        drawn = [(row[key], place + shift) for row, place in zip(rows, places, strict=True) if row[key] is not None]
        axes.scatter(
            *(zip(*drawn, strict=True) if drawn else ([], [])),
            c="none",
            edgecolors=colour,
            marker=marker,
            s=30,
            label=label,
        )
    middle = np.array([row["confirm_accuracy"] for row in rows])
    low, high = np.array([row["confirm_wilson_95"] for row in rows]).T
    axes.errorbar(
        middle, places - 0.2, xerr=(middle - low, high - middle), fmt="D", color=BLUE, markersize=5, capsize=3,
        label="confirmation split, with 95 % interval",
    )  # fmt: skip
    labels = [f"trial {row['trial']}{' (default)' if row['is_default'] else ''}" for row in rows]
    axes.set_yticks(places, labels)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("accuracy (%)", fontsize=10)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 3):g}"))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    clean(axes, grid="x")
    figure.legend(loc="outside upper left", ncols=1 if is_narrow else 3, fontsize=9, frameon=False)


def confusion_png(evaluation: Evaluation) -> bytes:
    """The confusion matrix as a heat map, mistakes in a scale of their own. Of many classes without numbers, of very
    many without names."""
    return figure_png(confusion_figure(np.array(evaluation.confusion_matrix), [it.name for it in evaluation.per_class]))


def confusion_figure(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """counts: int (n_classes, n_classes), images by true and predicted class."""
    n, is_crowded = len(names), len(names) > MANY_CLASSES
    shown = [fitting(name) for name in names]
    side = 15.0 if is_crowded else 1.0 + 0.075 * max(map(len, shown)) + 0.45 * n
    figure = Figure(figsize=(side, side), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    is_right = np.eye(n, dtype=bool)
    axes.imshow(np.where(is_right, np.nan, _shade(counts)), cmap="Oranges", vmin=0, vmax=1.6)
    if is_crowded:  # the diagonal would look empty
        axes.imshow(np.where(is_right, 1.0, np.nan), cmap=ListedColormap(["#b9d9ee"]))
    else:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                axes.text(j, i, f"{count}", ha="center", va="center", fontsize=8, weight="bold" if i == j else "normal")
    size = 9.0 if not is_crowded else max(4.0, 650 / n)  # points: as large as rows are high
    if n <= MOST_NAMED_CLASSES:
        axes.set_xticks(range(n), shown, rotation=90, fontsize=min(9.0, size))
        axes.set_yticks(range(n), shown, fontsize=min(9.0, size))
    by_number = "" if n <= MOST_NAMED_CLASSES else ", by its number from 0"
    axes.set_xlabel(f"predicted class{by_number}", fontsize=10)
    axes.set_ylabel(f"true class{by_number}", fontsize=10)
    return figure


def confusion_shade(evaluation: Evaluation) -> np.ndarray:
    """How strongly each cell is coloured, 0 to 1: the root of its share of the true class, the largest mistake 1."""
    return _shade(np.array(evaluation.confusion_matrix))


def _shade(counts: np.ndarray) -> np.ndarray:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    largest = (shares * (1 - np.eye(len(counts)))).max()
    return np.minimum(np.sqrt(shares / largest), 1) if largest else np.zeros_like(shares)


# ------------------------------------------------------------------------------------------------------------ images


def image_png(image: np.ndarray, shrink: float = 1.0) -> bytes:
    """image: uint8 (h, w, c) with 1 or 3 channels. Sides times `shrink`."""
    picture = _picture(image)
    if shrink < 1:
        picture = picture.resize([max(1, round(side * shrink)) for side in picture.size], Image.Resampling.BOX)
    return _encoded(picture)


def strip_png(images: np.ndarray, shrink: float = 1.0) -> bytes:
    """Images side by side, one pixel apart. images: uint8 (n, h, w, c)."""
    gap = np.full((images.shape[1], 1, images.shape[3]), 255, np.uint8)
    parts = [part for image in images for part in (image, gap)][:-1]
    return image_png(np.concatenate(parts, axis=1), shrink)


def sheet_png(tiles: Sequence[tuple[np.ndarray, Sequence[str]]], n_columns: int, tile_pixels: int = 84) -> bytes:
    """Images with lines of caption below, in rows. tiles: (uint8 (h, w, c), captions)."""
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), 13)
    n_lines = max(len(captions) for _, captions in tiles)
    width, height = max(tile_pixels + 16, 128 if n_lines else 0), tile_pixels + 8 + 17 * n_lines
    sheet = Image.new("RGB", (width * min(n_columns, len(tiles)), height * -(-len(tiles) // n_columns)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (image, captions) in enumerate(tiles):
        x, y = i % n_columns * width, i // n_columns * height
        scale = tile_pixels / max(image.shape[:2])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        sheet.paste(
            _picture(image).convert("RGB").resize(size, Image.Resampling.NEAREST), (x + (width - size[0]) // 2, y + 2)
        )
        for line, caption in enumerate(captions):
            text = _cut(caption, font, width - 6)
            draw.text((x + width / 2, y + tile_pixels + 4 + 17 * line), text, "black", font, anchor="ma")
    return _encoded(sheet)


def rows_png(rows: Sequence[tuple[str, np.ndarray]], side: int = 48) -> bytes:
    """A labelled row of images for each name. rows: (name, uint8 (n, h, w, c))."""
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), 14)
    margin = 12 + min(220, max(round(font.getlength(name)) for name, _ in rows))
    n_images = max(len(images) for _, images in rows)
    sheet = Image.new("RGB", (margin + n_images * (side + 2), len(rows) * (side + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, images) in enumerate(rows):
        y = row * (side + 4) + 2
        draw.text((4, y + side / 2), _cut(name, font, margin - 8), "black", font, anchor="lm")
        for column, image in enumerate(images):
            picture = _picture(image).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(picture, (margin + column * (side + 2), y))
    return _encoded(sheet)


def _cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, shortened to fit."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def _picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image[..., :3])


def _encoded(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
