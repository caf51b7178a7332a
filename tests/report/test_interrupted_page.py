"""A report that Ctrl-C meets while it is drawn."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from search.report.page import report_study
from search.study.study import open_finished
from search.worker.interrupts import Interruptible, Stop
from search.worker.tasks import Interrupted
from tests.support.made_study import make_study
from tests.support.made_trials import Made, store_trials


@pytest.mark.renders
def test_report_that_is_interrupted_while_it_is_drawn_leaves_the_earlier_one(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made", Made(n_trials=4))
    store_trials(files, trials)
    study = open_finished(files)
    files.report_html.write_text("the earlier one")
    stop, drawn_in = Stop(), ExitStack()
    drawn_in.enter_context(Interruptible(stop))
    drawn_in.callback(stop.set)  # when all is drawn, before anything is written
    with pytest.raises(Interrupted):
        report_study(files, study, drawn_in)
    assert files.report_html.read_text() == "the earlier one"
    stop.clear()
    report_study(files, study, Interruptible(stop))
    assert "<html" in files.report_html.read_text()
