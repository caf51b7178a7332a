from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from fmnist.metrics.calibration import (
    expected_calibration_error,
    fit_temperature,
    log_loss,
    reliability,
    with_temperature,
)


def overconfident(n: int = 4000, factor: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from known probabilities, and these probabilities with their logits multiplied by `factor`."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (n, 4))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((n, 1)) > honest.cumsum(axis=1)).sum(axis=1)
    return labels, with_temperature(honest, 1 / factor)


def test_fitted_temperature_is_the_one_the_probabilities_were_sharpened_by() -> None:
    assert fit_temperature(*overconfident()) == pytest.approx(2.5, rel=0.06)


def test_temperature_fixes_calibration_and_keeps_the_classes() -> None:
    labels, probabilities = overconfident()
    calibrated = with_temperature(probabilities, fit_temperature(labels, probabilities))
    assert expected_calibration_error(labels, calibrated) < 0.3 * expected_calibration_error(labels, probabilities)
    assert log_loss(labels, calibrated) < log_loss(labels, probabilities)
    np.testing.assert_array_equal(calibrated.argmax(axis=1), probabilities.argmax(axis=1))


def test_temperature_one_changes_nothing() -> None:
    _, probabilities = overconfident(50)
    np.testing.assert_allclose(with_temperature(probabilities, 1.0), probabilities, atol=1e-12)


def test_log_loss_is_that_of_scikit_learn_and_finite_at_zero() -> None:
    labels, probabilities = overconfident(300)
    assert log_loss(labels, probabilities) == pytest.approx(metrics.log_loss(labels, probabilities, labels=range(4)))
    assert np.isfinite(log_loss(np.array([0]), np.array([[0.0, 1.0]])))


@pytest.mark.parametrize("certain", [1.0, 1.0 + 1e-7])
def test_log_loss_of_certainty_has_no_minus_sign(certain: float) -> None:
    assert f"{log_loss(np.array([0]), np.array([[certain, 0.0]], np.float32)):.4f}" == "0.0000"


def test_reliability_bins_hold_every_image_once() -> None:
    labels, probabilities = overconfident()
    bins = reliability(labels, probabilities)
    assert sum(b.n_images for b in bins) == len(labels)
    for b in bins:
        confidences = probabilities.max(axis=1)
        inside = (confidences > b.low) & (confidences <= b.high)
        assert b.accuracy == pytest.approx(np.mean(probabilities[inside].argmax(axis=1) == labels[inside]))
        assert b.low < b.mean_confidence <= b.high + 1e-12
        assert b.accuracy_interval.low <= b.accuracy <= b.accuracy_interval.high


def test_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    labels, probabilities = overconfident()
    gaps = [b.n_images * abs(b.accuracy - b.mean_confidence) for b in reliability(labels, probabilities)]
    assert expected_calibration_error(labels, probabilities) == pytest.approx(sum(gaps) / len(labels))
