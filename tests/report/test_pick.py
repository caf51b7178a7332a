"""python -m search.report NAME --pick: the most accurate network that fits a device, its files and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fmnist.cli import EXIT_USER_ERROR
from search.records.files import StudyFiles
from search.report.__main__ import main, parse
from search.report.pick import measured, pick, pick_and_copy, read_conditions, read_front_of, rounded_up
from search.results.front import FrontPoint
from tests.support.damage import damage
from tests.support.made_front import fail_export
from tests.support.made_study import make_study
from tests.support.made_trials import Made
from tests.support.remedies import Remedy, needs_remedy

SMALL = Made(n_trials=12, n_test=200, n_train=1000, with_front=True)
FULL = "litert-int8-full"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study alpha, which has a front, and beta, which has none."""
    folder = tmp_path_factory.mktemp("template")
    make_study(folder / "alpha", SMALL)
    make_study(folder / "beta", dataclasses.replace(SMALL, with_front=False))
    return folder


@pytest.fixture
def files(template: Path, tmp_path: Path) -> StudyFiles:
    """The study alpha, each test's own."""
    return StudyFiles(shutil.copytree(template, tmp_path / "studies") / "alpha")


@pytest.fixture(scope="module")
def points(template: Path) -> tuple[FrontPoint, ...]:
    """The front, the cheapest network first: the second has less on the confirmation split, and more on the test."""
    return read_front_of(StudyFiles(template / "alpha"))


@pytest.fixture
def run(files: StudyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lambda *words: main([*words, "--studies-dir", str(files.root.parent)])


def picked(points: Sequence[FrontPoint], conditions: str, format_name: str = FULL) -> str:
    return pick(points, read_conditions(conditions), format_name, "alpha").point.name


def bytes_of(point: FrontPoint, format_name: str) -> int:
    record = point.exported(format_name)
    assert record is not None and record.n_bytes is not None
    return record.n_bytes


def test_best_on_the_confirmation_split_is_picked_whatever_the_test_says(points: tuple[FrontPoint, ...]) -> None:
    first, second, third, _ = points
    assert first.confirm_accuracy > second.confirm_accuracy and first.test_accuracy < second.test_accuracy
    assert picked(points, f"parameters<={second.record.n_parameters}") == first.name
    assert picked(points, f"parameters<={third.record.n_parameters}") == third.name


def test_network_is_shown_in_one_line(points: tuple[FrontPoint, ...]) -> None:
    for point in points:
        shown = repr(point)
        assert shown.startswith(f"<network {point.name}: ")
        assert f"{point.record.n_parameters:,} weights" in shown and str(point.model.parent) in shown
        assert len(shown) - len(str(point.model.parent)) < 100


def test_metric_of_the_study_decides(points: tuple[FrontPoint, ...]) -> None:
    by_metric = []
    for point, score in zip(points, (0.1, 0.4, 0.2, 0.3), strict=True):
        training = dataclasses.replace(point.training, confirm_score=score)
        by_metric.append(dataclasses.replace(point, training=training))
    assert picked(by_metric, "parameters<1G") == points[1].name


def test_of_equally_good_networks_the_cheapest_is_picked(points: tuple[FrontPoint, ...]) -> None:
    equal = [dataclasses.replace(point, training=points[0].training) for point in points]
    assert picked(equal, "parameters<1G") == points[0].name


def test_bytes_and_time_are_of_the_file_in_the_format(points: tuple[FrontPoint, ...]) -> None:
    last = points[-1]
    limit = bytes_of(last, FULL)
    assert picked(points, f"bytes<={limit}") == last.name
    assert picked(points, f"bytes<={limit}", "litert") != last.name
    for format_name in ("litert", FULL, "onnx"):
        record = last.exported(format_name)
        assert record is not None
        known = measured(last, format_name)
        assert (known["bytes"], known["ms"]) == (record.n_bytes, record.milliseconds_by_1)
    assert measured(last, "litert")["ms"] > measured(last, FULL)["ms"]


def test_less_excludes_the_limit_and_less_or_equal_includes_it(points: tuple[FrontPoint, ...]) -> None:
    n = points[-1].record.multiply_adds
    assert picked(points, f"multiply_adds<={n}") == points[-1].name
    assert picked(points, f"multiply_adds<{n}") != points[-1].name


def test_all_conditions_have_to_hold(points: tuple[FrontPoint, ...]) -> None:
    assert picked(points, f"ms<1000, parameters <= {points[0].record.n_parameters},bytes<1 GB") == points[0].name


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("bytes<96kB", 96_000),
        ("bytes<64KiB", 65_536),
        ("bytes < 1.5 MB", 1_500_000),
        ("parameters<50k", 50_000),
        ("multiply_adds<1.2M", 1_200_000),
        ("ms<.5", 0.5),
    ],
)
def test_limits_are_read_with_their_units(text: str, limit: float) -> None:
    (condition,) = read_conditions(text)
    assert condition.limit == pytest.approx(limit)


