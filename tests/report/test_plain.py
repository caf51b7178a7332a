"""Pictures are the same whatever the user has set for Matplotlib, and what is set stays."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot

from search.dashboard.network_chart import draw_network
from search.report.charts.model import confusion_figure
from search.report.charts.plain import drawing
from search.report.charts.style import Chart, Figure, Medium, clean, figure_png, legend_above, make_chart
from tests.support.reporting import RECIPE

ROOT = Path(__file__).parents[2]


def draw(figure: Figure, medium: Medium) -> None:
    axes = figure.add_subplot()
    axes.plot([1, 2, 3], [-0.1, 0.5, 0.2], label="accuracy $ and _")
    axes.set_xscale("log")
    clean(axes)
    legend_above(figure, 2, axes)


def pictures() -> tuple[Chart, bytes, bytes]:
    counts = np.array([[5, 1], [0, 7]])
    return make_chart("some", "alt", draw), figure_png(confusion_figure(counts, ["a", "b"])), network()


def network() -> bytes:
    return draw_network(3, RECIPE.architecture)


def settings_now() -> dict[str, Any]:
    """All settings, read so that Matplotlib does not choose a backend for it."""
    return dict(dict.items(matplotlib.rcParams))


@pytest.fixture(scope="module")
def expected() -> tuple[Chart, bytes, bytes]:
    return pictures()


@pytest.mark.parametrize(
    "settings",
    [
        {"font.size": 33, "font.family": "monospace"},
        {"axes.facecolor": "red", "figure.facecolor": "black", "savefig.facecolor": "green"},
        {"text.usetex": True},
        {"figure.dpi": 5, "savefig.dpi": 7, "savefig.bbox": "tight", "savefig.transparent": True},
        {"figure.autolayout": True, "figure.figsize": (1, 1)},
        {"lines.linewidth": 9, "lines.marker": "x", "axes.prop_cycle": matplotlib.cycler(color=["red"])},
        {"axes.unicode_minus": False, "axes.formatter.use_locale": True, "axes.formatter.use_mathtext": True},
        {"svg.fonttype": "none", "svg.hashsalt": "mine", "path.simplify": False},
        {"image.cmap": "hot", "image.interpolation": "nearest", "xtick.direction": "in", "axes.spines.left": False},
        {"path.sketch": (1, 100, 2), "legend.frameon": True, "text.hinting": "none", "text.antialiased": False},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_of_the_caller_change_no_picture_and_stay(settings: dict[str, Any], expected: object) -> None:
    with matplotlib.rc_context(settings):
        before = settings_now()
        assert pictures() == expected
        assert settings_now() == before


@pytest.mark.parametrize("style", ["dark_background", "ggplot", "classic"])
def test_style_and_figures_of_the_caller_stay(style: str, expected: object) -> None:
    backend = matplotlib.get_backend()
    with matplotlib.rc_context():
        pyplot.style.use(style)
        pyplot.switch_backend("svg")
        mine = pyplot.figure()
        try:
            before = settings_now()
            assert pictures() == expected
            assert settings_now() == before and matplotlib.get_backend() == "svg"
            assert pyplot.get_fignums() == [mine.number] and pyplot.gcf() is mine
        finally:
            pyplot.close(mine)
            pyplot.switch_backend(backend)


def test_threads_that_draw_at_once_leave_the_settings_alone(expected: tuple[Chart, bytes, bytes]) -> None:
    drawn: list[bytes] = []
    with matplotlib.rc_context({"font.size": 33}):
        before = settings_now()
        threads = [threading.Thread(target=lambda: drawn.append(network())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert settings_now() == before
    assert drawn == [expected[2]] * 4


def test_drawing_that_fails_leaves_settings_fonts_and_log_as_they_were() -> None:
    log = logging.getLogger("matplotlib")
    fonts = list(matplotlib.font_manager.fontManager.ttflist)
    with matplotlib.rc_context({"font.size": 33}):
        before, level = settings_now(), log.level
        with pytest.raises(ZeroDivisionError), drawing(), drawing():
            matplotlib.rcParams["font.size"] = 4
            raise ZeroDivisionError
        assert settings_now() == before and log.level == level
    assert matplotlib.font_manager.fontManager.ttflist == fonts


def test_one_drawing_within_another_keeps_its_settings() -> None:
    with drawing():
        matplotlib.rcParams["font.size"] = 4
        with drawing():
            assert matplotlib.rcParams["font.size"] == 4


SCRIPT = (
    "import hashlib; from search.dashboard.network_chart import draw_network\n"
    "from tests.support.reporting import RECIPE\n"
    "print(hashlib.sha256(draw_network(3, RECIPE.architecture)).hexdigest())"
)
RC = "font.size: 33\nno such line\nno.such.key: 3\nlines.linewidth: thick\nbackend: nonsense\ntext.usetex: True\n"


@pytest.mark.process
@pytest.mark.parametrize(
    "variables",
    [
        {"MPLBACKEND": "module://not_installed.backend_inline"},
        {"MPLBACKEND": "nonsense"},
        {"MPLBACKEND": "Qt5Agg", "DISPLAY": ""},
        {"MPLCONFIGDIR": "/dev/null/nowhere"},
        {"HOME": "/dev/null", "XDG_CONFIG_HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null"},
    ],
    ids=str,
)
def test_surroundings_change_no_picture_and_cause_no_word(
    variables: dict[str, str], expected: tuple[Chart, bytes, bytes], tmp_path: Path
) -> None:
    """In a folder with a matplotlibrc that makes no sense."""
    (tmp_path / "matplotlibrc").write_text(RC)
    child = run_in(tmp_path, SCRIPT, variables)
    assert (child.returncode, child.stderr) == (0, "")
    assert child.stdout.strip() == hashlib.sha256(expected[2]).hexdigest()


@pytest.mark.process
@pytest.mark.follows("Matplotlib must be able to read its settings, matplotlibrc in this folder")
def test_settings_that_cannot_be_read_are_refused_with_a_remedy(tmp_path: Path) -> None:
    script = (
        "import importlib, sys; from fmnist.cli import exit_code_of\n"
        "sys.exit(exit_code_of(lambda: int(not importlib.import_module('search.report.charts.plain'))))"
    )
    rc = tmp_path / "matplotlibrc"
    rc.write_bytes(b"font.size: 9  # gr\xf6\xdfer")
    child = run_in(tmp_path, script, {})
    (line,) = child.stderr.splitlines()
    assert child.returncode == 2 and line.startswith("error: Matplotlib must be able to read its settings, ")
    rc.rename(tmp_path / "elsewhere")  # the remedy
    child = run_in(tmp_path, script, {})
    assert (child.returncode, child.stderr) == (0, "")


def run_in(folder: Path, script: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
