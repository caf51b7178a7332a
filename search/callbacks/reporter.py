"""The interface of whatever shows a run: the terminal's lines, the JSON lines, and nothing at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from fmnist.errors import UserError
from fmnist.metrics.intervals import Interval
from fmnist.scoring import Metric
from fmnist.values import did_you_mean, require_instance, shown
from search.callbacks.base import Callback
from search.format import duration, with_noun

STATES = ("complete", "pruned", "infeasible", "failed")  # that a trial may end in, in the order they are counted out

# How much is said, least first.
QUIET, NORMAL, VERBOSE = "quiet", "normal", "verbose"
# What is said, most important first: what came out or went wrong, what goes on, and what only VERBOSE tells.
RESULT, WARNING, INFO, DETAIL = "result", "warning", "info", "detail"
SAID = {QUIET: (RESULT, WARNING), NORMAL: (RESULT, WARNING, INFO), VERBOSE: (RESULT, WARNING, INFO, DETAIL)}
MOST_NAMES = 6  # of trainings in a sentence


def require_verbosity(verbosity: object) -> str:
    """Return how much is said. Raises UserError for anything but "quiet", "normal" and "verbose"."""
    if not isinstance(verbosity, str) or verbosity not in SAID:
        hint = did_you_mean(verbosity, list(SAID)) if isinstance(verbosity, str) else ""
        raise UserError(f"verbosity must be one of {', '.join(SAID)}, but got {shown(verbosity)}{hint}")
    return verbosity


def require_console(console: object, usual: Console) -> Console:
    """Return where to write; `usual` for None. Raises UserError for what is no console of Rich's."""
    if console is None:
        return usual
    remedy = 'leave it out for standard output; how much is shown goes by verbosity="quiet", say'
    return require_instance(Console, console, "console", "a rich.console.Console or None", remedy)


@dataclass(frozen=True)
class BestTrial:
    """The best complete trial so far."""

    number: int
    accuracy: float  # on the selection split
    interval: Interval  # 95 %, of the accuracy on the split's images; it says nothing of the choice among many trials
    network: str  # the recipe's short form
    score: float | None = None  # by the study's metric, see `fmnist.scoring.score_of`; None where that is accuracy


@dataclass(frozen=True)
class SearchProgress:
    """How far a search has come."""

    counts: Mapping[str, int]  # trials by state
    best: BestTrial | None = None
    seconds_left: float | None = None  # that a timeout leaves for the search; None: it has all the time it takes

    @property
    def n_finished(self) -> int:
        """Number of trials that have ended, in whichever state."""
        return sum(self.counts[state] for state in STATES)

    def __str__(self) -> str:
        """The finished trials by state, such as `6 complete, 1 pruned`."""
        return ", ".join(f"{self.counts[state]} {state}" for state in STATES if self.counts[state])


@dataclass(frozen=True)
class FinalistRow:
    """A finalist in the table at the end."""

    trial: int
    origin: str  # "sampler", or the portfolio's name for it
    search_accuracy: float | None  # on the selection split; None if its trial did not complete
    confirm_accuracy: float
    interval: Interval  # 95 %, of the confirmation split's images; of confirm_score where there is one
    network: str  # the recipe's short form
    is_winner: bool
    search_score: float | None = None  # by the study's metric; None where that is accuracy
    confirm_score: float | None = None


@dataclass(frozen=True)
class NodeLoss:
    """What a run has lost with a node of its cluster."""

    node: str  # its address
    is_whole: bool  # False: a training's process there has died, and the node goes on
    trainings: tuple[str, ...]  # that begin again, by their labels
    n_images: int  # training images that what was lost had seen
    seconds: float  # that it had trained, all trainings together

    def __str__(self) -> str:
        """Such as `node 10.0.0.5 was lost: trials 12 and 15 run again, 48,000 images (31 s) of training are lost`."""
        what = f"node {self.node}" if self.is_whole else f"a training's process on node {self.node}"
        costs = []
        if self.trainings:
            verb = "runs" if len(self.trainings) == 1 else "run"
            costs.append(f"{trainings_in_words(self.trainings)} {verb} again")
        if self.n_images:
            images = with_noun(self.n_images, "image")
            costs.append(f"{images} ({duration(self.seconds)}) of training are lost")
        return f"{what} was lost: {', '.join(costs) or 'nothing had been trained there'}"


