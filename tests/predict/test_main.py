"""The command prints what pictures show, and names what cannot be read."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fmnist.predict.__main__ import main
from tests.support.drawings import ON_BLACK, SIDE, drawing, quadrant_model, save, written

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of grey images on black."""
    return save(quadrant_model(), tmp_path_factory.mktemp("model") / "grey.keras", ON_BLACK)


def give_on_stdin(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_broken_files_are_named_with_their_reasons_and_the_others_go_on(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = written(tmp_path / "whole.jpg", drawing("RGB", (500, 400)))
    reasons = {"missing.png": "No such file", "empty.png": "empty", "text.png": "not a picture that can be read"}
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tif"):
        cut = tmp_path / f"cut.{suffix}"
        options = {"compression": "tiff_lzw"} if suffix == "tif" else {}  # libtiff itself speaks of the damage
        written(cut, Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60), np.uint8)), **options)
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
        reasons[cut.name] = ""
    code = main([str(model), str(whole), *(str(tmp_path / name) for name in reasons), str(whole)])
    output = capfd.readouterr()
    assert code == 1
    assert output.out.count("top left") == 2 and output.out.count("\n") == 2
    for line, (name, reason) in zip(output.err.splitlines(), reasons.items(), strict=True):
        assert line.startswith(f"error: {tmp_path / name}: ") and reason in line


