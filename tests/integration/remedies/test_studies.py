"""What a study that cannot go on says is done, and it goes on. The processes train nothing."""

from __future__ import annotations

import errno
import re
import shutil
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from fmnist.baselines.catalog import BASELINES
from fmnist.cli import EXIT_USER_ERROR, exit_code_of
from fmnist.data.find import find_data
from fmnist.data.split import load_train
from search.callbacks.reporter import Reporter
from search.guards import machine_name, opened_elsewhere, refuse_what_came_too_late
from search.pipeline import run_study
from search.records.files import StudyFiles
from search.records.io import write_arrays, write_json
from search.records.models import (
    BestRecipe,
    EnsembleRecipe,
    EvaluationRecord,
    MemberRecipe,
    Retraining,
    TrialRecord,
)
from search.refit.reproduction import read_recipe, retrain
from search.results.members import find_members
from search.results.reading import read_finished_study
from search.results.result import FinishedStudy, StudyResult
from search.run import parse
from search.study.loop import SearchStopped
from search.study.study import check_identity
from search.worker.tasks import Interrupted, TrainingFailed, TrainMessage, TrainTask
from tests.support.made_study import make_study
from tests.support.made_trials import Made
from tests.support.remedies import assert_message, needs_remedy
from tests.support.spaces import DIGITS, DIGITS_TEXT, SHAPES, space_from
from tests.support.training.fake_trainer import recipe
from tests.support.training.fakes import fake_workers
from tests.support.training.silent import too_late_workers
from tests.support.training.trainers import by_filters, objective_of, open_study, run_trials


