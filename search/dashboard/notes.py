"""The notes that Optuna's dashboard shows beside a study and its trials: figures in, Markdown out, and how it is kept.

A note is kept as optuna_dashboard.save_note keeps it. That is not called: importing it takes 2.3 s of a core, once in
each run of a search, and it reads all notes of the study twice for each that it writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import optuna

from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Architecture, Block, Recipe, short_form
from fmnist.scoring import Metric
from search.format import (
    METRIC_WORDS,
    code,
    count,
    duration,
    in_metric,
    metric_range,
    percent,
    percent_range,
    short_count,
    with_noun,
)
from search.report.text.delivery import trainings
from search.report.text.recipe import describe_plan
from search.results.members import averaged_in_words, score_interval
from search.results.result import FinishedStudy, TrainedStudy
from search.study.objective import Outcome
from search.study.optuna_private import (
    NOTE_PIECE_CHARACTERS,
    note_piece_prefix,
    note_version_key,
    set_study_system_attr,
    study_system_attrs,
)

RUNNING = "running"  # how the state of a study begins while a run is at work
HEADS = {"flatten": "flattened", "global_average": "global average pooling", "global_max": "global max pooling"}


def save_note(study: optuna.Study, text: str, trial: optuna.Trial | None = None) -> None:
    """Store the study's note, or a trial's, in place of an earlier one; a short one takes two writes.

    Args:
        study: the study, in its storage.
        text: Markdown.
        trial: a trial of the study, whose note it is; None: the study's own.
    """
    version_key, prefix = note_version_key(trial), note_piece_prefix(trial)
    version, n_pieces = 1, 0
    if trial is None:  # written again and again; a trial's once, or the same again
        kept = study_system_attrs(study)
        version = kept.get(version_key, 0) + 1
        n_pieces = sum(key.startswith(prefix) for key in kept)
    starts = range(0, len(text), NOTE_PIECE_CHARACTERS)
    pieces = [text[start : start + NOTE_PIECE_CHARACTERS] for start in starts]
    pieces += [""] * (n_pieces - len(pieces))
    set_study_system_attr(study, version_key, version)
    for i, piece in enumerate(pieces):
        set_study_system_attr(study, f"{prefix}{i}", piece)


def read_note(study: optuna.Study) -> str:
    """Read the study's note; empty where it has none."""
    prefix, pieces = note_piece_prefix(None), {}
    for key, text in study_system_attrs(study).items():
        if key.startswith(prefix):
            pieces[int(key.removeprefix(prefix))] = text
    return "".join(pieces[i] for i in sorted(pieces))


def trial_note(number: int, origin: str | None, outcome: Outcome) -> str:
    """Write a trial's note: why it ended, and its recipe in words.

    Args:
        number: of the trial.
        origin: its name in the portfolio; None: suggested by the sampler.
        outcome: what became of it.
    """
    recipe = outcome.recipe
    came = "suggested by the sampler"
    if origin is not None:
        came = f"{origin}, of the portfolio"
    ended = [outcome.reason]
    if outcome.score is not None:
        ended.append(f"{in_metric(outcome.metric, outcome.score)} selection {METRIC_WORDS[outcome.metric]}")
    if outcome.ended:
        ended.append(duration(outcome.seconds))
    lines = [
        f"**Trial {number}** ({came}): {'; '.join(ended)}.",
        "",
        f"**Network**, {short_count(count_parameters(recipe.architecture))} parameters, "
        f"{short_count(count_multiply_adds(recipe.architecture))} multiply-adds an image: `{short_form(recipe)}`",
        "",
    ]
    for line in architecture_in_words(recipe.architecture):
        lines.append(f"- {line}")
    lines += ["", "**Training**", ""]
    for line in describe_plan(recipe.plan):
        lines.append(f"- {line}")
    return "\n".join(lines)


def architecture_in_words(architecture: Architecture) -> list[str]:
    """Describe an architecture: a sentence for each block, one for the head, one for what holds throughout."""
    sentences = []
    for i, block in enumerate(architecture.blocks):
        pooling = architecture.pooling if architecture.pools(i) else None
        sentences.append(f"Block {i + 1}: {block_in_words(block, pooling)}.")
    head = [HEADS[architecture.head]]
    for units in architecture.dense_units:
        head.append(f"dense layer of {units}")
    head.append(f"{architecture.n_classes} classes")
    if architecture.head_dropout:
        head.append(f"dropout {architecture.head_dropout:.2g} before each layer")
    sentences.append(f"Head: {', '.join(head)}.")
    normalization = "batch normalization" if architecture.batch_normalization else "no normalization"
    sentences.append(f"Throughout: {normalization}, {architecture.activation}.")
    return sentences


def block_in_words(block: Block, pooling: str | None) -> str:
    """Describe a block. pooling: the kind that follows its first convolution; None: none does."""
    kernel = f"{block.kernel_size} x {block.kernel_size}"
    parts = [f"{with_noun(block.n_convolutions, 'convolution')} {kernel} of {block.filters} filters"]
    if block.residual:
        parts.append("residual")
    if pooling is not None:
        parts.append(f"{pooling} pooling")
    if block.dropout:
        parts.append(f"dropout {block.dropout:.2g}")
    return ", ".join(parts)


