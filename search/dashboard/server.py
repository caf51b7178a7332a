"""Optuna's dashboard of a study, running or finished, with its notes and charts, on this machine alone.

The dashboard has no login and can change and delete studies. So it listens on 127.0.0.1 only, and answers no page of
another site that a browser on this machine may have open.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
import optuna_dashboard

from fmnist.errors import UserError
from search.dashboard.artifacts import DrawnArtifacts
from search.dashboard.options import HOST, USUAL_PORT, DashboardOptions
from search.dashboard.publish import mark_finished
from search.records.files import StudyFiles
from search.records.models import DataRecord
from search.study.locks import hold
from search.study.optuna_private import study_id_of, uncached_storage_of
from search.study.storage.opening import StudyStorage
from search.study.storage.supervisor import refuse_held
from search.study.study import open_by_name, open_finished

OWN_HOSTS = ("127.0.0.1", "localhost")  # as a browser may call this machine

# Attributes of a trial stay within the page, a note's tables have gaps, and pictures are large enough to read.
STYLE = b"""<style>
  p.MuiTypography-body1 { white-space: normal !important; overflow-wrap: anywhere }
  td:not([class]) + td, th:not([class]) + th { padding-left: 1.5em }
  .MuiCard-root:has(> div > img[src^="/artifacts/"]) { width: min(540px, 100%) }
  .MuiCard-root > div:has(> img[src^="/artifacts/"]) { height: auto !important; min-height: 150px }
  .MuiCard-root img[src^="/artifacts/"] { height: auto !important; max-height: 560px }
</style>"""

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread of its own."""

    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    """Logs no request: a page asks every few seconds."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


def serve(options: DashboardOptions, stop: threading.Event) -> None:
    """Serve the dashboard until `stop` is set. Prints its address first.

    It is the whole of a process: Optuna's log is silenced for good.

    Raises:
        UserError: the study's trials are not there, or the port is taken.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = open_study(options)
    with listen(options.port, guarded(styled(dashboard_app(options, study)))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://{HOST}:{server.server_port}/dashboard/studies/{study_id_of(study)}"
        print(f"dashboard of {options.name} (Ctrl-C ends it): {address}", flush=True)
        stop.wait()
        server.shutdown()


def open_study(options: DashboardOptions) -> optuna.Study:
    """Open the study to show. The note of one whose run was killed is corrected: it says that the run is at work."""
    files = options.files
    if options.storage is not None and not os.path.isfile(files.config):
        return open_by_name(options.name, options.storage)
    study = open_finished(files, options.storage)
    if not options.until_input_ends:  # else it stands beside a run
        correct_note(files, study)
    return study


def correct_note(files: StudyFiles, study: optuna.Study) -> None:
    """Mark a study as finished whose note says that a run is at work, if none is."""
    if files.lock.exists() and os.access(files.root, os.W_OK):
        try:
            with hold(files):
                storage = uncached_storage_of(study)
                if files.is_shared and isinstance(storage, StudyStorage):
                    refuse_held(storage, study.study_name)
                mark_finished(study, files)
        except UserError:  # a run is at work
            return


def dashboard_app(options: DashboardOptions, study: optuna.Study) -> WsgiApp:
    """Optuna's dashboard as an application, over the study's storage and artifacts."""
    files = options.files
    if files.root.is_dir() and os.access(files.root, os.W_OK):
        files.artifacts.mkdir(exist_ok=True)
    class_names = None
    if files.has(files.data):
        class_names = files.read_json(DataRecord, files.data).class_names
    storage = uncached_storage_of(study)
    return optuna_dashboard.wsgi(storage, artifact_store=DrawnArtifacts(files.artifacts, storage, class_names))


def listen(port: int | None, application: WsgiApp) -> WSGIServer:
    """Bind a server of the application to a port of this machine, which no other machine reaches.

    Args:
        port: None: the usual one, or any that is free if that is taken; 0: any that is free.
        application: answers the requests.

    Raises:
        UserError: the port is taken, or may not be used.
    """
    wanted = USUAL_PORT if port is None else port
    try:
        return make_server(HOST, wanted, application, server_class=Server, handler_class=QuietHandler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        if port is None:
            return listen(0, application)
        raise UserError(
            f"--port must be one that is free for you, but {port} is not ({os.strerror(error.errno)}); choose another, "
            f"or leave it out"
        ) from None


def guarded(application: WsgiApp) -> WsgiApp:
    """Wrap an application so that it answers only browsers on this machine that ask from its own pages.

    Another site's page could send requests here too, under this address or, by its name server, under its own.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
        is_own = urlsplit(f"//{host}").hostname in OWN_HOSTS and origin in (None, f"http://{host}")
        if not is_own:
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"The dashboard answers its own pages on this machine only.\n"]
        environ.setdefault("HTTP_ACCEPT_ENCODING", "")  # it fails on its own files where that is missing
        return application(environ, start_response)

    return answer


def styled(application: WsgiApp) -> WsgiApp:
    """Wrap an application so that STYLE is added to the head of its page."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith("/dashboard"):
            return application(environ, start_response)
        environ.pop("HTTP_IF_MODIFIED_SINCE", None)  # the page is not the file that has a date
        answered: list[tuple[str, list[tuple[str, str]]]] = []
        parts = application(environ, lambda status, headers, *_: answered.append((status, headers)))
        page = b"".join(parts).replace(b"</head>", STYLE + b"</head>")
        status, headers = answered[0]
        kept = [(name, value) for name, value in headers if name.lower() not in ("content-length", "last-modified")]
        start_response(status, [*kept, ("Content-Length", str(len(page)))])
        return [page]

    return answer