def test_delivered_files_are_copied_and_trainings_are_not(files: StudyFiles, run: Callable[..., int]) -> None:
    name = read_front_of(files)[0].name
    limit = read_front_of(files)[0].record.n_parameters
    assert run("alpha", "--pick", f"parameters<={limit}") == 0
    copied, source = Path(f"alpha-{name}"), files.front / name
    assert {path.name for path in copied.iterdir()} == {path.name for path in source.iterdir()} - {"training"}
    assert {f"{name}{end}" for end in (".keras", ".tflite", "-int8-full.tflite", ".onnx")} <= names(copied)
    assert all(path.read_bytes() == (source / path.name).read_bytes() for path in copied.iterdir())


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_was_picked_is_told_with_its_figures(
    files: StudyFiles, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    point = read_front_of(files)[2]
    assert run("alpha", "--pick", f"parameters<={point.record.n_parameters}", "--to", "there") == 0
    said = capsys.readouterr().out
    assert f"picked: {point.name} of alpha: 3 of 4 networks fit" in said
    assert f"{point.confirm_accuracy:.2%}".replace("%", " %") in said
    assert f"{100 * point.test_interval.low:.2f} to {100 * point.test_interval.high:.2f} %" in said
    record = point.exported(FULL)
    assert record is not None and f"{record.file}: " in said
    assert said.endswith("copied to: there\n")


def test_study_is_read_without_its_trials(files: StudyFiles, run: Callable[..., int]) -> None:
    assert not files.storage.exists()
    assert run("alpha", "--pick", "ms<1000") == 0


def test_empty_folder_is_filled_and_another_is_refused(files: StudyFiles, tmp_path: Path) -> None:
    there, new = tmp_path / "there", tmp_path / "new"
    there.mkdir()
    pick_and_copy(files, "ms<1000", FULL, there)
    before = names(there)
    with needs_remedy("--to must be a new or an empty folder, but {} is there already; name another with --to"):
        pick_and_copy(files, "ms<1", FULL, there)
    assert names(there) == before
    pick_and_copy(files, "ms<1000", FULL, new)
    assert names(new) == before


def test_folder_that_cannot_be_made_is_refused_in_one_line(files: StudyFiles, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with needs_remedy("--to must be a folder that can be written, but {} cannot: {}; name another with --to"):
        pick_and_copy(files, "ms<1000", FULL, tmp_path / "file" / "below")
    pick_and_copy(files, "ms<1000", FULL, tmp_path / "other" / "below")


@pytest.mark.parametrize("conditions", ["bytes<1kB, ms<1000", "parameters<10", "ms<0.000001,bytes<=2"])
def test_where_nothing_fits_the_nearest_is_named_with_conditions_that_pick_it(
    points: tuple[FrontPoint, ...], conditions: str
) -> None:
    with needs_remedy(
        'that keeps to {}, but there is none: the nearest, {}, has {} ({}); allow as much, --pick "'
    ) as no:
        picked(points, conditions)
    message = str(no.value)
    assert f"the nearest, {points[0].name}, has" in message
    allowed = message.partition('allow as much, --pick "')[2].partition('"')[0]
    assert picked(points, allowed) == points[0].name


@pytest.mark.parametrize("value", [0.0512, 0.01, 1.0, 999.6, 12_345, 7_280, 1e-7, 310_490])
def test_suggested_limit_is_never_below_the_value_and_near_it(value: float) -> None:
    assert value <= float(rounded_up(value)) <= value * 1.011


def test_network_without_a_file_in_the_format_fits_no_size(files: StudyFiles) -> None:
    last = read_front_of(files)[-1].name
    fail_export(files, last, FULL)
    points = read_front_of(files)
    assert picked(points, "bytes<1GB") != last
    assert picked(points, "bytes<1GB", "litert") == last
    assert picked(points, "parameters<1G") == last


def test_format_that_the_front_has_no_files_in_is_refused(points: tuple[FrontPoint, ...]) -> None:
    with needs_remedy("--format must be one that {} has files in, {}, but got {}; choose one of these, or limit"):
        picked(points, "bytes<1GB", "onnx-int8")
    picked(points, "bytes<1GB", "onnx")
    picked(points, "parameters<1G", "onnx-int8")


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy("--pick must be conditions with < or <= joined by commas, but got {}", "ms=2", "ms<2"),
        Remedy("--pick must be conditions with < or <= joined by commas, but got {}", "", "bytes<96kB, ms<2"),
        Remedy("--pick must be conditions with < or <= joined by commas, but got {}", "bytes<1,000", "bytes<1000"),
        Remedy("--pick must limit {}, but got {}{}", "byte<96kB", "bytes<96kB"),
        Remedy("--pick must limit {} to {}, above 0, but got {}; pass one such as {}", "bytes<much", "bytes<96kB"),
        Remedy("--pick must limit {} to {}, above 0, but got {}; pass one such as {}", "bytes<-3", "bytes<96kB"),
        Remedy("--pick must limit {} to {}, above 0, but got {}; pass one such as {}", "ms<2k", "ms<2"),
        Remedy(
            "--pick must limit {} to {}, above 0, but got {}; pass one such as {}", "parameters<0", "parameters<50k"
        ),
        Remedy("--pick must limit {} to {}, above 0, but got {}; pass one such as {}", "ms<nan", "ms<2"),
    ],
    ids=lambda remedy: remedy.refused or "nothing",
)
def test_conditions_that_cannot_be_read_are_refused_one_by_one(remedy: Remedy) -> None:
    with needs_remedy(remedy.says):
        read_conditions(remedy.refused)
    read_conditions(remedy.followed)