class UntilTheConfirmation(Reporter):
    """Ends the run where its finalists are known."""

    def __init__(self) -> None:
        self.stop = threading.Event()

    def begin(self, name: str, *arguments: Any, **more: Any) -> None:
        if re.fullmatch(r"training \d+ finalists?", name):
            self.stop.set()


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the study `digits` is, after a search of four trials."""
    folder = tmp_path_factory.mktemp("studies")
    search(folder)
    return folder


def words(studies: Path, *more: object) -> list[str]:
    return ["--dataset", "digits", "--studies-dir", str(studies), "--trials", "4", "--workers", "1", *map(str, more)]


def search(studies: Path, *more: object) -> StudyResult:
    """Run the search, as the command with these options does."""
    config, _ = parse(words(studies, *more))
    return run_study(config, search_only=True, worker_processes=fake_workers)


def confirm(studies: Path, *more: object, workers: Any = fake_workers) -> None:
    """Run the search and choose the finalists, as the command with these options does.

    With a timeout, long as it is, no finalist is confirmed beside the search: these processes predict nothing.
    """
    config, _ = parse(words(studies, "--timeout", "3000", *more))
    reporter = UntilTheConfirmation()
    with pytest.raises(Interrupted):
        run_study(config, reporter, reporter.stop, worker_processes=workers)


@pytest.mark.process
@pytest.mark.parametrize(
    ("refused", "followed", "remedy"),
    [
        (["--seed", "1"], ["--seed", "0"], "pass --seed 0, or"),
        (["--sampler", "random"], ["--sampler", "tpe"], "pass --sampler tpe, or"),
        (["--metric", "balanced_accuracy"], ["--metric", "accuracy"], "pass --metric accuracy, or"),
        (["--class-weights", "balanced"], ["--class-weights", "none"], "pass --class-weights none, or"),
        (["--max-parameters", "9"], [], "leave --max-parameters out, or"),
        (["--storage", "sqlite:///other.db"], [], "leave --storage out, or"),
        (["--seed", "1"], ["--seed", "1", "--study", "another"], "start a new study with --study NAME"),
    ],
)
def test_study_goes_on_with_the_option_that_the_message_names(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: list[str], followed: list[str], remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with needs_remedy("{}; {}, or start a new study with --study NAME") as caught:
        search(studies, *refused)
    assert remedy in str(caught.value)
    assert len(search(studies, *followed).trials) == 4


@pytest.mark.process
def test_study_goes_on_with_the_space_in_its_folder(studies: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine.toml"
    other.write_text(DIGITS_TEXT.replace("n_epochs = 30", "n_epochs = 29"), encoding="utf-8")
    with needs_remedy("{}; {}, or start a new study with --study NAME"):
        search(studies, "--space", other)
    search(studies, "--space", studies / "digits" / "space.toml")


@pytest.mark.process
def test_space_that_was_edited_in_the_study_s_folder_is_deleted_or_searched_by_another_study(
    studies: Path, tmp_path: Path
) -> None:
    shutil.copytree(studies, tmp_path / "studies")
    space = tmp_path / "studies" / "digits" / "space.toml"
    edited = space.read_text(encoding="utf-8").replace("n_epochs = 30", "n_epochs = 29")
    space.write_text(edited, encoding="utf-8")
    with needs_remedy("{} must have the space that the study was made with, {} = {}, but it has {}; delete it"):
        search(tmp_path / "studies")
    (tmp_path / "mine.toml").write_text(edited, encoding="utf-8")
    space.unlink()
    search(tmp_path / "studies")
    assert "n_epochs = 30" in space.read_text(encoding="utf-8")
    search(tmp_path / "studies", "--space", tmp_path / "mine.toml", "--study", "edited")


def test_lost_record_of_the_opened_test_set_is_restored(tmp_path: Path) -> None:
    config, _ = parse(words(tmp_path))
    files = StudyFiles(config.folder)
    study = optuna.create_study()
    study.set_user_attr("test_opened", {"by": machine_name(files), "opened": "now", "trials": 4, "lacks": []})
    with needs_remedy("{} is missing, but this study has opened its test set ({}), which is done once; restore it"):
        opened_elsewhere(config, files, study)
    write_json(files.test, EvaluationRecord("2026-01-01T00:00:00+00:00", 360, (0.9,), 0.9, 1.0, n_trials_asked=4))
    assert opened_elsewhere(config, files, study) is None


def test_study_of_another_format_is_left_for_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"format": 99}')
    with needs_remedy(
        "study {} has format {}, but version {} continues format {} only; use {} made it, or start a new"
    ):
        check_identity(StudyFiles(tmp_path), {"study": "a"})
    check_identity(StudyFiles(tmp_path / "new"), {"study": "a"})


def test_other_images_of_the_same_name_are_another_study(tmp_path: Path) -> None:
    own, others = ({"data_checksums": {"x_train": checksum}} for checksum in ("own", "others"))
    check_identity(StudyFiles(tmp_path / "mine"), own)
    with needs_remedy("{}: these are not its images{}; restore it, or start a new study with --study {}-2"):
        check_identity(StudyFiles(tmp_path / "mine"), others)
    check_identity(StudyFiles(tmp_path / "mine"), own)
    check_identity(StudyFiles(tmp_path / "mine-2"), others)


@pytest.mark.process
def test_lost_trials_are_restored_or_left_for_a_new_study(studies: Path, tmp_path: Path) -> None:
    shutil.copytree(studies, tmp_path / "studies")
    files = StudyFiles(tmp_path / "studies" / "digits")
    shutil.rmtree(files.checksums.copies)  # as a study of an earlier version, which has no copy of its trials
    files.checksums.path.unlink()
    kept = files.storage.read_bytes()
    files.storage.unlink()
    with needs_remedy("{} is missing, and the study's trials with it; restore it, or start a new study"):
        search(tmp_path / "studies")
    files.storage.write_bytes(kept)
    optuna.delete_study(study_name="digits", storage=f"sqlite:///{files.storage}")
    with needs_remedy("the trials of study {} are gone, but {} has what came of them; restore them, or start a new"):
        search(tmp_path / "studies")
    for path in files.root.glob("study.db*"):
        path.unlink()
    files.storage.write_bytes(kept)
    assert len(search(tmp_path / "studies").trials) == 4
    search(tmp_path / "studies", "--study", "new")


def test_opened_test_set_leaves_growth_to_another_study(tmp_path: Path) -> None:
    config, _ = parse(words(tmp_path, "--trials", "6", "--baselines"))
    opened = EvaluationRecord("2026-01-01T00:00:00+00:00", 360, (0.9,), 0.9, 1.0, n_trials_asked=5)
    write_json(StudyFiles(config.folder).test, opened)
    with needs_remedy("takes no more trials; start another with --study NAME"):
        refuse_what_came_too_late(config, StudyFiles(config.folder))
    with needs_remedy("so it takes none any more; leave --baselines out, or start another"):
        refuse_what_came_too_late(replace(config, trials=5), StudyFiles(config.folder))
    refuse_what_came_too_late(replace(config, trials=5, baselines=False), StudyFiles(config.folder))
    another = replace(config, study="another")
    refuse_what_came_too_late(another, StudyFiles(another.folder))


@pytest.mark.process
def test_study_whose_networks_are_all_too_large_is_begun_anew_with_larger_limits(tmp_path: Path) -> None:
    with needs_remedy("start another study with --study NAME and larger limits, by their options or in the space file"):
        confirm_or_raise(tmp_path, "--max-parameters", "1")
    confirm(tmp_path, "--study", "another", "--max-parameters", "1000000")


@pytest.mark.process
def test_search_that_time_ended_before_any_evaluation_gets_more_of_what_it_lacks(tmp_path: Path) -> None:
    """More time alone would not do where the trials are spent."""
    with needs_remedy("some trial must come far enough to be confirmed, but none of {} did; raise {}") as caught:
        confirm_or_raise(tmp_path, "--trials", "1", "--timeout", "30", workers=too_late_workers)
    assert str(caught.value).endswith("raise --timeout and --trials above 1")
    confirm(tmp_path, "--trials", "2")


def confirm_or_raise(studies: Path, *more: object, workers: Any = fake_workers) -> None:
    config, _ = parse(words(studies, *more))
    run_study(config, worker_processes=workers)


def test_search_that_stopped_at_equal_failures_goes_on_once_the_cause_is_gone(tmp_path: Path) -> None:
    """The cause is the reason that is named; the failed trials count, as trials of the study."""

    def fails(task: TrainTask) -> Generator[TrainMessage, None, None]:
        raise TrainingFailed("error", "No module named 'x'")
        yield

    config, _ = parse(words(tmp_path))
    space = space_from(DIGITS, SHAPES[DIGITS])
    study = open_study(config, space)
    with needs_remedy("{} trials in a row {}", SearchStopped):
        run_trials(study, objective_of(space, fails), n_trials=6)
    run_trials(study, objective_of(space, by_filters), n_trials=6)
    assert [trial.state.name for trial in study.trials].count("FAIL") == 3
    assert len(study.trials) == 6


def test_full_disk_is_emptied_and_the_same_command_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    is_full = [False, True]  # the last one first

    def command() -> int:
        if is_full.pop():
            raise OSError(errno.ENOSPC, "No space left on device")
        return 0

    assert exit_code_of(command) == EXIT_USER_ERROR
    assert_message("the disk is full; free some space, then the same command goes on", capsys.readouterr().err.strip())
    assert exit_code_of(command) == 0


@pytest.fixture
def finished(tmp_path: Path) -> tuple[StudyFiles, list[TrialRecord]]:
    """A finished study, whose files a test may damage."""
    return make_study(tmp_path / "a", Made(with_baselines=True))


def read(finished: tuple[StudyFiles, list[TrialRecord]], trials: list[TrialRecord] | None = None) -> FinishedStudy:
    files, own = finished
    return read_finished_study(files, own if trials is None else trials, command="", importances=None)


def test_study_is_read_once_what_it_lost_is_back(finished: tuple[StudyFiles, list[TrialRecord]]) -> None:
    files, trials = finished
    winner = read(finished).winner.trial
    with needs_remedy("the retrained trial must be a finished trial of the study"):
        read(finished, [trial for trial in trials if trial.number != winner])
    with away(files.confirm_record(winner)), needs_remedy("the retrained trial must be a confirmed finalist"):
        read(finished)
    with away(files.test), needs_remedy("a report needs a study that has come to its end, but {} has no {}; {}"):
        read(finished)
    arrays = arrays_of(files)
    with away(files.test_arrays), needs_remedy("{} holds other mistakes than its predictions; {}"):
        write_arrays(files.test_arrays, **{**arrays, "mistake_indices": arrays["mistake_indices"] + 1})
        read(finished)
    baseline = files.baseline_arrays(BASELINES[0].name)
    with away(baseline), needs_remedy("{} must predict {} test images, but got {}; {}"):
        write_arrays(baseline, predicted=arrays["labels"][:5])
        read(finished)
    assert read(finished).winner.trial == winner


def test_ensemble_is_read_once_what_it_lost_is_back(finished: tuple[StudyFiles, list[TrialRecord]]) -> None:
    files, _ = finished
    arrays = arrays_of(files)
    with (
        away(files.ensemble_record),
        needs_remedy("an ensemble must have its record, {}, its predictions in {} and its"),
    ):
        read(finished)
    others = arrays["ensemble_probabilities"][:, ::-1]
    with away(files.test_arrays), needs_remedy("{} holds other predictions of the ensemble than were scored; {}"):
        write_arrays(files.test_arrays, **{**arrays, "ensemble_probabilities": others})
        read(finished)
    study = read(finished)
    assert study.ensemble is not None
    members = study.ensemble.members
    student = next(member.model for member in members if "student" in member.model)
    with away((files.root / student).with_suffix(".json")), needs_remedy("an average's members must be finalists or"):
        find_members(read(finished), members)
    assert [member.model for member in find_members(read(finished), members)] == [member.model for member in members]


def arrays_of(files: StudyFiles) -> dict[str, np.ndarray]:
    """What the study has predicted, by name."""
    return {name: array for name, array in vars(files.read_test_arrays()).items() if array is not None}


def test_front_is_read_once_what_it_lost_is_back(tmp_path: Path) -> None:
    finished = make_study(tmp_path / "sizes", Made(with_front=True))
    files, _ = finished
    arrays = arrays_of(files)
    with away(files.test_arrays), needs_remedy("{} has {} networks, but {} have predicted and {} were scored; restore"):
        write_arrays(files.test_arrays, **{**arrays, "front_probabilities": arrays["front_probabilities"][1:]})
        read(finished)
    assert len(read(finished).front) == len(files.read_front())


@contextmanager
def away(path: Path) -> Iterator[None]:
    """The file is gone, or another one in its place, while the block runs."""
    kept = path.read_bytes()
    path.unlink()
    try:
        yield
    finally:
        path.write_bytes(kept)


def test_figures_are_those_of_a_finished_study(finished: tuple[StudyFiles, list[TrialRecord]]) -> None:
    files, trials = finished
    with needs_remedy("{} needs a finished study, but {} has no opened test set in {}; call run_study", RuntimeError):
        _ = StudyResult(files=files, config={}, trials=tuple(trials)).test_mean
    assert read(finished).test_mean > 0


def test_model_is_retrained_from_the_images_of_its_study(tmp_path: Path) -> None:
    source = find_data("digits")
    split = load_train(source, 0)
    best = BestRecipe(
        made_with={},
        study="digits",
        trial=0,
        recipe=recipe(8).to_dict(),
        dataset="digits",
        data_checksums=source.checksums,
        image_size=None,
        colour=None,
        skip_unreadable=False,
        split_seed=0,
        split_checksum=split.checksum,
        n_planned_images=100,
        n_stop_images=None,
        bfloat16=False,
        retrainings=(Retraining(seed=0, test_accuracy=0.9, n_threads=1),),
    )
    stop = threading.Event()
    stop.set()  # so that nothing is trained
    out = tmp_path / "retrained.keras"
    with needs_remedy("{} must be as it was in the study (checksum {}), but got {}; pass the study's images"):
        retrain(replace(best, data_checksums={"digits": "others"}), source, 0, out, Reporter(), stop)
    with pytest.raises(Interrupted):
        retrain(best, source, 0, out, Reporter(), stop)


def test_ensemble_s_recipe_is_used_as_the_study_wrote_it(tmp_path: Path) -> None:
    source = find_data("digits")
    member = MemberRecipe(0, recipe(8).to_dict(), 0, 100, None, 1, "searched", 0.5)
    student = replace(member, seed=1, is_taught=True)
    written = EnsembleRecipe(
        made_with={},
        study="digits",
        dataset="digits",
        data_checksums=source.checksums,
        image_size=None,
        colour=None,
        skip_unreadable=False,
        split_seed=0,
        split_checksum=load_train(source, 0).checksum,
        members=(member, student),
        teachers=(replace(member, weight=1.0),),
    )
    path = tmp_path / "ensemble_recipe.json"
    write_json(path, written)
    with needs_remedy("a recipe must be a file, but got the folder {}; {}"):
        read_recipe(tmp_path)
    write_json(tmp_path / "config.json", {"study": "digits"})
    with needs_remedy("a recipe must say how a model is trained, but {} does not; {}"):
        read_recipe(tmp_path / "config.json")
    assert read_recipe(path) == written
    stop = threading.Event()
    stop.set()  # so that nothing is trained
    out = tmp_path / "ensemble.keras"
    with needs_remedy(
        "an ensemble's recipe takes no seed, since each member has its own, but got {}; leave out --seed"
    ):
        retrain(written, source, 1, out, Reporter(), stop)
    for edited in (replace(written, members=()), replace(written, teachers=()), replace(written, teachers=(student,))):
        with needs_remedy("a recipe must have members, and teachers for those that are taught, but this one has not"):
            retrain(edited, source, None, out, Reporter(), stop)
    with pytest.raises(Interrupted):
        retrain(written, source, None, out, Reporter(), stop)
