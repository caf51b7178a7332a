"""What becomes of exports that fail, by a conversion that needs no TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist.errors import UserError
from fmnist.export.export import export_model
from fmnist.export.formats import FORMATS, ExportRecord
from fmnist.export.parity import ExportFailed
from tests.support.fake_conversion import write_fates

pytestmark = pytest.mark.process

NAMES = [format.name for format in FORMATS]


@pytest.fixture
def export(tmp_path: Path, scripts: Path) -> Callable[..., dict[str, ExportRecord]]:
    """Export a fake model of which the formats have these fates, into tmp_path/out."""

    def run(fates: dict[str, str], **more) -> dict[str, ExportRecord]:
        fake = tmp_path / "fake.keras"
        write_fates(fake, fates)
        names = [name for name in fates if name in NAMES] or ["onnx"]
        records = export_model(fake, names, tmp_path / "out", scripts=scripts, **more)
        return {record.format: record for record in records}

    return run


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ("wrong", r"its probabilities differ by up to 0\.\d+ from the model's, more than 0.0001"),
        ("not finite", "it gives probabilities that are not finite"),
        ("of another shape", r"it gives outputs of shape \(256, 2\) instead of \(256, 3\)"),
        ("garbage", "onnxruntime does not run it: InvalidProtobuf: .*"),
        ("raises", "the conversion failed: ValueError: no such layer"),
    ],
)
def test_file_that_is_not_the_model_is_removed_and_the_reason_said(tmp_path: Path, export, fate, reason) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fake.onnx").write_text("of an earlier export")
    record = export({"onnx": fate})["onnx"]
    with pytest.raises(ExportFailed, match=f"^{reason}$"):
        raise ExportFailed(record.failure)
    assert files_in(tmp_path / "out") == set()
    assert record.trace or fate not in ("garbage", "raises")
    assert (record.largest_difference is None) == (fate != "wrong")


def test_formats_after_one_that_fails_go_on(tmp_path: Path, export) -> None:
    records = export({"litert": "garbage", "litert-int8": "raises", "onnx": "right"})
    assert [name for name, record in records.items() if record.failure] == ["litert", "litert-int8"]
    assert "ai_edge_litert does not run it: ValueError" in records["litert"].failure
    assert files_in(tmp_path / "out") == {"fake.onnx"}
    assert records["onnx"].n_same_class == records["onnx"].n_images == 256
    assert records["onnx"].seconds > 1.5


def test_relative_paths_will_do(tmp_path: Path, export, monkeypatch: pytest.MonkeyPatch) -> None:
    export({"onnx": "right"})  # which makes the fake model and its scripts
    monkeypatch.chdir(tmp_path)
    (fake,) = (path.relative_to(tmp_path) for path in tmp_path.rglob("fake.keras"))
    scripts = next(tmp_path.rglob("conversion.py")).parent
    (record,) = export_model(fake, ["onnx"], Path("relative"), scripts=scripts)
    assert record.failure is None
    assert Path("relative/fake.onnx").exists()


def test_model_and_folder_may_have_any_name(tmp_path: Path, export) -> None:
    export({"onnx": "right"})
    folder = tmp_path / "[x] \\ *?%41\n caf\udce9"
    folder.mkdir()
    fake = (tmp_path / "fake.keras").rename(folder / "-caf\udce9 ~[x].keras")
    (record,) = export_model(fake, ["onnx"], folder / "out", scripts=tmp_path / "scripts")
    assert (record.failure, files_in(folder / "out")) == (None, {"-caf\udce9 ~[x].onnx"})


def test_formats_after_one_that_kills_the_conversion_go_on(tmp_path: Path, export) -> None:
    records = export({"litert": "dies", "onnx": "right"})
    assert records["litert"].failure == "the conversion failed: its process ended with exit code 9"
    assert records["onnx"].failure is None
    assert files_in(tmp_path / "out") == {"fake.onnx"}


def test_conversion_that_hangs_is_ended(tmp_path: Path, export) -> None:
    record = export({"onnx": "hangs"}, longest_seconds=1.5)["onnx"]
    assert record.failure == "the conversion failed: its process was ended after 2 s without a result"
    assert files_in(tmp_path / "out") == set()


def test_stop_ends_the_process_and_leaves_nothing(tmp_path: Path, export) -> None:
    class Stopped(Exception):
        pass

    started = time.monotonic()

    def check_cancelled() -> None:
        if time.monotonic() - started > 1:
            raise Stopped

    with pytest.raises(Stopped):
        export({"onnx": "hangs"}, check_cancelled=check_cancelled)
    assert time.monotonic() - started < 30
    assert files_in(tmp_path / "out") == set()


def test_conversion_that_dies_before_it_begins_is_a_bug_with_what_it_said(export) -> None:
    with pytest.raises(RuntimeError, match=r"ended with exit code 1:\nno memory"):
        export({"dies": "at once"})


def test_model_that_cannot_be_exported_is_the_users_to_fix(tmp_path: Path, export) -> None:
    with pytest.raises(UserError, match="must load with plain Keras"):
        export({"unusable": "x.keras must load with plain Keras, but: no"})
    assert files_in(tmp_path / "out") == set()


def test_folder_takes_the_place_of_an_earlier_one(tmp_path: Path, export) -> None:
    earlier = tmp_path / "out" / "fake.onnx"
    earlier.mkdir(parents=True)
    (earlier / "stale").write_text("of an earlier export")
    assert export({"onnx": "right"})["onnx"].failure is None
    assert earlier.is_file()
