"""A notebook's kernel: cells are run in it, and what each shows is kept as a notebook would keep it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0  # seconds until a cell says something


@dataclass
class Cell:
    """What running a cell came to."""

    outputs: list[dict[str, Any]] = field(default_factory=list)  # by MIME type; of an error, its name as text
    printed: str = ""
    complaints: str = ""  # on standard error
    error: str | None = None  # the class of what it raised

    @property
    def text(self) -> str:
        """All outputs as text."""
        return "\n".join(output["text/plain"] for output in self.outputs)


class Kernel:
    """A kernel that has been started."""

    def __init__(self, manager: Any, client: Any) -> None:
        self._manager = manager
        self._client = client
        self.interrupt: Callable[[], None] = manager.interrupt_kernel

    def run(self, code: str, *, when: str | None = None, act: Callable[[], None] = lambda: None) -> Cell:
        """Run a cell to its end.

        Args:
            code: of the cell.
            when: a pattern; the first time that an output or what is printed has it, `act` is called.
            act: as the stop button, say.
        """
        message = self._client.execute(code, stop_on_error=False)  # else the kernel drops what comes soon after
        cell, places, has_acted = Cell(), {}, when is None
        while True:
            got = self._client.get_iopub_msg(timeout=PATIENCE)
            kind, content = got["msg_type"], got["content"]
            if got["parent_header"].get("msg_id") != message:  # of the cell before
                continue
            if kind == "status" and content["execution_state"] == "idle":
                break
            keep(cell, places, kind, content)
            if not has_acted and re.search(when or "", f"{cell.text}\n{cell.printed}"):
                has_acted = True
                act()
        assert has_acted, f"{when} was not shown: {cell}"
        return cell


def keep(cell: Cell, places: dict[str, int], kind: str, content: dict[str, Any]) -> None:
    """Add to the cell what a message of its kernel says. places: of outputs that may change, by their names."""
    name = content.get("transient", {}).get("display_id")
    if kind == "stream" and content["name"] == "stderr":
        cell.complaints += content["text"]
    elif kind == "stream":
        cell.printed += content["text"]
    elif kind == "error":
        cell.error = content["ename"]
    elif kind == "update_display_data":
        cell.outputs[places[name]] = content["data"]
    elif kind in ("display_data", "execute_result"):
        if name is not None:
            places[name] = len(cell.outputs)
        cell.outputs.append(content["data"])


@contextmanager
def kernel_in(folder: Path) -> Iterator[Kernel]:
    """Start a kernel whose cells run in that folder. Skips where none is installed."""
    pytest.importorskip("ipykernel", reason="needs the extra test")
    manager_of = pytest.importorskip("jupyter_client.manager", reason="needs the extra test")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    manager, client = manager_of.start_new_kernel(
        startup_timeout=PATIENCE, kernel_name="python3", cwd=str(folder), env=environment
    )
    try:
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