TOGETHER = ["--pick", "bytes<96kB", "--to", "there", "--format", "onnx"]


@pytest.mark.parametrize(
    "remedy",
    [
        Remedy("{} is for the network that --pick copies, but got {} alone; pass --pick", ["--to", "there"], TOGETHER),
        Remedy("{} is for the network that --pick copies, but got {} alone; pass --pick", ["--format", "onnx"], []),
        Remedy("--format must be one of {}, but got {}{}", ["--pick", "bytes<96kB", "--format", "onxx"], TOGETHER),
        Remedy("--pick takes one study, but got {}; name one", ["beta", "--pick", "bytes<96kB"], TOGETHER),
    ],
    ids=lambda remedy: " ".join(remedy.refused),
)
def test_options_of_a_pick_go_together_or_are_refused(files: StudyFiles, remedy: Remedy) -> None:
    studies = ["--studies-dir", str(files.root.parent)]
    with needs_remedy(remedy.says):
        parse(["alpha", *remedy.refused, *studies])
    parse(["alpha", *remedy.followed, *studies])


def test_wrong_conditions_are_one_line_and_exit_code_2(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("alpha", "--pick", "weight<3") == EXIT_USER_ERROR
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert names(Path.cwd()) == set()


def test_study_without_a_front_says_how_to_make_one(files: StudyFiles) -> None:
    beta = StudyFiles(files.root.parent / "beta")
    with needs_remedy(
        "--pick needs networks of several sizes, but {} was made without --front and delivers one; search"
    ):
        pick_and_copy(beta, "ms<1000", FULL, None)
    assert read_front_of(files)  # which was made with --front


def test_front_of_a_study_without_test_images_is_copied_by_hand(files: StudyFiles) -> None:
    text = files.data.read_text()
    files.data.write_text(text.replace('"has_test": true', '"has_test": false'))
    with needs_remedy("--pick needs networks that were scored on test images, but {} was made without; copy one") as no:
        pick_and_copy(files, "ms<1000", FULL, None)
    assert str(files.front) in str(no.value)
    assert all((files.front / point.name).is_dir() for point in files.read_front())


@pytest.mark.parametrize("kind", ["gone", "flip"])
def test_file_that_was_lost_or_damaged_is_left_out_which_is_said(files: StudyFiles, tmp_path: Path, kind: str) -> None:
    of_last = files.of_point(files.read_front()[-1].name)
    path = of_last.exports / f"{of_last.model.stem}.onnx"
    files.checksums.begin([each for each in files.root.rglob("*") if each.is_file()])
    damage(path, kind)
    told = pick_and_copy(files, "ms<1000", FULL, tmp_path / "there")
    (line,) = (line for line in told if line.startswith("left out: "))
    assert path.name in line and line.endswith("; the study's command makes it anew")
    assert path.name not in names(tmp_path / "there")
    assert of_last.model.name in names(tmp_path / "there")


def test_network_whose_file_is_lost_is_not_picked_for_it(files: StudyFiles, tmp_path: Path) -> None:
    of_last = files.of_point(files.read_front()[-1].name)
    (of_last.exports / f"{of_last.model.stem}-int8-full.tflite").unlink()
    told = pick_and_copy(files, "ms<1000", FULL, tmp_path / "there")
    assert not told[0].startswith(f"picked: {of_last.model.stem} ")


def test_model_that_is_lost_is_named_and_nothing_is_copied(files: StudyFiles, tmp_path: Path) -> None:
    of_last = files.of_point(files.read_front()[-1].name)
    files.checksums.begin([each for each in files.root.rglob("*") if each.is_file()])
    kept = of_last.model.read_bytes()
    of_last.model.unlink()
    with needs_remedy("{} {}, and no intact copy of it is left; restore it{} or start a new study") as no:
        pick_and_copy(files, "ms<1000", FULL, tmp_path / "there")
    assert "/recipe.json" in str(no.value), "which trains it again"
    assert not (tmp_path / "there").exists()
    of_last.model.write_bytes(kept)
    pick_and_copy(files, "ms<1000", FULL, tmp_path / "there")
