"""What a run of a study came to: the result that `run_study` returns, and the figures of a finished study's report.

Everything is read once, from the study's files; neither TensorFlow nor a connection to the storage is needed.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
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
    FINISHED_STATES,
    BaselineOutcome,
    ConfirmRecord,
    DataRecord,
    EnsembleRecord,
    EvaluationArrays,
    EvaluationRecord,
    RefitRecord,
    TrialRecord,
)
from search.results.balance import Balance, balance_of
from search.space.space import DEFAULT_NAME


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # of arrays and whole histories
class StudyResult:
    """A study as a run left it: its files and its trials. A finished one is a `FinishedStudy` and has test figures.

    A study is unfinished after `run_study(..., search_only=True)`, and on a machine that shares it with another that
    confirms, retrains and evaluates. Its figures are properties; those that need the opened test set raise RuntimeError
    until there is one, and what only a `FinishedStudy` has raises an AttributeError that says so:

        study = run_study(config, search_only=True)
        study.best_trial.value  # selection accuracy, from the search
        study = run_study(config)
        study.test_mean, study.test_interval  # on test images that nothing was chosen by
    """

    files: StudyFiles
    config: dict[str, Any]  # what the study was made with, as config.json has it
    trials: tuple[TrialRecord, ...]  # finished ones, by number
    exports: tuple[ExportRecord, ...] = ()  # best.keras's, then the ensemble's; empty where none were asked for

    @property
    def is_finished(self) -> bool:
        """Whether this is a `FinishedStudy`, whose test figures are known."""
        return False

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

    def __repr__(self) -> str:
        best, trial = "", self.best_trial
        if trial is not None and trial.value is not None:
            best = f", best {shown_score(self.metric, trial.value)} in the search"
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
            if type(self) is StudyResult and not name.startswith("_") and name in names_of(FinishedStudy):
                raise AttributeError(self._why_unfinished(name))
            hint = did_you_mean(name, sorted(names_of(FinishedStudy)))
            raise AttributeError(f"{type(self).__name__} has no attribute {name}{hint}")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FinishedStudy(StudyResult):
    """A study whose test set has been opened, with all that its report is made from."""

    command: str  # that makes the study again
    importances: Mapping[str, float] | None  # parameter -> share; None if not to be had
    data: DataRecord
    samples: np.ndarray  # uint8 (n_classes, 10, height, width, channels)
    confirmed: tuple[ConfirmRecord, ...]  # best on the confirmation split first, by the metric
    refits: tuple[RefitRecord, ...]  # what is delivered, by seed_index: the students, or the winner's own training
    test: EvaluationRecord
    arrays: EvaluationArrays
    seconds: dict[str, float]  # by phase
    worker_seconds: float  # of the search, those of its workers summed; 0: not recorded
    environment: dict[str, Any]
    model_bytes: int  # size of best.keras
    baselines: tuple[BaselineOutcome, ...] = ()  # in the order of BASELINES; empty where none were asked for
    students: tuple[RefitRecord, ...] = ()  # by seed_index, delivered or not; empty where none could be trained
    ensemble: EnsembleRecord | None = None  # None where one network alone was best, and before version 0.7.0
    ensemble_bytes: int | None = None  # size of ensemble.keras

    @property
    def is_finished(self) -> bool:
        """True: a finished study has opened its test set."""
        return True

    def __repr__(self) -> str:
        interval, score = self.test_interval, ""
        if self.metric != "accuracy":
            score = f"test {METRIC_WORDS[self.metric]} {in_metric(self.metric, self.test_score)}, "
        return (
            f"<study {self.files.root.name}: {with_noun(len(self.trials), 'trial')}, {score}test accuracy "
            f"{self.test_mean:.2%}, 95 % interval {interval.low:.2%} to {interval.high:.2%}, in {self.files.root}>"
        )

    @property
    def winner(self) -> ConfirmRecord:
        """The best finalist, whose recipe the delivered model has."""
        return next(record for record in self.confirmed if record.trial == self.refits[0].trial)

    @cached_property
    def winner_trial(self) -> TrialRecord:
        """The trial of the search in which the winner's recipe was found."""
        return next(trial for trial in self.trials if trial.number == self.refits[0].trial)

    @cached_property
    def default(self) -> ConfirmRecord | None:
        """The default recipe's training as a finalist; None if it was not among them."""
        return next((record for record in self.confirmed if record.origin == DEFAULT_NAME), None)

    @property
    def recipe(self) -> Recipe:
        """The winner's architecture and training plan."""
        return Recipe.from_dict(self.winner.recipe)

    @property
    def has_unseen_confirmation(self) -> bool:
        """Whether no network learned from the confirmation split, from which retrainings did before version 0.7.0."""
        return self.refits[0].fit_on == "searched"

    @property
    def has_student(self) -> bool:
        """Whether the delivered model is a student, which learned from finalists too."""
        return bool(self.refits[0].teachers)

    @property
    def evaluation(self) -> Evaluation:
        """The delivered model's scores on the test set."""
        return self._evaluation

    @cached_property
    def _evaluation(self) -> Evaluation:
        return evaluate(self.arrays.labels, self.arrays.probabilities[0], self.data.class_names)

    @cached_property
    def balance(self) -> Balance:
        """How many training images the rarest and the commonest class have."""
        return balance_of(self.data)

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
    def n_by_state(self) -> dict[str, int]:
        """Number of trials that ended in each of FINISHED_STATES."""
        counts: dict[str, int] = dict.fromkeys(FINISHED_STATES, 0)
        for trial in self.trials:
            counts[trial.state] += 1
        return counts

    @property
    def n_images_trained(self) -> dict[str, int]:
        """Training images seen in the search, by the finalists, and by the students or, before 0.7.0, retrainings."""
        refits = self.students if self.has_unseen_confirmation else self.refits
        return {
            "search": sum(trial.n_images for trial in self.trials),
            "confirm": sum(record.n_images for record in self.confirmed),
            "refit": sum(record.n_images for record in refits),
        }

    @property
    def search_overhead(self) -> float | None:
        """Share of the search's time, workers summed, that went into neither learning nor validation.

        That is starting processes, compiling, the sampler, the storage and idle workers. Time that a worker gave to an
        early confirmation is not counted. None where the time was not recorded, and for a study that other machines may
        have worked on, whose time is not known here.
        """
        if self.files.is_shared:
            return None
        in_steps = sum(trial.seconds_in_steps for trial in self.trials)
        in_confirmations = sum(record.seconds_beside_search for record in self.confirmed)
        paid = self.worker_seconds - in_confirmations
        if not in_steps or not paid:
            return None
        return 1 - in_steps / paid

    def confirm_interval(self, record: ConfirmRecord) -> Interval:
        """Wilson 95 % interval of a finalist's confirmation accuracy."""
        return self.on_confirmation(record.confirm_accuracy)

    def on_confirmation(self, accuracy: float) -> Interval:
        """Wilson 95 % interval of an accuracy on the confirmation split."""
        n = self.data.n_images["confirmation"]
        return wilson_95(round(accuracy * n), n)

    @property
    def has_checksums(self) -> bool:
        """Whether all files have been compared with what was written, by checksums that are as old as the files."""
        manifest = self.files.checksums.manifest
        return manifest is not None and manifest.adopted is None

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
