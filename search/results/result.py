"""What a run of a study came to: the result that `run_study` returns, and the figures of a finished study's report.

Everything is read once, from the study's files; neither TensorFlow nor a connection to the storage is needed.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fmnist.export.formats import ExportRecord
from fmnist.metrics.evaluation import Evaluation, Mistake, evaluate, top_mistakes
from fmnist.metrics.intervals import Interval, score_95, wilson_95
from fmnist.paths import shown_path
from fmnist.recipe import Recipe
from fmnist.scoring import Metric, score_of
from fmnist.values import did_you_mean
from search.format import METRIC_WORDS, in_metric, shown_score, with_noun
from search.records.files import StudyFiles
from search.records.models import (
    BaselineOutcome,
    ConfirmRecord,
    EvaluationArrays,
    EvaluationRecord,
    SpaceRecord,
    TargetOutcome,
    TrialRecord,
)
from search.results.card import finished_card, study_card, trained_card
from search.results.figure import StudyFigure
from search.results.front import FrontPoint
from search.results.trainings import Trainings, count_by_state


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # of arrays and whole histories
class StudyResult:
    """A study as a run left it: its files and its trials. A finished one is a `FinishedStudy` and has test figures.

    A study is unfinished after `run_study(..., search_only=True)`, and on a machine that shares it with another that
    confirms, retrains and evaluates. One without test images ends as a `TrainedStudy`.

    Its figures are properties; those that need the opened test set raise RuntimeError until there is one, and what only
    a `FinishedStudy` has raises an AttributeError that says so:

        study = run_study(config, search_only=True)
        study.best_trial.value  # selection accuracy, from the search
        study = run_study(config)
        study.test_mean, study.test_interval  # on test images that nothing was chosen by
    """

    files: StudyFiles
    config: dict[str, Any]  # what the study was made with, as config.json has it
    trials: tuple[TrialRecord, ...]  # finished ones, by number
    exports: tuple[ExportRecord, ...] = ()  # best.keras's, then the ensemble's; empty where none were asked for
    spaces: tuple[SpaceRecord, ...] = ()  # that were searched, in their order; empty where the study was never widened

    @property
    def is_finished(self) -> bool:
        """Whether this is a `FinishedStudy`, whose test figures are known."""
        return False

    @property
    def n_by_state(self) -> dict[str, int]:
        """Number of trials that ended in each of FINISHED_STATES."""
        return count_by_state(self.trials)

    @property
    def metric(self) -> Metric:
        """What decided between trials, finalists and students."""
        return self.config.get("metric", "accuracy")

    @property
    def best_trial(self) -> TrialRecord | None:
        """The complete trial with the highest selection score; None while no trial is complete.

        It is what the search found best, before the confirmation: see `winner`.
        """
        best: TrialRecord | None = None
        best_value = -np.inf
        for trial in self.trials:
            if trial.value is not None and trial.value > best_value:
                best, best_value = trial, trial.value
        return best

    @property
    def winner(self) -> ConfirmRecord:
        """The best finalist, whose recipe the delivered model has.

        Raises RuntimeError while the study is unfinished.
        """
        raise self._unfinished("winner")

    @property
    def recipe(self) -> Recipe:
        """The winner's architecture and training plan. Raises RuntimeError while the study is unfinished."""
        raise self._unfinished("recipe")

    @property
    def evaluation(self) -> Evaluation:
        """The delivered model's scores on the test set. Raises RuntimeError while the study is unfinished."""
        raise self._unfinished("evaluation")

    @property
    def test_accuracies(self) -> tuple[float, ...]:
        """Test accuracy of each delivered training. Raises RuntimeError while the study is unfinished."""
        raise self._unfinished("test_accuracies")

    @property
    def test_mean(self) -> float:
        """Test accuracy, the mean of the delivered trainings. Raises RuntimeError while the study is unfinished."""
        raise self._unfinished("test_mean")

    @property
    def test_sd(self) -> float | None:
        """Sample standard deviation of the test accuracies; None where one training is delivered.

        Raises RuntimeError while the study is unfinished.
        """
        raise self._unfinished("test_sd")

    @property
    def test_interval(self) -> Interval:
        """Wilson 95 % interval of the mean test accuracy. Raises RuntimeError while the study is unfinished."""
        raise self._unfinished("test_interval")

    @property
    def ensemble_evaluation(self) -> Evaluation | None:
        """The ensemble's scores on the test set; None where the study has no ensemble.

        Raises RuntimeError while the study is unfinished.
        """
        raise self._unfinished("ensemble_evaluation")

    @property
    def ensemble_accuracy(self) -> float | None:
        """The ensemble's test accuracy; None where the study has no ensemble.

        Raises RuntimeError while the study is unfinished.
        """
        raise self._unfinished("ensemble_accuracy")

    @property
    def ensemble_interval(self) -> Interval | None:
        """Wilson 95 % interval of the ensemble's test accuracy; None where the study has no ensemble.

        Raises RuntimeError while the study is unfinished.
        """
        raise self._unfinished("ensemble_interval")

    def figures(self) -> dict[str, StudyFigure]:
        """Draw the study, to look at in a notebook and to keep: a few seconds each time.

        Returns:
            By name, as far as there is something to draw: "search-history" and "learning"; of a finished study also
            "confusion-matrix" and "mistakes".
        """
        from search.report.inline import draw_figures  # what is drawn of a study stands above it

        return draw_figures(self)

    def show(self) -> None:
        """Show all `figures` in a notebook, each with its title and caption. Raises UserError outside of one."""
        from search.report.inline import show_figures

        show_figures(self)

    def _repr_html_(self) -> str:
        return study_card(self)

    def __repr__(self) -> str:
        best, trial = "", self.best_trial
        if trial is not None and trial.value is not None:
            words = "" if self.metric == "accuracy" else f"{METRIC_WORDS[self.metric]} "
            best = f", best {words}{shown_score(self.metric, trial.value)} in the search"
        return f"<study {self.files.root.name}: {with_noun(len(self.trials), 'trial')}{best}, in {self.files.root}>"

    def _unfinished(self, figure: str) -> RuntimeError:
        return RuntimeError(self._why_unfinished(figure))

    def _why_unfinished(self, figure: str) -> str:
        return (
            f"{figure} needs a finished study, but {self.files.root.name} has no opened test set in "
            f"{shown_path(self.files.root)}; call run_study again without search_only=True, or read the result on the "
            f"machine that finished the study"
        )

    if not TYPE_CHECKING:  # a type checker knows which class has what

        def __getattr__(self, name: str) -> Any:
            if not self.is_finished and not name.startswith("_") and name in names_of(FinishedStudy):
                raise AttributeError(self._why_unfinished(name))
            hint = did_you_mean(name, sorted(names_of(FinishedStudy)))
            raise AttributeError(f"{type(self).__name__} has no attribute {name}{hint}")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrainedStudy(Trainings, StudyResult):
    """A study without test images at its end: what it delivers was chosen, and is scored, on the confirmation split.

    No network has learned from that split, but the delivered one is the best of several there, so its accuracy
    flatters a little. Test figures raise RuntimeError.
    """

    @property
    def confirm_accuracy(self) -> float:
        """Accuracy of the delivered model on the confirmation split, by which it was chosen."""
        accuracy = self.refits[0].confirm_accuracy
        assert accuracy is not None  # as in studies of versions that knew none without test images
        return accuracy

    @property
    def confirm_score(self) -> float:
        """What the delivered model has on the confirmation split by the study's metric; larger is better."""
        score = self.refits[0].score
        return self.confirm_accuracy if score is None else score

    def _repr_html_(self) -> str:
        return trained_card(self)

    def __repr__(self) -> str:
        return (
            f"<study {self.files.root.name}: {with_noun(len(self.trials), 'trial')}, confirmation accuracy "
            f"{self.confirm_accuracy:.2%}, no test images, in {self.files.root}>"
        )

    def _why_unfinished(self, figure: str) -> str:
        return (
            f"{figure} needs test images, but {self.files.root.name} was made without; score the model on some of your "
            f"own: fmnist.predict.evaluate({str(self.files.model)!r}, images, labels)"
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FinishedStudy(Trainings, StudyResult):
    """A study whose test set has been opened, with all that its report is made from."""

    test: EvaluationRecord
    arrays: EvaluationArrays
    baselines: tuple[BaselineOutcome, ...] = ()  # in the order of BASELINES; empty where none were asked for
    target: TargetOutcome | None = None  # None where no file had to be small or fast
    front: tuple[FrontPoint, ...] = ()  # networks of every size, the cheapest first; empty without --front

    @property
    def is_finished(self) -> bool:
        """True: a finished study has opened its test set."""
        return True

    def _repr_html_(self) -> str:
        return finished_card(self)

    def __repr__(self) -> str:
        interval, score = self.test_interval, ""
        if self.metric != "accuracy":
            score = f"test {METRIC_WORDS[self.metric]} {in_metric(self.metric, self.test_score)}, "
        return (
            f"<study {self.files.root.name}: {with_noun(len(self.trials), 'trial')}, {score}test accuracy "
            f"{self.test_mean:.2%}, 95 % interval {interval.low:.2%} to {interval.high:.2%}, in {self.files.root}>"
        )

    @property
    def evaluation(self) -> Evaluation:
        """The delivered model's scores on the test set."""
        return self._evaluation

    @cached_property
    def _evaluation(self) -> Evaluation:
        return evaluate(self.arrays.labels, self.arrays.probabilities[0], self.data.class_names)

    @property
    def commonest_test_share(self) -> float:
        """Share of the test images in the commonest training class: what always answering that class would score."""
        return float(np.mean(self.arrays.labels == self.data.class_names.index(self.balance.commonest)))

    @property
    def test_accuracies(self) -> tuple[float, ...]:
        """Test accuracy of each delivered training, recomputed from its predictions."""
        return self._test_accuracies

    @cached_property
    def _test_accuracies(self) -> tuple[float, ...]:
        is_correct = self.arrays.probabilities.argmax(axis=2) == self.arrays.labels
        return tuple(float(share) for share in is_correct.mean(axis=1))

    @cached_property
    def test_scores(self) -> tuple[float, ...]:
        """Test score of each delivered training by the study's metric, larger is better: log loss is negative."""
        return tuple(score_of(self.metric, self.arrays.labels, of_model) for of_model in self.arrays.probabilities)

    @property
    def test_score(self) -> float:
        """Test score by the study's metric, the mean of the delivered trainings."""
        return statistics.fmean(self.test_scores)

    @cached_property
    def test_score_interval(self) -> Interval:
        """95 % interval of the delivered model's own test score, see `fmnist.metrics.intervals.score_95`."""
        return score_95(self.metric, self.arrays.labels, self.arrays.probabilities[0])

    @property
    def ensemble_score(self) -> float | None:
        """The ensemble's test score by the study's metric; None where the study has no ensemble."""
        probabilities = self.arrays.ensemble_probabilities
        return None if probabilities is None else score_of(self.metric, self.arrays.labels, probabilities)

    @property
    def test_mean(self) -> float:
        """Test accuracy, the mean of the delivered trainings."""
        return statistics.fmean(self.test_accuracies)

    @property
    def test_sd(self) -> float | None:
        """Sample standard deviation of the test accuracies; None where one training is delivered."""
        if len(self.test_accuracies) < 2:
            return None
        return statistics.stdev(self.test_accuracies)

    @property
    def test_interval(self) -> Interval:
        """Wilson 95 % interval of the mean test accuracy, as if one model had scored it."""
        n = len(self.arrays.labels)
        return wilson_95(round(self.test_mean * n), n)

    @property
    def ensemble_evaluation(self) -> Evaluation | None:
        """The ensemble's scores on the test set; None where the study has no ensemble."""
        return self._ensemble_evaluation

    @cached_property
    def _ensemble_evaluation(self) -> Evaluation | None:
        probabilities = self.arrays.ensemble_probabilities
        if probabilities is None:
            return None
        return evaluate(self.arrays.labels, probabilities, self.data.class_names)

    @property
    def ensemble_accuracy(self) -> float | None:
        """The ensemble's test accuracy, recomputed from its predictions; None where the study has no ensemble."""
        probabilities = self.arrays.ensemble_probabilities
        return None if probabilities is None else score_of("accuracy", self.arrays.labels, probabilities)

    @property
    def ensemble_interval(self) -> Interval | None:
        """Wilson 95 % interval of the ensemble's test accuracy; None where the study has no ensemble."""
        if self.ensemble_accuracy is None:
            return None
        n = len(self.arrays.labels)
        return wilson_95(round(self.ensemble_accuracy * n), n)

    @property
    def exported(self) -> list[ExportRecord]:
        """The exports that succeeded, each of which has a file."""
        return [record for record in self.exports if record.failure is None]

    def mistakes(self, limit: int, **of_classes: int) -> tuple[tuple[Mistake, np.ndarray], ...]:
        """The delivered model's most confident mistakes, each with its image, uint8 (height, width, channels).

        Args:
            limit: how many at most.
            of_classes: see `fmnist.metrics.evaluation.top_mistakes`.
        """
        row_of = {int(index): row for row, index in enumerate(self.arrays.mistake_indices)}
        found = top_mistakes(self.arrays.labels, self.arrays.probabilities[0], limit, **of_classes)
        return tuple((mistake, self.arrays.mistake_images[row_of[mistake.index]]) for mistake in found)


def names_of(cls: type[Any]) -> set[str]:
    """Return the public names of a dataclass: its fields, also those without a default, properties and methods."""
    return {name for name in (*cls.__dataclass_fields__, *dir(cls)) if not name.startswith("_")}
