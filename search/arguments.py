"""What may a Python caller pass to `run_study` and `open_objective` beside the options?

Anything else is refused in one line before the run begins: later it would end a run of hours at its first use, or
never be noticed.
"""

from __future__ import annotations

import inspect
import threading
from typing import cast

from fmnist.data.source import DataSource
from fmnist.errors import UserError
from fmnist.values import require_instance, shown, to_items
from search.callbacks.base import Callback
from search.callbacks.reporter import Reporter
from search.config import StudyConfig

EVENT_METHODS = ("is_set", "set", "wait")


def require_config(config: object) -> StudyConfig:
    """Return the study's options. Raises UserError for anything else, such as a dictionary of them."""
    return require_instance(
        StudyConfig, config, "config", "a StudyConfig", 'pass StudyConfig(study="NAME", dataset="NAME or path")'
    )


def require_source(source: object) -> DataSource:
    """Return the images. Raises UserError for anything else, such as an array."""
    return require_instance(
        DataSource, source, "source", "a DataSource", "pass what fmnist.data.arrays.memory.memory_source returns"
    )


def require_reporter(terminal: object) -> Reporter:
    """Return what shows the run; None: nothing does. Raises UserError for anything else."""
    if terminal is None:
        return Reporter()
    return require_instance(Reporter, terminal, "terminal", "a Terminal or None", "pass terminal=Terminal()")


def require_stop(stop: object) -> threading.Event:
    """Return the wish to stop; None: a new one, which nobody sets. Raises UserError for what is no event.

    Events of `multiprocessing` are events too. Those of `asyncio` are none: their `wait` waits for nothing here.
    """
    if stop is None:
        return threading.Event()
    methods = [getattr(stop, name, None) for name in EVENT_METHODS]
    is_event = not isinstance(stop, type) and all(callable(method) for method in methods)
    if not is_event or any(inspect.iscoroutinefunction(method) for method in methods):
        raise UserError(
            f"stop must be a threading.Event or None, but got {shown(stop)}; pass stop=threading.Event(), and set it "
            "from another thread to end the run"
        )
    return cast(threading.Event, stop)


def require_callbacks(callbacks: object) -> tuple[Callback, ...]:
    """Return the callbacks as a tuple. Raises UserError for what is no collection of them, such as a single one."""
    if isinstance(callbacks, Callback):
        raise UserError(
            f"callbacks must be a list of Callback instances, but got one {type(callbacks).__name__}; pass it as "
            "callbacks=[...]"
        )
    try:
        items = to_items(callbacks)
    except ValueError:
        raise UserError(
            f"callbacks must be a list of Callback instances, but got {shown(callbacks)}; leave it out for none"
        ) from None
    return tuple(require_callback(item, "each of callbacks") for item in items)


def require_callback(callback: object, name: str) -> Callback:
    """Return the callback. Raises UserError for anything else, such as a class of callbacks.

    name: of the argument, for the message.
    """
    if isinstance(callback, type) and issubclass(callback, Callback):
        raise UserError(
            f"{name} must be a Callback instance, but got {shown(callback)}; make one: {callback.__name__}()"
        )
    remedy = "derive its class from search.Callback"
    if isinstance(callback, list | tuple):
        remedy = "pass one, which may call others"
    return require_instance(Callback, callback, name, "a Callback instance", remedy)
