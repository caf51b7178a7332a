from __future__ import annotations

import numpy as np
import pytest

from fmnist.export.formats import find_format
from fmnist.export.parity import ExportFailed, compare, require_parity

INT8 = find_format("litert-int8")


def probabilities(lead: float, n: int = 200) -> np.ndarray:
    """float32 (n, 3); class 0 leads class 1 by so much."""
    return np.tile(np.array([0.45 + lead / 2, 0.45 - lead / 2, 0.1], np.float32), (n, 1))


def turned(reference: np.ndarray, n: int) -> np.ndarray:
    """The same with classes 0 and 1 exchanged in the first n."""
    changed = reference.copy()
    changed[:n, :2] = changed[:n, 1::-1]
    return changed


@pytest.mark.parametrize(("lead", "n_turned"), [(0.3, 0), (0.3, 2), (0.09, 200)])
def test_weights_in_8_bits_may_change_a_hundredth_and_what_was_undecided(lead: float, n_turned: int) -> None:
    reference = probabilities(lead)
    require_parity(INT8, reference, turned(reference, n_turned))


def test_weights_in_8_bits_may_not_change_more() -> None:
    reference = probabilities(0.3)
    reason = "on 1.5% of the images, more than 1%, it changes a class that led by more than 0.1"
    with pytest.raises(ExportFailed, match=reason):
        require_parity(INT8, reference, turned(reference, 3))


@pytest.mark.parametrize("name", ["litert-int8-full", "onnx-int8"])
def test_all_in_8_bits_may_change_a_twentieth(name: str) -> None:
    reference = probabilities(0.3)
    require_parity(find_format(name), reference, turned(reference, 10))
    with pytest.raises(ExportFailed, match=r"on 5\.5% of the images, more than 5%, it changes a class"):
        require_parity(find_format(name), reference, turned(reference, 11))


def test_images_that_one_alone_has_right_are_counted() -> None:
    reference = probabilities(0.3)  # says class 0
    labels = np.array([0] * 150 + [1] * 50)
    changed = turned(reference, 160)  # wrong now in 150, right in 10
    found = compare(reference, changed, labels)
    assert (found.n_only_file_right, found.n_only_model_right) == (10, 150)
    assert found.accuracy == 10 / 200
    unknown = compare(reference, changed, None)
    assert (unknown.accuracy, unknown.n_only_file_right, unknown.n_only_model_right) == (None, None, None)


def test_float32_may_change_the_class_of_a_tie_only() -> None:
    onnx, tie, lead = find_format("onnx"), probabilities(0.00005), probabilities(0.001)
    require_parity(onnx, tie, turned(tie, 200))
    with pytest.raises(ExportFailed, match=r"differ by up to 0\.001 from the model's"):
        require_parity(onnx, lead, turned(lead, 1))
