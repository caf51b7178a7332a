"""A study is the same to the bit whoever runs it, from wherever, and whatever that has set."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from search.records.files import StudyFiles
from search.study.study import open_finished
from search.study.trials import read_trials
from search.system.shipped import SHIPPED_SPACES

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SMALL = {
    "first_rung_images = 4_000": "first_rung_images = 200",
    "search_images = 16_000": "search_images = 1_000",
    "report_every_images = 1_000": "report_every_images = 500",
    "n_epochs = 30": "n_epochs = 2",
}
OTHER_SETTINGS = """
import decimal, multiprocessing, os, warnings
import numpy as np
import keras
import tensorflow as tf
multiprocessing.set_start_method("spawn")
print(tf.constant(1) + 1)
tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
keras.mixed_precision.set_global_policy("mixed_float16")
keras.config.set_image_data_format("channels_first")
keras.config.set_epsilon(0.1)
np.seterr(all="raise")
warnings.simplefilter("error")
decimal.getcontext().prec = 2
os.environ.update(KERAS_BACKEND="jax", TF_ENABLE_ONEDNN_OPTS="0", TF_DETERMINISTIC_OPS="1", OMP_NUM_THREADS="3")
"""
HIDDEN_LIBRARIES = """
from pathlib import Path
for name in ("keras", "tensorflow", "h5py", "absl", "ml_dtypes", "types", "random", "queue"):
    Path(f"{name}.py").write_text("raise ImportError('a module of the user')")
"""
OTHER_VARIABLES = {
    "KERAS_MAX_EPOCHS": "1",
    "TF_USE_LEGACY_KERAS": "1",
    "OMP_NUM_THREADS": "3",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "PYTHONOPTIMIZE": "1",
    "PYTHONHASHSEED": "1",
}


def example() -> str:
    """The first Python example of the README, in small: two trials, one retraining, each of a second."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    small = code.replace("trials=5", "trials=2, refit_seeds=1, workers=2, space='space.toml'")
    assert small != code
    return small


def prepare(folder: Path) -> Path:
    """Write the space file that the example names."""
    text = (SHIPPED_SPACES / "digits.toml").read_text(encoding="utf-8")
    for long, short in SMALL.items():
        assert long in text
        text = text.replace(long, short)
    (folder / "space.toml").write_text(text)
    return folder


def run(folder: Path, words: list[str], script: str = "", **variables: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, *words]
    child = subprocess.run(
        command, cwd=folder, env=environment, input=script, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0 and "best.keras" in child.stdout, child.stderr


def outcome(folder: Path) -> tuple[list[tuple[object, ...]], bytes, dict[str, object]]:
    """What the study has found: trials with parameters and values, the weights, the scores."""
    files = StudyFiles(folder / "studies" / "digits")
    trials = [(trial.number, trial.params, trial.value) for trial in read_trials(open_finished(files))]
    with zipfile.ZipFile(files.model) as archive:
        weights = archive.read("model.weights.h5")
    return trials, weights, json.loads(files.report_json.read_text())["test"]["accuracy"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The outcome of the example as it stands, a script without a guard."""
    folder = prepare(tmp_path_factory.mktemp("plain"))
    (folder / "script.py").write_text(example())
    run(folder, ["script.py"])
    return outcome(folder)


def test_settings_made_above_it_and_files_beside_it_change_nothing(plain: tuple[object, ...], tmp_path: Path) -> None:
    folder = prepare(tmp_path)
    (folder / "script.py").write_text(OTHER_SETTINGS + HIDDEN_LIBRARIES + example())
    (folder / "keras.json").write_text('{"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}')
    run(folder, ["script.py"], KERAS_HOME=str(folder))
    assert outcome(folder) == plain


def test_other_variables_and_standard_input_change_nothing(plain: tuple[object, ...], tmp_path: Path) -> None:
    folder = prepare(tmp_path)
    (folder / "keras.json").write_text('{"floatx": "float8"}')
    run(folder, ["-"], example(), KERAS_HOME=str(folder), **OTHER_VARIABLES)
    assert outcome(folder) == plain


def test_a_notebook_changes_nothing(plain: tuple[object, ...], tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs the extra test")
    nbformat = pytest.importorskip("nbformat", reason="needs the extra test")
    pytest.importorskip("ipykernel", reason="needs the extra test")
    folder = prepare(tmp_path)
    cells = [nbformat.v4.new_code_cell(code) for code in (f"import sys; sys.path.insert(0, {str(ROOT)!r})", example())]
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": folder}}
    nbclient.NotebookClient(notebook, timeout=500, kernel_name="python3", resources=resources).execute()
    assert outcome(folder) == plain
