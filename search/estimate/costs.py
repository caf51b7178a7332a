"""What a training takes, by its network and its length: a line through what a few short ones took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Recipe
from search.worker.probes import Probe


@dataclass(frozen=True)
class Costs:
    """Seconds of trainings: those of an image are a line over its network's multiply-adds."""

    start_seconds: float  # of each training process
    fixed_seconds: float  # an image, whatever the network
    seconds_a_multiply_add: float
    share_seen: float  # what an image costs that is only evaluated, as a share of one that is learned from

    def seconds_an_image(self, recipe: Recipe) -> float:
        """Return the seconds that a training takes for an image."""
        return self.fixed_seconds + self.seconds_a_multiply_add * count_multiply_adds(recipe.architecture)

    def seconds(self, recipe: Recipe, n_images: int, n_seen: int) -> float:
        """Return the seconds of a training without its start.

        n_images: learned from, repeats counted. n_seen: evaluated.
        """
        return (n_images + self.share_seen * n_seen) * self.seconds_an_image(recipe)


def fit_costs(probes: Sequence[Probe], n_seen: int) -> Costs:
    """Fit the line of seconds over multiply-adds by least squares of relative errors, neither term below 0.

    Relative errors, since a sum of trainings is off by what each is off by, by its share: small networks count as much
    as large ones. n_seen: images of an evaluation.

    A single probe of a second may be off by half where the machine has other work, more than networks lie off the line
    (a sixth, of nine trials of Fashion-MNIST): so the line holds for those that were measured too.
    """
    evaluation = float(np.median([probe.evaluation_in_images for probe in probes]))
    starts, seconds, multiply_adds = np.zeros((3, len(probes)))
    for i, probe in enumerate(probes):
        seconds[i] = seconds_an_image(probe, evaluation)
        starts[i] = probe.first_seconds - (probe.n_first + evaluation) * seconds[i]
        multiply_adds[i] = count_multiply_adds(probe.recipe.architecture)
    scale = multiply_adds.max()  # else the columns differ by a million
    columns = np.stack([1 / seconds, multiply_adds / scale / seconds], axis=1)
    fixed, by_cost = nnls(columns, np.ones(len(probes)))[0]
    return Costs(
        start_seconds=max(0.0, float(np.mean(starts))),
        fixed_seconds=float(fixed),
        seconds_a_multiply_add=float(by_cost / scale),
        share_seen=evaluation / n_seen,
    )


def seconds_an_image(probe: Probe, evaluation_in_images: float) -> float:
    """Return the seconds of an image in both of a probe's trainings together: their difference would be noisier.

    evaluation_in_images: what an evaluation costs, in images that are learned from.
    """
    return sum(probe.seconds) / (sum(probe.n_images) + 2 * evaluation_in_images)
