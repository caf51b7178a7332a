"""How fast does a network learn at each step? The learning rate and the rate of weight averaging; plain arithmetic."""

from __future__ import annotations

import math

from fmnist.recipe import TrainingPlan


def learning_rate_at(plan: TrainingPlan, progress: float) -> float:
    """Compute the learning rate of one step: the plan's peak times a share.

    With t, the progress, and w = warmup_fraction, the share is:

        constant   1
        one_cycle  t / w while t < w, then (1 - t) / (1 - w)
        cosine     t / w while t < w, then (1 + cos(pi (t - w) / (1 - w))) / 2

    As t is never 0 or 1, no step has a rate of 0.

    Args:
        plan: names the schedule, its peak and its warm-up.
        progress: how far through the schedule the middle of the step lies, above 0 and below 1.

    Raises:
        ValueError: the progress lies outside the schedule.
    """
    if not 0 < progress < 1:
        raise ValueError(f"progress must be above 0 and below 1, but got {progress=}")
    if plan.schedule == "constant":
        return plan.peak_learning_rate
    warmup = plan.warmup_fraction
    if progress < warmup:
        return plan.peak_learning_rate * progress / warmup
    descent = (progress - warmup) / (1 - warmup)  # 0 at the peak, 1 at the end
    if plan.schedule == "one_cycle":
        return plan.peak_learning_rate * (1 - descent)
    return plan.peak_learning_rate * ((1 + math.cos(math.pi * descent)) / 2)


def averaging_rate_at(plan: TrainingPlan, step: int, n_steps: int) -> float:
    """Compute how far the average of the weights moves towards the weights after one step: 0 to 1.

    The exponential average remembers about `plan.averaging * n_steps` steps, less at the start, where it would
    otherwise hold on to the initial weights: (1 + step) / (10 + step) is the most that is kept, as in TensorFlow's own
    ExponentialMovingAverage. Averaging is by Polyak and Juditsky 1992.

    Args:
        plan: says how much is averaged, as a share of all steps.
        step: 0 <= step < n_steps.
        n_steps: steps of the whole schedule.
    """
    memory = max(1.0, plan.averaging * n_steps)
    kept = min(1 - 1 / memory, (1 + step) / (10 + step))
    return 1 - kept