@dataclass(frozen=True)
class StudySummary:
    """How far a study is, as the machine sees it that has its folder."""

    name: str
    state: str  # "running: ...", "complete", "interrupted", ...
    n_asked: int | None  # trials; None: not known here
    counts: Mapping[str, int]  # trials by state
    best: tuple[int, float] | None  # the best complete trial's number and value
    command: str | None  # that goes on with it, or makes its report again
    folder: str  # as the command would name it
    machine: str | None  # whose folder that is, where several may have one
    charts_from: int | None  # training images of a rung: trials that ended it have charts
    metric: Metric = "accuracy"  # of the best trial's value

    @property
    def n_ended(self) -> int:
        """Number of trials that have ended, in whichever state."""
        return sum(n for state, n in self.counts.items() if state not in ("running", "waiting"))


def study_note(summary: StudySummary, result: FinishedStudy | TrainedStudy | None) -> str:
    """Write the study's note: how far it is, what came out, where its report is and which command goes on.

    Args:
        summary: how far the study is.
        result: the figures of a study at its end; None while it is unfinished.
    """
    parts = [f"## {summary.name}: {summary.state}", search_in_words(summary)]
    if result is not None:
        parts += result_in_words(result)
    on = ""
    if summary.machine is not None:
        on = f" on {summary.machine}"
    report, command_does = "The report will be", "Goes on with it"
    if result is not None:
        report, command_does = "Report", "Builds the report again"
    parts.append(f"{report}{on}: {code(f'{summary.folder}/report.html')}")
    if summary.command is not None:
        parts.append(f"{command_does}{on}: {code(summary.command)}")
    if summary.charts_from is not None:
        parts.append(
            f"Trials that were trained on {count(summary.charts_from)} images or more have pictures: learning "
            "curve, confusion matrix, network (in `python -m search.dashboard`)."
        )
    return "\n\n".join(parts)


def search_in_words(summary: StudySummary) -> str:
    """Count the trials by state, and name the best of them."""
    tally = ", ".join(f"{count(n)} {state}" for state, n in summary.counts.items() if n)
    trials = count(summary.n_ended)
    if summary.n_asked:
        trials += f" of {count(summary.n_asked)}"
    text = f"**{trials} trials** ({tally or 'none yet'})."
    if summary.best is not None:
        number, value = summary.best
        by = "" if summary.metric == "accuracy" else f" {METRIC_WORDS[summary.metric]}"
        text += f" Best: trial {number}, {in_metric(summary.metric, value)}{by} on the selection split."
    return text


def result_in_words(result: FinishedStudy | TrainedStudy) -> list[str]:
    """Give the accuracy, also the ensemble's, the winner, and a table of the finalists."""
    winner, recipe = result.winner, result.recipe
    rows = [
        "| finalist | in the search | confirmed | 95 % interval | parameters |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    metric = result.metric
    if metric != "accuracy":
        words = METRIC_WORDS[metric]
        rows = [
            f"| finalist | in the search, {words} | confirmed | 95 % interval | its accuracy | parameters |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
    for record in result.confirmed:
        name = str(record.trial)
        if record is winner:
            name += " (winner)"
        n_parameters = count_parameters(Recipe.from_dict(record.recipe).architecture)
        accuracy = percent(record.confirm_accuracy)
        if record.confirm_score is None:
            rows.append(
                f"| {name} | {percent(record.search_accuracy)} | {accuracy} | "
                f"{percent_range(result.confirm_interval(record))} | {short_count(n_parameters)} |"
            )
        else:
            rows.append(
                f"| {name} | {in_metric(metric, record.search_score)} | {in_metric(metric, record.confirm_score)} | "
                f"{metric_range(metric, score_interval(result, record))} | {accuracy} | {short_count(n_parameters)} |"
            )
    return [
        *(tested_in_words(result) if isinstance(result, FinishedStudy) else confirmed_in_words(result)),
        f"**Winner: trial {winner.trial}**, {short_count(count_parameters(recipe.architecture))} parameters: "
        f"`{short_form(recipe)}`",
        "\n".join(rows),
    ]


def tested_in_words(result: FinishedStudy) -> list[str]:
    """Give the test accuracy, and the ensemble's."""
    of = f"{'mean of ' if len(result.test_accuracies) > 1 else ''}{trainings(result)}"
    ensemble = []
    if result.ensemble is not None and result.ensemble_interval is not None:
        ensemble.append(
            f"**Ensemble of {averaged_in_words(result.ensemble)}: {percent(result.ensemble_accuracy)}** "
            f"(95 % interval {percent_range(result.ensemble_interval)})"
        )
    decided, metric = [], result.metric
    if metric != "accuracy":
        decided.append(
            f"**Test {METRIC_WORDS[metric]} {in_metric(metric, result.test_score)}**, which decided (95 % interval of "
            f"the delivered model {metric_range(metric, result.test_score_interval)})"
        )
    return [
        *decided,
        f"**Test accuracy {percent(result.test_mean)}** ({of}; "
        f"95 % interval {percent_range(result.test_interval)}, {count(len(result.arrays.labels))} test images)",
        *ensemble,
    ]


def confirmed_in_words(result: TrainedStudy) -> list[str]:
    """Give the confirmation accuracy of a study without test images, and the ensemble's."""
    n_images = count(result.data.n_images["confirmation"])
    said = [f"**Confirmation accuracy {percent(result.confirm_accuracy)}** ({n_images} images), no test images"]
    if result.metric != "accuracy":
        shown = in_metric(result.metric, result.confirm_score)
        said.insert(0, f"**Confirmation {METRIC_WORDS[result.metric]} {shown}**, which decided")
    if result.ensemble is not None:
        averaged = averaged_in_words(result.ensemble)
        said.append(f"**Ensemble of {averaged}: {percent(result.ensemble.confirm_accuracy)}**")
    return said
