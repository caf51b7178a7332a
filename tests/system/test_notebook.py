"""Whether this process runs a notebook's cells, and an output that changes in place."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from search.system.notebook import LiveOutput, Notebook, find_notebook
from tests.support.fake_notebook import FakeNotebook, notebook_in


def test_process_is_a_notebook_s_where_ipython_has_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = notebook_in(monkeypatch)
    assert find_notebook() == Notebook(notebook)


@pytest.mark.parametrize("shell", [None, SimpleNamespace(), SimpleNamespace(kernel=None)], ids=str)
def test_ipython_without_a_kernel_is_a_terminal(shell: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert find_notebook() is None


@pytest.mark.process
def test_looking_for_a_notebook_loads_no_ipython() -> None:
    script = "import sys; from search import Terminal; Terminal(); print('IPython' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert child.stdout == "False\n"


def test_live_output_is_one_output_and_its_last_drawing_stays() -> None:
    notebook, drawings, second = FakeNotebook(), iter(["first", "second", "last"]), threading.Event()

    def draw() -> dict[str, str]:
        drawing = next(drawings, "last")
        if notebook.n_published == 1:
            second.set()
        return {"text/plain": drawing}

    live = LiveOutput(Notebook(notebook), draw)
    live.start()
    assert notebook.outputs == [{"text/plain": "first"}]
    assert second.wait(60)
    live.stop()
    assert notebook.outputs == [{"text/plain": "last"}]


def test_output_that_is_the_same_is_not_sent_again_and_one_of_nothing_never() -> None:
    notebook = FakeNotebook()
    same = LiveOutput(Notebook(notebook), lambda: {"text/plain": "same"})
    same.start()
    same.stop()
    empty = LiveOutput(Notebook(notebook), lambda: None)
    empty.start()
    empty.stop()
    assert (notebook.n_published, len(notebook.outputs)) == (1, 1)
