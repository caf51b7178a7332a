"""What a run may still do to a study that was begun before, and what is refused."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import optuna

from fmnist.data.source import DataSource
from fmnist.errors import UserError
from fmnist.paths import shown_path
from search.config import StudyConfig
from search.context import StudyContext
from search.messages import tell_finished_elsewhere
from search.records.files import StudyFiles
from search.records.io import flat
from search.records.models import EvaluationRecord
from search.refit.baselines import missing_baselines
from search.space.schema import parse_toml, read_space_text
from search.space.space import SearchSpace
from search.study.attributes import attributes_of
from search.study.backup import repair_own_storage, require_same_trials
from search.study.study import require_identity
from search.study.trials import count_begun
from search.widening.plan import Widening, plan_widening

OPENED = "test_opened"  # the study attribute that holds an OpenedTest


@dataclass(frozen=True)
class OpenedTest:
    """What all machines know of a study's opened test set; a study attribute, by its fields' names."""

    by: str  # the machine, and its folder of the study
    opened: str  # when, ISO 8601
    trials: int | None  # as they were asked for; None: not recorded
    lacks: Sequence[str]  # names of the baselines that were not fitted


def require_same_study(context: StudyContext, study: optuna.Study | None = None) -> Widening | None:
    """Raise UserError where this run would go on with another study than the folder, or the storage, has.

    Args:
        context: what all phases share.
        study: the study in its storage; None where it was not looked at.

    Returns:
        How the study's space is to grow first; None: it stays.
    """
    config, files = context.config, context.files
    widening = plan_widening(config, files, context.space, context.identity, context.reporter.say)
    require_identity(files, study, context.identity if widening is None else widening.identity)
    refuse_edited_space(files, context.space if widening is None else widening.before)
    require_own_storage(config, files)
    for change in () if widening is None else widening.grown:
        context.reporter.say(f"the space grows: {change}")
    return widening


def refuse_what_came_too_late(config: StudyConfig, files: StudyFiles) -> None:
    """Raise UserError for more trials, or more baselines, than the study had when its test set was opened.

    A search that went on after its test score was seen could be steered by it, and the test set is opened once, for
    all that it is to score.

    Args:
        config: what this run asks for.
        files: the study's folder; nothing is refused where its test set is unopened.
    """
    if not files.has(files.test):
        return
    refuse_more_trials(config, files.read_json(EvaluationRecord, files.test).n_trials_asked)
    refuse_baselines(config, [baseline.name for baseline in missing_baselines(files)])


def refuse_what_needs_test_images(config: StudyConfig, source: DataSource) -> None:
    """Raise UserError for options that mean nothing to a study without test images.

    Exports and baselines are scored on them, and a database is where every machine sees whether they were opened.
    """
    asked = {"front": config.front, "max_bytes": config.max_bytes, "max_ms": config.max_ms}
    asked |= {"export": config.export, "baselines": config.baselines, "storage": config.storage}
    for name, value in asked.items():
        if value and not source.has_test:
            raise UserError(f"{name} needs a study with test images, but got images without any; leave {name} out")


def opened_elsewhere(config: StudyConfig, files: StudyFiles, study: optuna.Study) -> OpenedTest | None:
    """What another machine of the study has stored about its opened test set; None if no other one opened it.

    Args:
        config: what this run asks for.
        files: the study's folder on this machine.
        study: the study in its storage, which machines may share.

    Raises:
        UserError: trials or baselines were to be added after that, or it was this machine, whose record is lost.
    """
    stored = study.user_attrs.get(OPENED)
    if stored is None or files.has(files.test):
        return None
    opened = OpenedTest(**stored)
    if config.storage is None or opened.by == machine_name(files) or files.has(files.test_arrays):
        raise UserError(
            f"{shown_path(files.test)} is missing, but this study has opened its test set ({opened.opened}), which is "
            f"done once; restore it, or start a new study with --study NAME"
        )
    refuse_more_trials(config, opened.trials)
    refuse_baselines(config, opened.lacks)
    return opened


def refuse_more_trials(config: StudyConfig, n_trials_asked: int | None) -> None:
    """Raise UserError if the study was asked for fewer trials when its test set was opened. None: not recorded."""
    if n_trials_asked is not None and config.trials > n_trials_asked:
        raise UserError(
            f"study {config.study} has opened its test set (with --trials {n_trials_asked}), so it takes no more "
            f"trials; start another with --study NAME, and use --search-only while a study may still grow"
        )


def refuse_baselines(config: StudyConfig, missing: Sequence[str]) -> None:
    """Raise UserError if baselines are asked for that the study lacked when its test set was opened."""
    if config.baselines and missing:
        raise UserError(
            f"study {config.study} has opened its test set without the baselines {', '.join(missing)}, so it "
            f"takes none any more; leave --baselines out, or start another with --study NAME"
        )


def refuse_edited_space(files: StudyFiles, space: SearchSpace) -> None:
    """Raise UserError where the study's space.toml says something else than the space that the study was made with.

    Whoever edits it wants another search, which an old study cannot become. A damaged file, which says nothing, is
    restored instead, or written anew.
    """
    try:
        edited = flat(parse_toml(read_space_text(files.space), files.space))
    except UserError:
        return
    if not edited:
        return
    made = flat(space.table)
    for key in sorted(edited.keys() | made.keys()):
        if edited.get(key) != made.get(key):
            raise UserError(
                f"{shown_path(files.space)} must have the space that the study was made with, {key} = "
                f"{made.get(key)}, but it has {edited.get(key)}; delete it, and the same command writes it again, or "
                f"search another space with --space FILE --study NAME"
            )


def require_own_storage(config: StudyConfig, files: StudyFiles) -> None:
    """Restore the SQLite file of the study's folder if it is damaged; raise UserError where it is gone.

    An empty one in its place would begin the search anew, beside finalists of the old one.
    """
    if config.storage is None:
        repair_own_storage(files, config.study)
    if config.storage is None and files.has(files.ledger) and not files.storage.exists():
        raise UserError(
            f"{shown_path(files.storage)} is missing, and the study's trials with it; restore it, or start a new study "
            f"with --study NAME"
        )


def require_trials(config: StudyConfig, files: StudyFiles, study: optuna.Study) -> None:
    """Raise UserError where the trials of a study that has trained are gone, deleted in a dashboard, say.

    Others by their numbers would be taken for those that were confirmed.
    """
    require_same_trials(files, study)
    if not files.has(files.ledger):
        return
    # Trials that a limit had kept from training wait again in a larger space; they have their recipes.
    trials = study.get_trials(deepcopy=False)
    if not any(trial.state.is_finished() or "recipe" in attributes_of(trial) for trial in trials):
        raise UserError(
            f"the trials of study {config.study} are gone, but {shown_path(files.root)} has what came of them; "
            f"restore them, or start a new study with --study NAME"
        )


def trials_to_search(config: StudyConfig, files: StudyFiles, study: optuna.Study) -> int:
    """Return how many trials the study is to have when its search ends.

    A search that its timeout has ended does not go on, under a timeout, once a finalist is trained: by more trials
    others would become finalists, and its training would have been for nothing. Trials that were running when a run
    was killed are not given up.
    """
    if config.timeout is None or not files.read_confirm_records():
        return config.trials
    return min(config.trials, count_begun(study))


def machine_name(files: StudyFiles) -> str:
    """The name of this machine, and where on it the study's files are."""
    return f"{socket.gethostname()}:{files.root}"


def is_finished_elsewhere(context: StudyContext, study: optuna.Study) -> bool:
    """Whether another machine of the study has opened its test set, which is said.

    Raises UserError where trials or baselines were to be added after that.
    """
    opened = opened_elsewhere(context.config, context.files, study)
    if opened is None:
        return False
    tell_finished_elsewhere(context, opened.by, opened.opened)
    return True


def share_opened_test(context: StudyContext, study: optuna.Study) -> None:
    """Store with the trials, for other machines, that the test set, if there is one, is open, and with what."""
    files = context.files
    if not context.source.has_test:
        return
    test = files.read_json(EvaluationRecord, files.test)
    missing = [baseline.name for baseline in missing_baselines(files)]
    opened = asdict(OpenedTest(machine_name(files), test.opened, test.n_trials_asked, missing))
    if study.user_attrs.get(OPENED) != opened:
        study.set_user_attr(OPENED, opened)
