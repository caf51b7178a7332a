"""A short run told to a reporter, for tests of what the terminal and the JSON lines make of it."""

from __future__ import annotations

from collections.abc import Mapping

from fmnist.metrics.intervals import Interval
from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from fmnist.training.history import HistoryPoint
from search.callbacks.reporter import INFO, BestTrial, FinalistRow, NodeLoss, Reporter, SearchProgress

RECIPE = Recipe(Architecture((28, 28, 1), 10, (Block(32, 2, 3),) * 4), TrainingPlan())
POINT = HistoryPoint(30_000, 1.0, 0.1, 1.0, 0.5, 0.4, 0.9)


class Saying(Reporter):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.losses: list[NodeLoss] = []
        self.nodes: list[dict[str, int]] = []  # trainings by node, each time that they were shown

    def say(self, text: str, level: str = INFO, *, wrap: bool = True) -> None:
        self.said.append(text)

    def warn_of_loss(self, loss: NodeLoss) -> None:
        super().warn_of_loss(loss)
        self.losses.append(loss)

    def show_nodes(self, trainings: Mapping[str, int] | None, n_waiting: int = 0) -> None:
        self.nodes.append(dict(trainings or {}))


def progress(complete: int = 0, best: float | None = None, **counts: int) -> SearchProgress:
    """A search with so many complete trials, the best of this accuracy."""
    states = {"complete": complete, "pruned": 0, "infeasible": 0, "failed": 0, **counts}
    if best is None:
        return SearchProgress(states)
    return SearchProgress(states, BestTrial(17, best, Interval(0.93, 0.944), str(RECIPE)))


def tell_a_training(reporter: Reporter) -> None:
    """Trial 3, from its start to its end."""
    reporter.on_training_start("trial 3", RECIPE, 150_000)
    reporter.on_training_progress("trial 3", 10_000)
    reporter.on_evaluation("trial 3", POINT, 0.9)
    reporter.on_training_end("trial 3", "trained to the end")


def tell_the_end(reporter: Reporter) -> None:
    """Two finalists and a result."""
    winner = FinalistRow(7, "sampler", 0.935, 0.946, Interval(0.94, 0.952), str(RECIPE), True)
    default = FinalistRow(0, "default", None, 0.93, Interval(0.923, 0.937), str(RECIPE), False)
    reporter.show_finalists([winner, default])
    places = {"model": "m.keras", "report": "r.html"}
    reporter.show_result("test accuracy 94.00%", {"test_accuracy": 0.94}, places)