def test_name_with_a_line_break_stays_one_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"a\nb\x1b[31m\xff.png")
    path = written(tmp_path / "x.png", drawing()).rename(tmp_path / name)
    assert main([str(model), str(path), f"{path}.png"]) == 1
    output = capsys.readouterr()
    assert "a\\nb\\x1b[31m\\udcff.png  " in output.out and output.out.count("\n") == output.err.count("\n") == 1
    assert main([str(model), str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(path)


def test_lines_are_aligned_name_runners_up_and_what_was_inverted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path("shirt.png"), drawing())
    written(Path("a-shoe.png"), drawing(ground="black", ink="white").rotate(180, expand=True))
    assert main([str(model), "shirt.png", "a-shoe.png"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"shirt\.png   top left      1?\d\d\.\d%  [a-z ]+ \d%, [a-z ]+ \d% +inverted", first)
    assert re.fullmatch(r"a-shoe\.png  bottom right  1?\d\d\.\d%  [a-z ]+ \d%, [a-z ]+ \d%", second)
    assert first.index("%") == second.index("%") and max(len(first), len(second)) <= 80


def test_on_a_terminal_long_paths_are_cut_at_their_front(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "shirt.png", drawing())
    monkeypatch.setattr("fmnist.predict.printing.terminal_width", lambda: 80)
    assert main([str(model), str(path)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert len(line) == 80 and line.startswith("…") and "/shirt.png  top left" in line


def test_json_has_a_line_for_each_picture_failed_ones_too(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.png", drawing())
    assert main([str(model), str(path), "missing.png", "--json", "--top", "9"]) == 1
    output = capsys.readouterr()
    good, bad = map(json.loads, output.out.splitlines())
    assert good["class"] == "top left" == good["top"][0]["class"]
    assert good["probability"] == good["top"][0]["probability"] and len(good["top"]) == 4
    assert sum(one["probability"] for one in good["top"]) == pytest.approx(1)
    assert (good["inverted"], good["fitted"], good["width"], good["height"]) == (True, True, 90, 60)
    assert (bad["path"], bad["class"], bad["top"]) == ("missing.png", None, [])
    assert bad["error"] == "No such file or directory"
    assert good.keys() == bad.keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required"),
        (["a.png", "--top", "0"], "--top must be 1 or more, but got 0"),
        (["a.png", "--top", "x"], "argument --top: invalid int value: 'x'"),
        (["a.png", "--temperature", "0"], "--temperature must be from 0.01 to 100, but got 0"),
        (["a.png", "--temperature", "nan"], "--temperature must be from 0.01 to 100, but got nan"),
        (["a.png", "--temperature", "none.json"], "got none.json: No such file or directory"),
        (["a.png", "--temperature", __file__], "takes a JSON file with a number"),
        (["a.png", "--invert"], "unrecognized arguments"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_in_one_line(
    model: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(model), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


def test_model_without_notes_names_classes_by_number_and_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = save(quadrant_model(), tmp_path / "bare.keras", None)
    path = written(tmp_path / "a.png", drawing())
    assert main([str(bare), str(path), str(path)]) == 0
    output = capsys.readouterr()
    assert [line.split()[1] for line in output.out.splitlines()] == ["0", "0"]
    (line,) = output.err.splitlines()
    assert line.startswith(f"note: {bare} has no notes: its classes are shown by their numbers")


def test_command_keeps_standard_error_for_its_own_words(model: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", drawing())
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "fmnist.predict", str(model), str(path), "-", "--json"]
    child = subprocess.run(
        command, cwd=ROOT, env=environment, input=path.read_bytes(), capture_output=True, check=False
    )
    assert (child.returncode, child.stderr) == (0, b"")
    assert [json.loads(line)["class"] for line in child.stdout.splitlines()] == ["top left"] * 2


def test_command_stops_without_a_trace_when_nobody_reads_its_output(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.png", drawing())
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as unread:
        monkeypatch.setattr(sys, "stdout", unread)
        assert main([str(model), str(path)]) == 1
    assert capsys.readouterr().err == ""


def test_keras_is_not_loaded_for_help_or_for_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "a.keras").write_text("no model")
    script = (
        "import contextlib, io, sys; from fmnist.predict.__main__ import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main(['--help'])\n"
        f"code = main([{str(tmp_path / 'a.keras')!r}, 'a.png'])\n"
        "print(code, sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.stdout == "2 []\n", child.stderr


def page() -> str:
    """The documentation's sections on pictures and on labelled images."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    return text.partition("## Classify pictures")[2].partition("\n## Other formats")[0]


@pytest.fixture
def readers_folder(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader of the pages stands: a study, photo.jpg, the folders wardrobe and labelled, images.npz."""
    study = tmp_path / "studies" / "fashion-mnist"
    study.mkdir(parents=True)
    (study / "best.keras").write_bytes(model.read_bytes())
    (study / "temperature.json").write_text('{"temperature": 0.9}')
    (tmp_path / "wardrobe").mkdir()
    written(tmp_path / "photo.jpg", drawing())
    written(tmp_path / "wardrobe" / "boot.png", drawing(ground="black", ink="white"))
    (tmp_path / "labelled" / "Top_left").mkdir(parents=True)
    written(tmp_path / "labelled" / "Top_left" / "a.png", drawing())
    images = np.zeros((2, SIDE, SIDE, 1), np.uint8)
    images[:, :4, :4] = 255
    np.savez(tmp_path / "images.npz", x=images, y=[0, 1])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_of_the_page_run(
    readers_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = re.findall(r"^python -m fmnist\.predict (.*)$", page(), re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        arguments, _, given = command.partition(" < ")
        if given:
            give_on_stdin(Path(given).read_bytes(), monkeypatch)
        assert main(shlex.split(arguments)) == 0
        output = capsys.readouterr()
        assert output.out.count("top left") >= 1 and output.err == ""


def test_python_of_the_page_runs(readers_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^from fmnist\.predict import predict\n[^`]+", page(), re.MULTILINE)
    exec(code, {})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("photo.jpg top left 0.9")
    assert second.startswith(f"wardrobe{os.sep}boot.png top left ")


def test_python_of_the_reference_runs(readers_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n([^`]*from fmnist\.predict import [^`]+)```", text)
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["photo.jpg top left", f"wardrobe{os.sep}boot.png top left"]
    assert lines[-2].startswith("0.5 Interval(low=")
    assert lines[-1] == "images[1] top right top left"
