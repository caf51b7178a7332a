"""The notes that Optuna's dashboard shows beside a study and its trials: numbers in, Markdown out; how they are kept.

A note is kept as optuna_dashboard.save_note keeps it. That is not called: importing it takes 2.3 s of a core, once in
each run of a search, and it reads all notes of the study twice for each that it writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna

from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Architecture, Block, Recipe, short_form
from search.format import count, duration, percent, percent_range, plan_in_words, short_count, with_noun
from search.results import FinishedStudy
from search.study.objective import Outcome
from search.study.optuna_private import (
    NOTE_PIECE_CHARACTERS,
    note_piece_prefix,
    note_version_key,
    set_study_system_attr,
    study_system_attrs,
)

RUNNING = "running"  # how the state of a study begins while a run is at work


# ------------------------------------------------------------------------------------------------------------- storing


def save_note(study: optuna.Study, text: str, trial: optuna.Trial | None = None) -> None:
    """Of the study, or of a trial of it, in place of an earlier one: two writes for a short note."""
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
    """The study's own; empty where there is none."""
    kept, prefix = study_system_attrs(study), note_piece_prefix(None)
    pieces = {int(key.removeprefix(prefix)): text for key, text in kept.items() if key.startswith(prefix)}
    return "".join(pieces[i] for i in sorted(pieces))


# --------------------------------------------------------------------------------------------------------------- trial


def trial_note(number: int, origin: str | None, outcome: Outcome) -> str:
    """Why a trial ended, and its recipe in words. origin: its name in the portfolio; None: suggested by the sampler."""
    recipe = outcome.recipe
    came = f"{origin}, of the portfolio" if origin else "suggested by the sampler"
    figures = [
        f"{percent(outcome.accuracy)} selection accuracy" if outcome.accuracy is not None else "",
        duration(outcome.seconds) if outcome.ended else "",
    ]
    ended = "; ".join(part for part in (outcome.reason, *figures) if part)
    return "\n".join(
        (
            f"**Trial {number}** ({came}): {ended}.",
            "",
            f"**Network**, {short_count(count_parameters(recipe.architecture))} parameters, "
            f"{short_count(count_multiply_adds(recipe.architecture))} multiply-adds an image: `{short_form(recipe)}`",
            "",
            *(f"- {line}" for line in architecture_in_words(recipe.architecture)),
            "",
            "**Training**",
            "",
            *(f"- {line}" for line in plan_in_words(recipe.plan)),
        )
    )


def architecture_in_words(architecture: Architecture) -> list[str]:
    """A sentence for each block, one for the head."""
    normalization = "batch normalization, " if architecture.batch_normalization else "no normalization, "
    blocks = [
        f"Block {i}: {_block(block, architecture.pooling if architecture.pools(i - 1) else None)}."
        for i, block in enumerate(architecture.blocks, start=1)
    ]
    head = {"flatten": "flattened", "global_average": "global average pooling", "global_max": "global max pooling"}
    layers = [f"dense layer of {units}" for units in architecture.dense_units]
    dropout = [f"dropout {architecture.head_dropout:.2g} before each layer"] if architecture.head_dropout else []
    parts = ", ".join([head[architecture.head], *layers, f"{architecture.n_classes} classes", *dropout])
    return [*blocks, f"Head: {parts}.", f"Throughout: {normalization}{architecture.activation}."]


def _block(block: Block, pooling: str | None) -> str:
    kernel = f"{block.kernel_size} x {block.kernel_size}"
    parts = [
        f"{with_noun(block.n_convolutions, 'convolution')} {kernel} of {block.filters} filters",
        "residual" if block.residual else "",
        f"{pooling} pooling" if pooling else "",
        f"dropout {block.dropout:.2g}" if block.dropout else "",
    ]
    return ", ".join(part for part in parts if part)


# --------------------------------------------------------------------------------------------------------------- study


@dataclass(frozen=True)
class StudySummary:
    """How a study stands, as one of its machines sees it."""

    name: str
    state: str  # "running: ...", "complete", "interrupted", ...
    n_asked: int | None  # trials; None: not known here
    counts: Mapping[str, int]  # trials by state
    best: tuple[int, float] | None  # the best complete trial's number and value
    command: str | None  # that goes on with it, or makes its report again
    folder: str  # as the command would name it
    machine: str | None  # whose folder that is, where several work on the study
    pictures_from: int | None  # training images of a rung: trials that ended it have pictures


def study_note(standing: StudySummary, study_result: FinishedStudy | None) -> str:
    """material: of a study that has come to its end."""
    parts = [f"## {standing.name}: {standing.state}", *_search(standing)]
    if study_result is not None:
        parts += _result(study_result)
    parts += _places(standing, has_report=study_result is not None)
    return "\n\n".join(parts)


def _search(standing: StudySummary) -> list[str]:
    shown = {state: n for state, n in standing.counts.items() if n}
    n_taken = sum(n for state, n in shown.items() if state not in ("running", "waiting"))
    asked = f" of {count(standing.n_asked)}" if standing.n_asked else ""
    tally = ", ".join(f"{count(n)} {state}" for state, n in shown.items()) or "none yet"
    best = "" if standing.best is None else f" Best: trial {standing.best[0]}, {percent(standing.best[1])} on the "
    best += "selection split." if best else ""
    return [f"**{count(n_taken)}{asked} trials** ({tally}).{best}"]


def _result(study_result: FinishedStudy) -> list[str]:
    winner, recipe = study_result.winner, study_result.recipe
    n_parameters = short_count(count_parameters(recipe.architecture))
    n_seeds = with_noun(len(study_result.test_accuracies), "retraining")
    return [
        f"**Test accuracy {percent(study_result.test_mean)}** (mean of {n_seeds}; 95 % interval "
        f"{percent_range(study_result.test_interval)}, {count(len(study_result.arrays.labels))} test images)",
        f"**Winner: trial {winner.trial}**, {n_parameters} parameters: `{short_form(recipe)}`",
        "\n".join(_finalists(study_result)),
    ]


def _finalists(study_result: FinishedStudy) -> Sequence[str]:
    rows = [
        f"| {record.trial}{' (winner)' if record is study_result.winner else ''} | {percent(record.search_accuracy)} | "
        f"{percent(record.confirm_accuracy)} | {percent_range(study_result.confirm_interval(record))} | "
        f"{short_count(count_parameters(Recipe.from_dict(record.recipe).architecture))} |"
        for record in study_result.confirmed
    ]
    head = "| finalist | in the search | confirmed | 95 % interval | parameters |"
    return [head, "| --- | ---: | ---: | ---: | ---: |", *rows]


def _places(standing: StudySummary, *, has_report: bool) -> list[str]:
    on = f" on {standing.machine}" if standing.machine else ""
    parts = [f"{'Report' if has_report else 'The report will be'}: `{standing.folder}/report.html`{on}"]
    if standing.command is not None:
        verb = "Builds the report again" if has_report else "Goes on with it"
        parts.append(f"{verb}: `{standing.command}`{on}")
    if standing.pictures_from is not None:
        parts.append(
            f"Trials that were trained on {count(standing.pictures_from)} images or more have pictures: learning "
            "curve, confusion matrix, network (in `python -m search.dashboard`)."
        )
    return parts
