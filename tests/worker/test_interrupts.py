"""Ctrl-C: what a block does at it, what comes out, and what is as it was afterwards."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from search.worker.interrupts import Interruptible, Stop, TrainingsUnderWay, ending_cleanly, holding_interrupts
from search.worker.tasks import Interrupted


@pytest.fixture(autouse=True)
def handlers_are_left_as_they_were() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    after = [signal.getsignal(number) for number in numbers]
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    assert after == before


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_stops_the_block_and_is_raised_at_its_end() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt) as caught, holding_interrupts() as stop:
        ctrl_c()
        reached.append(stop.is_set())
        ctrl_c()  # a second one, in the clean-up
        reached.append("end")
        raise Interrupted
    assert reached == [True, "end"]
    assert caught.value.__suppress_context__  # a notebook shows no trace of the inside


def test_ctrl_c_that_comes_too_late_to_stop_anything_is_raised_nonetheless() -> None:
    with pytest.raises(KeyboardInterrupt), holding_interrupts():
        ctrl_c()


def test_bug_that_shows_while_a_run_stops_comes_out_in_place_of_keyboard_interrupt() -> None:
    with pytest.raises(ZeroDivisionError), holding_interrupts():
        ctrl_c()
        raise ZeroDivisionError


def test_ctrl_c_acts_at_once_when_the_block_does_not_stop() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), holding_interrupts(patience=-1.0):
        ctrl_c()
        reached.append("first")
        ctrl_c()
        reached.append("second")
    assert reached == ["first"]


def test_ctrl_c_stops_the_block_in_a_coroutine_though_asyncio_only_asks_that_to_end() -> None:
    reached = []

    async def run() -> None:
        with holding_interrupts() as stop:
            ctrl_c()
            reached.append(stop.is_set())
            raise Interrupted

    async def caught() -> None:
        try:
            await run()
        except KeyboardInterrupt:
            reached.append("caught")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run())
    with pytest.raises(KeyboardInterrupt):  # as asyncio knows of it
        asyncio.run(caught())
    assert reached == [True, True, "caught"]


def test_coroutine_that_was_asked_to_end_before_the_block_may_run_it() -> None:
    stopped = []

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with holding_interrupts() as stop:
            signal.raise_signal(signal.SIGUSR1)
            stopped.append(stop.is_set())

    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(run())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert stopped == [False]


def test_trainings_in_a_coroutine_end_at_ctrl_c_at_once() -> None:
    async def run() -> None:
        under_way = TrainingsUnderWay()
        with under_way.ending_at_interrupts():
            ctrl_c()
            raise AssertionError("Ctrl-C was not raised")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run())


class OwnError(Exception):
    pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("error", [OwnError("of the handler"), SystemExit("of the handler")])
def test_own_handler_is_called_and_what_it_raises_comes_out(number: signal.Signals, error: BaseException) -> None:
    calls = []

    def own(number: int, frame: object) -> None:
        calls.append(number)
        raise error

    before = signal.signal(number, own)
    try:
        with pytest.raises(type(error), match="of the handler"), holding_interrupts() as stop:
            signal.raise_signal(number)
            assert stop.is_set()
            raise Interrupted
        assert calls == [number]
        assert signal.getsignal(number) is own
    finally:
        signal.signal(number, before)


def test_own_handler_that_raises_nothing_stops_nothing() -> None:
    calls: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    try:
        with holding_interrupts() as stop:
            ctrl_c()
            assert calls == [signal.SIGINT] and not stop.is_set()
    finally:
        signal.signal(signal.SIGINT, before)


def test_handler_that_is_set_inside_the_block_stays() -> None:
    def newer(number: int, frame: object) -> None:
        pass

    before = signal.getsignal(signal.SIGINT)
    with holding_interrupts():
        signal.signal(signal.SIGINT, newer)
    assert signal.signal(signal.SIGINT, before) is newer


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
def test_signal_that_no_function_handles_is_left_alone(before: signal.Handlers) -> None:
    own = signal.signal(signal.SIGINT, before)
    try:
        with holding_interrupts():
            assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, own)


def in_a_thread(function: Any) -> list[Any]:
    """What the function returns, or raises, in another thread."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(type(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return outcome


