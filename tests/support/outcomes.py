"""Outcomes of trials, for tests of what the dashboard shows of them."""

from __future__ import annotations

import numpy as np

from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from fmnist.training.history import HistoryPoint
from search.study.objective import Outcome, RungEnd

BLOCKS = (Block(16, 1, 3), Block(32, 3, 3, dropout=0.1, residual=True))
RECIPE = Recipe(Architecture((16, 16, 1), 3, BLOCKS, dense_units=(20,), head_dropout=0.2), TrainingPlan())
CLASS_NAMES = ("boot", "bag with $igns", "coat")
RUNGS = (1000, 4000, 16000)


def rung(n_images: int, n_before: int) -> RungEnd:
    """A rung that was trained to its end, evaluated four times."""
    marks = range(n_images // 4, n_images + 1, n_images // 4)
    history = [HistoryPoint(mark, 1.0, 1e-3, 1.0, 0.6, 0.9, 0.5 + mark / n_images / 4) for mark in marks]
    return RungEnd(tuple(history), n_before, np.array([[20, 0, 1], [3, 18, 0], [0, 0, 25]]))


FAR = Outcome(RECIPE, "pruned after 4,000 images", 0.75, 12.0, (rung(1000, 0), rung(4000, 1000)), got_far=True)
NEAR = Outcome(RECIPE, "pruned after 1,000 images", 0.75, 2.0, (rung(1000, 0),), got_far=False)