def trainings_in_words(labels: Sequence[str]) -> str:
    """List trainings by their labels: `trial 12`, `trials 12 and 15`, `finalist 3 and student 1`, or the first ones."""
    kinds = {label.partition(" ")[0] for label in labels}
    numbers = [label.partition(" ")[2] for label in labels]
    before, names = "", list(labels)
    if len(labels) > 1 and len(kinds) == 1 and all(number.isdecimal() for number in numbers):
        before, names = f"{kinds.pop()}s ", numbers
    if len(names) > MOST_NAMES:
        names[MOST_NAMES:] = [f"{len(names) - MOST_NAMES} more"]
    listed = names[0]
    if len(names) > 1:
        listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{before}{listed}"


def higher(best: float | None, score: float | None) -> float | None:
    """Return the better of two scores, of which either may be unknown."""
    if best is None or score is None:
        return score if best is None else best
    return max(best, score)


def known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the scores that there are none of, as the metric is accuracy."""
    return {name: value for name, value in fields.items() if value is not None or not name.endswith("score")}


class Reporter(Callback):
    """Base class of what shows a run, and a reporter that shows nothing. Use it as a context manager.

    A reporter is a callback too: it hears of every training. Methods are called from worker threads, so implementations
    must be thread-safe.

    Attributes:
        metric: what decides in the study that is shown; its run sets it before anything is trained.
    """

    metric: Metric = "accuracy"

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(self, *error: object) -> None:
        """End showing."""

    def say(self, text: str, level: str = INFO, *, wrap: bool = True) -> None:
        """Say something that stays.

        Args:
            text: what to say.
            level: RESULT, WARNING, INFO or DETAIL; the verbosity decides which of them are shown.
            wrap: False if the line may be cut at the terminal's width. What is to be copied wraps.
        """

    def warn(self, text: str) -> None:
        """Say what went wrong, whatever the verbosity."""
        self.say(text, WARNING)

    def show(self, table: Table) -> None:
        """Show a table that was asked for, whatever the verbosity."""

    def begin(
        self,
        name: str,
        n_total: int = 0,
        n_done: int = 0,
        progress: SearchProgress | None = None,
        *,
        counts_trainings: bool = False,
        labels: Iterable[str] = (),
    ) -> None:
        """Begin a phase of the run.

        Args:
            name: what goes on, in words.
            n_total: steps of the phase; 0 if it has none to count.
            n_done: steps that earlier runs have done.
            progress: how far the search is, if the phase is the search.
            counts_trainings: whether every training that ends is one step done.
            labels: of the phase's trainings, where they may be longer than those of trials, so that lines align.
        """

    def advance(self, progress: SearchProgress) -> None:
        """Show that trials have ended. Two threads may count before either tells: the lower count comes late."""

    def show_nodes(self, trainings: Mapping[str, int] | None, n_waiting: int = 0) -> None:
        """Show what the nodes of a cluster do now.

        Args:
            trainings: how many each node runs, by its name; None: the run has left the cluster.
            n_waiting: trainings that no node has taken yet.
        """

    def warn_of_loss(self, loss: NodeLoss) -> None:
        """Say what a node of a cluster has taken with it, whatever the verbosity."""
        self.warn(str(loss))

    def show_finalists(self, rows: Sequence[FinalistRow]) -> None:
        """Show the finalists as a table, best first."""

    def show_result(self, text: str, figures: Mapping[str, Any], places: Mapping[str, str]) -> None:
        """Show what the run came to, at its end.

        Args:
            text: the result in words.
            figures: the result as JSON values, for programs.
            places: where to look next, by name.
        """
