"""Does this process run the cells of a notebook, and how is something shown there?

IPython is never imported for it: where it isn't loaded, no notebook runs. Its terminal, which has no kernel, is a
terminal.
"""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Bundle = Mapping[str, str | bytes]  # the same content in several forms, by MIME type; a notebook shows the richest
SECONDS_BETWEEN = 1.0  # drawings of a live output: a notebook's server drops what comes faster than it can take


@dataclass(frozen=True)
class Notebook:
    """The notebook that this process is the kernel of."""

    publisher: Any  # IPython's DisplayPublisher

    def show(self, bundle: Bundle, metadata: Mapping[str, Any] | None = None) -> None:
        """Show something below the cell that runs."""
        self.publisher.publish(dict(bundle), dict(metadata or {}))


class LiveOutput:
    """One output of a notebook's cell that is drawn again in place, once a second and at its end.

    A thread of its own draws: a signal, such as the stop button's, interrupts the main thread only, wherever it is.

    Args:
        notebook: where the cell runs.
        draw: returns what is to be shown now; None while that is nothing.
    """

    def __init__(self, notebook: Notebook, draw: Callable[[], Bundle | None]) -> None:
        self._notebook = notebook
        self._draw = draw
        self._name = uuid.uuid4().hex
        self._shown: Bundle | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._redraw, name="notebook output", daemon=True)

    def start(self) -> None:
        """Show the output, and draw it again from now on."""
        self._update()
        self._thread.start()

    def stop(self) -> None:
        """Draw it for the last time; it stays in the notebook."""
        self._is_over.set()
        self._thread.join()
        self._update()

    def _redraw(self) -> None:
        while not self._is_over.wait(SECONDS_BETWEEN):
            self._update()

    def _update(self) -> None:
        bundle = self._draw()
        if bundle is None or bundle == self._shown:
            return
        name = {"display_id": self._name}
        self._notebook.publisher.publish(dict(bundle), {}, transient=name, update=self._shown is not None)
        self._shown = bundle


def find_notebook() -> Notebook | None:
    """Return the notebook that this process is the kernel of; None where it is none."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell: Any = None if get_shell is None else get_shell()
    if getattr(shell, "kernel", None) is None:
        return None
    return Notebook(shell.display_pub)
