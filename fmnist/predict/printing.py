"""How predictions and scores are printed: aligned lines for people, JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fmnist.output import printable
from fmnist.predict.evaluation import EvaluatedImages
from fmnist.predict.predictions import Prediction

if TYPE_CHECKING:
    from fmnist.metrics.intervals import Interval

MOST_ROWS = 20  # classes whose confusion matrix is shown
N_HARDEST = 10  # classes that are shown where there are more
WIDTH = 100  # of a table, at most
LONGEST_NAME = 18  # of a class in a table


def as_json(prediction: Prediction, *, with_label: bool = False) -> str:
    """Write a prediction as one JSON object, with the same keys whether or not the picture could be read."""
    width, height = prediction.original_size or (None, None)
    fields: dict[str, Any] = {
        "path": prediction.path,
        "class": prediction.class_name,
        "probability": prediction.probability,
        "top": [{"class": one.class_name, "probability": one.probability} for one in prediction.top],
        "inverted": prediction.inverted,
        "fitted": prediction.fitted,
        "width": width,
        "height": height,
        "error": prediction.error,
    }
    if with_label:
        fields["label"] = prediction.label
    return json.dumps(fields)


def as_table(predictions: Sequence[Prediction]) -> list[str]:
    """Write a line for each prediction, in aligned columns. On a terminal, paths are cut at their front to fit in."""
    paths, names, probabilities, runners_up, remarks = [], [], [], [], []
    for prediction in predictions:
        paths.append(printable(prediction.path))
        names.append(printable(prediction.class_name or ""))
        probabilities.append(f"{prediction.probability:6.1%}")
        runners_up.append(", ".join(f"{printable(one.class_name)} {one.probability:.0%}" for one in prediction.top[1:]))
        if prediction.inverted:
            remarks.append("inverted")
        else:
            remarks.append("")
    columns = (aligned(names), probabilities, aligned(runners_up), remarks)
    return _with_paths(paths, list(map("  ".join, zip(*columns, strict=True))))


def _with_paths(paths: Sequence[str], rests: Sequence[str]) -> list[str]:
    """Lines of a path and the rest; on a terminal, paths are cut at their front to fit in."""
    room = max(16, terminal_width() - 2 - max(map(len, rests), default=0))
    cut = [path if len(path) <= room else f"…{path[-room + 1 :]}" for path in paths]
    return [f"{path}  {rest}".rstrip() for path, rest in zip(aligned(cut), rests, strict=True)]


def aligned(texts: Sequence[str]) -> list[str]:
    """Pad texts with spaces to the length of the longest."""
    width = max(map(len, texts), default=0)
    return [text.ljust(width) for text in texts]


def terminal_width() -> int:
    """Tell how many characters fit on a line: any number if programs read the output, which want whole paths."""
    if sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return sys.maxsize


def summary_as_json(found: EvaluatedImages) -> str:
    """Write scores as one JSON object with the one key `summary`, all mistakes included."""
    scores = found.scores
    per_class = []
    for one in scores.per_class:
        recall = one.recall if one.support else None
        interval = _ends(one.recall_interval)
        per_class.append({"class": one.name, "images": one.support, "recall": recall, "recall_interval_95": interval})
    mistakes = []
    for one in found.mistakes:
        mistakes.append({"path": one.path, "label": one.label, "class": one.class_name, "probability": one.probability})
    summary = {
        "images": scores.n_images,
        "unreadable": found.n_unreadable,
        "accuracy": scores.accuracy,
        "accuracy_interval_95": _ends(scores.accuracy_interval),
        "balanced_accuracy": scores.balanced_accuracy,
        "log_loss": scores.log_loss,
        "per_class": per_class,
        "classes": found.class_names,
        "confusion_matrix": scores.confusion_matrix,  # row label, column predicted
        "mistakes": mistakes,
    }
    return json.dumps({"summary": summary})


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def summary_lines(found: EvaluatedImages, top_mistakes: int) -> list[str]:
    """Write scores for people: what is right, the classes and what they are taken for, and the worst mistakes."""
    scores = found.scores
    low, high = scores.accuracy_interval.low, scores.accuracy_interval.high
    n_right = scores.n_images - len(found.mistakes)
    lines = [
        f"{scores.n_images:,} images, {n_right:,} right: accuracy {scores.accuracy:.2%} (95 % interval {low:.2%} to "
        f"{high:.2%})"
    ]
    if found.is_uneven:
        lines.append(f"balanced accuracy {scores.balanced_accuracy:.2%}, the mean recall, as the classes are uneven")
    if found.n_unreadable:
        lines.append(f"not scored, as unreadable: {found.n_unreadable:,}")
    lines += ["", *_class_lines(found)]
    if found.mistakes:
        lines += ["", *_mistake_lines(found.mistakes, top_mistakes)]
    return lines


def _class_lines(found: EvaluatedImages) -> list[str]:
    """The confusion matrix beside the recall of each class; with too many for a screen, the worst of both."""
    table = _matrix(found)
    if len(found.class_names) <= MOST_ROWS and max(map(len, table)) <= min(terminal_width(), WIDTH):
        return ["recall of each class, and how many of its images are taken for which class", *table]
    present = [one for one in found.scores.per_class if one.support]
    worst = sorted(present, key=lambda one: one.recall)[:N_HARDEST]
    names = aligned([printable(one.name) for one in worst])
    lines = [f"lowest recall, of {len(present)} classes with images"]
    for name, one in zip(names, worst, strict=True):
        lines.append(f"  {name}  {one.recall:6.1%}  of {one.support:,}")
    if found.scores.most_confused:
        lines += ["", "most confused"]
    for pair in found.scores.most_confused:
        lines.append(f"  {printable(pair.true)} taken for {printable(pair.predicted)}: {pair.n_images:,}")
    return lines


def _matrix(found: EvaluatedImages) -> list[str]:
    """A row a class: number, name, images, recall, and how many of its images are predicted as each class."""
    scores = found.scores
    most = max(max(row) for row in scores.confusion_matrix)
    width = max(len(str(most)), len(str(len(found.class_names) - 1)))
    numbers = [str(number).rjust(width) for number in range(len(found.class_names))]
    names = numbers
    if list(found.class_names) != list(map(str, range(len(numbers)))):
        names = [f"{number} {_short(name)}" for number, name in zip(numbers, found.class_names, strict=True)]
    labels = aligned(["class", *names])
    lines = [f"{labels[0]}      n  recall  {' '.join(numbers)}"]
    for label, one, row in zip(labels[1:], scores.per_class, scores.confusion_matrix, strict=True):
        recall = f"{one.recall:.1%}" if one.support else "-"
        counts = [str(count or ".").rjust(width) for count in row]
        lines.append(f"{label}  {one.support:>5}  {recall:>6}  {' '.join(counts)}")
    return lines


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _mistake_lines(mistakes: Sequence[Prediction], limit: int) -> list[str]:
    shown = mistakes[:limit]
    head = f"mistakes, the most confident first: {len(mistakes):,}"
    if len(mistakes) > len(shown):
        head = f"mistakes, the most confident first: {len(shown):,} of {len(mistakes):,}"
    rests = []
    for one in shown:
        taken_for = f"{printable(one.label or '')} taken for {printable(one.class_name or '')}"
        rests.append(f"{one.probability:6.1%}  {taken_for}")
    return [head, *_with_paths([printable(one.path) for one in shown], rests)]