def test_other_threads_leave_signals_alone_and_stop_by_the_callers_event() -> None:
    before, outer = signal.getsignal(signal.SIGINT), threading.Event()

    def run() -> bool:
        with holding_interrupts(outer) as stop:
            is_the_same = signal.getsignal(signal.SIGINT) is before
            outer.set()
            with Interruptible(stop):
                return is_the_same

    assert in_a_thread(run) == [Interrupted]


def test_events_of_the_caller_stay_as_they_are() -> None:
    outer = threading.Event()
    with pytest.raises(KeyboardInterrupt), holding_interrupts(outer):
        ctrl_c()
    assert not outer.is_set()


def test_waiting_for_a_stop_ends_with_it_or_with_the_time() -> None:
    outer = threading.Event()
    stop = Stop(outer)
    assert not stop.wait(0.01)
    threading.Timer(0.05, outer.set).start()
    assert stop.wait(30) and stop.wait()


def test_block_that_only_reads_ends_at_once_but_not_its_clean_up() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), holding_interrupts() as stop:
        try:
            with Interruptible(stop):
                ctrl_c()
                reached.append("reading")
        finally:
            ctrl_c()
            reached.append("clean-up")
    assert reached == ["clean-up"]


def test_block_that_only_reads_does_not_begin_after_ctrl_c() -> None:
    with pytest.raises(KeyboardInterrupt), holding_interrupts() as stop:
        ctrl_c()
        with Interruptible(stop):
            pytest.fail("it has begun")


def test_stop_that_a_block_did_not_see_ends_it_at_its_end() -> None:
    outer = threading.Event()
    with pytest.raises(Interrupted), holding_interrupts(outer) as stop, Interruptible(stop):
        outer.set()


def test_ctrl_c_after_a_block_that_only_reads_is_held_back_again() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), holding_interrupts() as stop:
        with Interruptible(stop):
            pass
        ctrl_c()
        reached.append("after it")
    assert reached == ["after it"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("only_reads", [True, False])
def test_command_is_asked_to_stop_by_each_signal(
    number: signal.Signals, only_reads: bool, request: pytest.FixtureRequest
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run under nohup
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, before))
    stop = Stop()
    with (
        pytest.raises(Interrupted),
        ending_cleanly(stop),
        holding_interrupts(stop) as asked,
    ):  # as `run_study` is called
        if only_reads:
            with Interruptible(asked):
                signal.raise_signal(number)
                pytest.fail("it goes on reading")
        signal.raise_signal(number)
        assert stop.is_set() and asked.is_set()
        raise Interrupted


def test_command_under_nohup_does_not_stop_when_its_terminal_is_closed() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with ending_cleanly(stop):
            signal.raise_signal(signal.SIGHUP)
        assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_second_ctrl_c_does_not_break_a_commands_clean_up() -> None:
    with ending_cleanly(Stop()):
        ctrl_c()
        ctrl_c()


def test_second_sigterm_or_a_later_ctrl_c_acts_as_before_the_command() -> None:
    calls: list[int] = []
    before = [signal.signal(n, lambda number, frame: calls.append(number)) for n in (signal.SIGTERM, signal.SIGINT)]
    try:
        with ending_cleanly(Stop()):
            signal.raise_signal(signal.SIGTERM)
            assert calls == []
            signal.raise_signal(signal.SIGTERM)
            assert calls == [signal.SIGTERM]
        with ending_cleanly(Stop(), patience=-1.0):
            ctrl_c()
            ctrl_c()
        assert calls == [signal.SIGTERM, signal.SIGINT]
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_trainings_under_way_end_at_ctrl_c_and_later_ones_run() -> None:
    stop = TrainingsUnderWay()
    with stop.ending_at_interrupts():
        with pytest.raises(KeyboardInterrupt), stop.training():
            with pytest.raises(KeyboardInterrupt):
                ctrl_c()
            assert stop.is_set()
            raise Interrupted
        with stop.training():
            assert not stop.is_set()
    with pytest.raises(Interrupted), stop.training():
        pytest.fail("the images are gone")


def test_thread_that_was_about_to_begin_a_training_is_told_once() -> None:
    stop, may_begin = TrainingsUnderWay(), threading.Event()
    outcomes: list[str] = []

    def loop() -> None:
        may_begin.wait()
        for _ in range(2):
            try:
                with stop.training():
                    outcomes.append("trained")
            except KeyboardInterrupt:
                outcomes.append("told")

    with stop.ending_at_interrupts():
        thread = threading.Thread(target=loop)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()
        may_begin.set()
        thread.join()
    assert outcomes == ["told", "trained"]
