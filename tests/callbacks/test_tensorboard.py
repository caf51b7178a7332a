"""What TensorBoard shows of trainings, read by its own reader."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from fmnist.training.history import HistoryPoint
from search.callbacks.tensorboard import BEST, SCALARS, TensorBoardRuns
from search.run import main
from tests.support.training.fakes import fake_workers

# The reader would load TensorFlow where it finds it, for file systems that these tests have not.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402
from tensorboard.plugins.hparams import metadata as hparams  # noqa: E402
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS  # noqa: E402

ROOT = Path(__file__).parents[2]
RECIPE = Recipe(Architecture((28, 28, 1), 10, (Block(32, 2, 3), Block(64, 1, 3))), TrainingPlan())


def point(n_images: int, accuracy: float | None) -> HistoryPoint:
    return HistoryPoint(n_images, n_images / 100, 1e-3, 1.25, 0.5, None if accuracy is None else 0.75, accuracy)


def train(runs: TensorBoardRuns, label: str, length: int, accuracies: list[float | None]) -> None:
    """A training that reports so many points, without its end."""
    runs.on_training_start(label, RECIPE, length)
    for i, accuracy in enumerate(accuracies, start=1):
        runs.on_evaluation(label, point(i * length // len(accuracies), accuracy), accuracy)


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def curve(folder: Path, tag: str = "accuracy/validation") -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value)) for event in read(folder).Scalars(tag)]


def text_of(folder: Path, tag: str) -> str:
    (event,) = read(folder).Tensors(tag)
    return event.tensor_proto.string_val[0].decode()


def runs_in(folder: Path) -> set[str]:
    return {str(path.parent.relative_to(folder)) for path in folder.rglob("*tfevents*")}


def test_each_rung_of_a_trial_is_a_run_of_its_own(tmp_path: Path) -> None:
    runs = TensorBoardRuns(tmp_path)
    train(runs, "trial 7", 1000, [0.5, 0.75])
    train(runs, "trial 7", 4000, [0.625, 0.875])
    runs.on_training_end("trial 7", "trained to the end")
    assert runs_in(tmp_path) == {"trial 7/1000 images", "trial 7/4000 images"}
    assert curve(tmp_path / "trial 7" / "1000 images") == [(500, 0.5), (1000, 0.75)]
    assert curve(tmp_path / "trial 7" / "4000 images") == [(2000, 0.625), (4000, 0.875)]
    assert text_of(tmp_path / "trial 7" / "1000 images", "end") == "passed; the trial goes on"
    assert text_of(tmp_path / "trial 7" / "4000 images", "end") == "trained to the end"


def test_every_figure_of_a_point_is_a_scalar_at_its_images(tmp_path: Path) -> None:
    assert set(SCALARS) == {field.name for field in dataclasses.fields(HistoryPoint)} - {"n_images"}
    runs, last = TensorBoardRuns(tmp_path), dataclasses.replace(point(1000, 0.75), validation_score=0.625)
    runs.on_training_start("finalist 3", RECIPE, 1000)
    runs.on_evaluation("finalist 3", last, 0.75)
    folder = tmp_path / "finalist 3" / "1000 images"
    for field, tag in SCALARS.items():
        assert curve(folder, tag) == [(1000, getattr(last, field))]
    assert curve(folder, BEST) == [(1000, 0.75)]


def test_figures_that_a_student_lacks_are_left_out(tmp_path: Path) -> None:
    runs = TensorBoardRuns(tmp_path)
    train(runs, "student 0", 1000, [None, None])
    shown = set(read(tmp_path / "student 0" / "1000 images").Tags()["scalars"])
    assert shown == {"loss/train", "accuracy/train", "learning_rate", "seconds"}


def test_recipe_is_text_and_hyperparameters(tmp_path: Path) -> None:
    train(TensorBoardRuns(tmp_path), "trial 7", 1000, [0.5])
    folder = tmp_path / "trial 7" / "1000 images"
    in_json = text_of(folder, "recipe").partition("```json")[2].removesuffix("```")
    assert Recipe.from_dict(json.loads(in_json)) == RECIPE
    content = read(folder).SummaryMetadata(hparams.SESSION_START_INFO_TAG).plugin_data.content
    shown = hparams.parse_session_start_info_plugin_data(content).hparams
    assert shown["peak_learning_rate"].number_value == RECIPE.plan.peak_learning_rate
    assert shown["blocks.1.filters"].number_value == 64
    assert shown["flip"].bool_value is True
    assert shown["images"].number_value == 1000


@pytest.mark.parametrize(
    ("reason", "status"),
    [("pruned after 1,000 images", STATUS_SUCCESS), ("failed (diverged): the loss is nan", STATUS_FAILURE)],
)
def test_end_tells_a_failure_from_the_rest(tmp_path: Path, reason: str, status: int) -> None:
    runs = TensorBoardRuns(tmp_path)
    train(runs, "trial 7", 1000, [0.5])
    runs.on_training_end("trial 7", reason)
    folder = tmp_path / "trial 7" / "1000 images"
    content = read(folder).SummaryMetadata(hparams.SESSION_END_INFO_TAG).plugin_data.content
    assert hparams.parse_session_end_info_plugin_data(content).status == status
    assert text_of(folder, "end") == reason


def test_what_reports_no_points_is_no_run(tmp_path: Path) -> None:
    runs = TensorBoardRuns(tmp_path)
    runs.on_training_start("random-forest", "random forest on the pixels", None)
    runs.on_training_end("random-forest", "fitted to its end")
    runs.on_training_start("conv", "a plain network", 2000)
    runs.on_evaluation("conv", point(2000, None), None)
    runs.on_training_end("conv", "trained for 1 epoch")
    assert runs_in(tmp_path) == {"conv/2000 images"}
    assert text_of(tmp_path / "conv" / "2000 images", "recipe") == "a plain network"


def test_training_that_starts_again_takes_the_place_of_its_first_attempt(tmp_path: Path) -> None:
    train(TensorBoardRuns(tmp_path), "trial 7", 1000, [0.1, 0.2, 0.3, 0.4])  # and killed
    runs = TensorBoardRuns(tmp_path)
    train(runs, "trial 7", 1000, [0.5, 0.75])
    runs.on_training_end("trial 7", "trained to the end")
    folder = tmp_path / "trial 7" / "1000 images"
    assert len(list(folder.iterdir())) == 2
    assert curve(folder) == [(500, 0.5), (1000, 0.75)]
    assert text_of(folder, "end") == "trained to the end"


def test_all_that_was_told_is_there_when_the_process_is_killed(tmp_path: Path) -> None:
    """In the middle of a record, too: what is half there is passed over, and the next attempt is read."""
    train(TensorBoardRuns(tmp_path), "trial 7", 1000, [0.1, 0.2])
    folder = tmp_path / "trial 7" / "1000 images"
    assert curve(folder) == [(500, 0.1), (1000, 0.2)]
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    assert curve(folder) == [(500, 0.1)]
    train(TensorBoardRuns(tmp_path), "trial 7", 1000, [0.3, 0.4])
    assert curve(folder) == [(500, 0.3), (1000, 0.4)]


def test_folder_that_cannot_be_written_is_refused_before_anything_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    options = ["--dataset", "digits", "--studies-dir", str(tmp_path / "studies"), "--tensorboard"]
    assert main([*options, str(tmp_path / "file")], worker_processes=fake_workers) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --tensorboard must name a folder that can be written, but ")
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.process
def test_search_is_shown_without_tensorflow(tmp_path: Path) -> None:
    options = ["--dataset", "digits", "--trials", "4", "--study", "s", "--search-only"]
    options += ["--studies-dir", str(tmp_path / "studies"), "--tensorboard", str(tmp_path / "shown")]
    script = (
        "import sys; from tests.support.training.fakes import fake_workers; from search.run import main;"
        f"code = main({options!r}, worker_processes=fake_workers);"
        "sys.exit(code or 'tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    shown = runs_in(tmp_path / "shown" / "s")
    assert {run.partition("/")[0] for run in shown} == {f"trial {number}" for number in range(4)}
    last = curve(tmp_path / "shown" / "s" / "trial 0" / "16000 images")[-1]
    assert last[0] == 16_000
