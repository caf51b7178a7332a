"""What fit and predict may be given: images in several shapes, pixels in several ranges, labels of any type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.preprocessing import StandardScaler

from search.classifier.inputs import (
    as_images,
    classes_of,
    image_shape_of,
    names_of_classes,
    require_dense,
    require_image_shape,
)
from tests.support.remedies import needs_remedy

ROWS = np.arange(20 * 64).reshape(20, 64) % 200


def test_rows_become_images_of_the_shape_that_is_said() -> None:
    assert as_images(ROWS, (8, 8)).shape == (20, 8, 8)
    assert as_images(ROWS[:, :48], (4, 4, 3)).shape == (20, 4, 4, 3)
    assert as_images(ROWS, None) is ROWS  # square ones are read as such later


def test_rows_that_are_no_square_need_their_shape() -> None:
    with needs_remedy(
        "X must have images, or rows of as many pixels as a square has, but got rows of {} features; pass"
    ):
        as_images(ROWS[:, :48], None)
    assert as_images(ROWS[:, :48], image_shape_of((6, 8))).shape == (20, 6, 8)


def test_image_shape_has_as_many_pixels_as_there_are_features() -> None:
    with needs_remedy("image_shape must have as many pixels as X has features, {}, but got {}; pass the height"):
        as_images(ROWS, (28, 28))
    assert as_images(ROWS, (8, 8)).shape == (20, 8, 8)


@pytest.mark.parametrize("wrong", [64, (64,), (8, 0), (8, 8, 1, 1), "8x8", (8.5, 8), (True, 64), (3, 16, 16)])
def test_image_shape_is_two_or_three_numbers(wrong: Any) -> None:
    with needs_remedy("image_shape must be (height, width) or (height, width, channels), but got {}; pass"):
        image_shape_of(wrong)
    assert image_shape_of([8, np.int64(8)]) == (8, 8)
    assert image_shape_of(None) is None


def test_scaled_pixels_are_refused_and_unscaled_ones_are_not() -> None:
    scaled = StandardScaler().fit_transform(ROWS)
    with needs_remedy(
        "Negative values in data: X must have pixels, from 0 to 255 or from 0 to 1, but got {} to {}; leave"
    ):
        as_images(scaled, None)
    as_images(ROWS, None)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["owl", "tit", "owl"], ["owl", "tit"]),
        ([5, -2, 5], ["-2", "5"]),
        ([True, False, True], ["False", "True"]),
        (np.array(["b", "a", "b"], object), ["a", "b"]),
        (["", "a\tb", "c"], ["''", "'a\\tb'", "c"]),
    ],
)
def test_labels_of_any_type_are_numbered_and_named(labels: Any, names: list[str]) -> None:
    y = np.asarray(labels)
    classes, numbers = classes_of(y)
    assert classes[numbers].tolist() == y.tolist()
    assert names_of_classes(classes) == names


def test_what_is_no_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown label type"):
        classes_of(np.array([0.5, 1.25, 3.75]))


@pytest.mark.parametrize("labels", [[1, "one", 1], ["2", 1, "2"], ["owl", None, "tit"]])
def test_labels_of_several_types_become_texts(labels: list[Any]) -> None:
    with needs_remedy("y must have labels of one type, but got {}; make them all texts, such as [str(label)"):
        classes_of(np.array(labels, object))
    assert len(classes_of(np.array([str(label) for label in labels if label is not None]))[0]) == 2


@pytest.mark.parametrize("labels", [np.array([b"owl", b"tit"]), np.array([b"owl", b"tit"], object)])
def test_labels_in_bytes_become_texts(labels: np.ndarray) -> None:
    with needs_remedy("y must have labels that are texts, numbers or truth values, but got bytes; pass [label.decode("):
        classes_of(labels)
    assert classes_of(np.array([label.decode() for label in labels]))[0].tolist() == ["owl", "tit"]


def test_sparse_rows_become_dense_ones() -> None:
    with needs_remedy("X must be a dense array, but got a sparse one; pass X.toarray()"):
        require_dense(csr_array(ROWS))
    require_dense(csr_array(ROWS).toarray())


@pytest.mark.parametrize("wrong", [(4, 16), (8, 8, 3)])
def test_image_shape_does_not_contradict_images(wrong: tuple[int, ...]) -> None:
    with needs_remedy("image_shape must be that of the images in X, {}, but got {}; leave it out, as it is for rows"):
        require_image_shape(wrong, (8, 8, 1))
    for right in (None, (8, 8), (8, 8, 1)):
        require_image_shape(right, (8, 8, 1))
