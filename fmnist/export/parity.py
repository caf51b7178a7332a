"""Does an exported file say what the model says? Its probabilities are compared with the model's on the same images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fmnist.export.formats import CLEAR_LEAD, LARGEST_DIFFERENCE, Format
from fmnist.metrics.intervals import mcnemar


class ExportFailed(Exception):
    """There will be no file of this format. The message is the reason, in one line.

    Args:
        reason: the message.
        trace: the end of what a failed process said.
    """

    def __init__(self, reason: str, trace: str = "") -> None:
        super().__init__(reason)
        self.trace = trace


@dataclass(frozen=True)
class Comparison:
    """What was found, as an ExportRecord says it."""

    largest_difference: float  # of any probability
    n_same_class: int  # images whose likeliest class is the model's
    accuracy: float | None = None  # where the images' labels are known
    n_only_file_right: int | None = None  # images that the file has right and the model wrong, where they are known
    n_only_model_right: int | None = None


def compare(reference: np.ndarray, probabilities: np.ndarray, labels: np.ndarray | None) -> Comparison:
    """Compare a file's probabilities with the model's.

    Args:
        reference: the model's, float32 (n, n_classes).
        probabilities: the file's, of any shape.
        labels: integers (n,); None if unknown.

    Raises:
        ExportFailed: they cannot be compared.
    """
    if probabilities.shape != reference.shape:
        raise ExportFailed(f"it gives outputs of shape {probabilities.shape} instead of {reference.shape}")
    if not np.isfinite(probabilities).all():
        raise ExportFailed("it gives probabilities that are not finite")
    classes, model_classes = probabilities.argmax(axis=1), reference.argmax(axis=1)
    comparison = Comparison(
        largest_difference=float(np.abs(probabilities - reference).max()),
        n_same_class=int((classes == model_classes).sum()),
    )
    if labels is None:
        return comparison
    test = mcnemar(labels, classes, model_classes)
    return replace(
        comparison,
        accuracy=float((classes == labels).mean()),
        n_only_file_right=test.n_only_a,
        n_only_model_right=test.n_only_b,
    )


def require_parity(format: Format, reference: np.ndarray, probabilities: np.ndarray) -> None:
    """Require that a file says what the model does, see `Format.limit`.

    Within the limit of exact formats, the likeliest class can only change where two are closer than twice that.

    Args:
        format: whose limit holds.
        reference: the model's probabilities, float32 (n, n_classes).
        probabilities: the file's, of the same shape.

    Raises:
        ExportFailed: it says something else.
    """
    if format.most_changed is None:
        difference = np.abs(probabilities - reference).max()
        if difference > LARGEST_DIFFERENCE:
            raise ExportFailed(
                f"its probabilities differ by up to {difference:.2g} from the model's, more than {LARGEST_DIFFERENCE:g}"
            )
        return
    second, first = np.sort(reference, axis=1)[:, -2:].T
    has_changed = probabilities.argmax(axis=1) != reference.argmax(axis=1)
    share = float(np.mean(has_changed & (first - second > CLEAR_LEAD)))
    if share > format.most_changed:
        raise ExportFailed(
            f"on {share:.1%} of the images, more than {format.most_changed:.0%}, it changes a class that led by more "
            f"than {CLEAR_LEAD:g}"
        )
