"""scikit-learn's own checks of an estimator: those that images can satisfy, and why the others cannot be.

None of them trains: the data of the checks are rows of a few numbers, which are no images, and are refused before
anything begins. What they would ask of a fitted estimator, `test_estimator.py` asks of one that was fitted on images.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from search import ImageSearchClassifier

NO_IMAGES = "its X has rows of 2 to 10 numbers, which are no images of 4 x 4 pixels or more"
EXPECTED_FAILURES = dict.fromkeys(
    (
        "check_classifier_data_not_an_array",
        "check_classifiers_classes",
        "check_classifiers_one_label",
        "check_classifiers_train",
        "check_dict_unchanged",
        "check_dont_overwrite_parameters",
        "check_dtype_object",
        "check_estimators_dtypes",
        "check_estimators_fit_returns_self",
        "check_estimators_nan_inf",
        "check_estimators_overwrite_params",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_fit2d_predict1d",
        "check_fit_check_is_fitted",
        "check_fit_idempotent",
        "check_fit_score_takes_y",
        "check_n_features_in",
        "check_n_features_in_after_fitting",
        "check_readonly_memmap_input",
        "check_supervised_y_2d",
    ),
    NO_IMAGES,
)


def expected_failures(estimator: BaseEstimator) -> dict[str, str]:
    return EXPECTED_FAILURES


@parametrize_with_checks([ImageSearchClassifier(trials=1)], expected_failed_checks=expected_failures)
def test_estimator_keeps_to_the_checks_of_scikit_learn(
    estimator: BaseEstimator, check: Callable[[BaseEstimator], None]
) -> None:
    check(estimator)


def test_pipelines_are_told_what_the_classifier_takes() -> None:
    tags = ImageSearchClassifier().__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert tags.input_tags.two_d_array and tags.input_tags.three_d_array and tags.input_tags.positive_only
    assert tags.target_tags.required and not tags.input_tags.sparse and not tags.input_tags.allow_nan


@pytest.mark.parametrize("name", sorted(EXPECTED_FAILURES))
def test_checks_that_are_expected_to_fail_exist(name: str) -> None:
    import sklearn.utils.estimator_checks as checks

    assert hasattr(checks, name)
