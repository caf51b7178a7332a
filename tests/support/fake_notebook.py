"""A notebook's kernel that keeps what is shown, in place of IPython's."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest


@dataclass
class FakeNotebook:
    """What a cell shows: its outputs in order, each as it is now."""

    outputs: list[dict[str, Any]] = field(default_factory=list)
    n_published: int = 0
    _places: dict[str, int] = field(default_factory=dict)

    def publish(self, data: Any, metadata: Any, *, transient: Any = None, update: bool = False) -> None:
        """As `IPython.core.displaypub.DisplayPublisher` has it."""
        self.n_published += 1
        name = (transient or {}).get("display_id")
        if update:
            self.outputs[self._places[name]] = data
            return
        if name is not None:
            assert name not in self._places, "an output appears once, and is updated then"
            self._places[name] = len(self.outputs)
        self.outputs.append(data)

    @property
    def html(self) -> str:
        """That of the last output."""
        return self.outputs[-1]["text/html"]

    @property
    def words(self) -> str:
        """The last output's words, without its HTML."""
        return " ".join(re.sub("<[^>]*>", " ", self.html).split())

    @property
    def text(self) -> str:
        """The last output as a terminal would show it."""
        return self.outputs[-1]["text/plain"]


def notebook_in(monkeypatch: pytest.MonkeyPatch) -> FakeNotebook:
    """Let this process be the kernel of a notebook until the test has ended."""
    notebook = FakeNotebook()
    shell = SimpleNamespace(kernel=object(), display_pub=notebook)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(version_info=(9, 0), get_ipython=lambda: shell))
    return notebook
