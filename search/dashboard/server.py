"""python -m search.dashboard NAME: Optuna's dashboard of a study, running or finished, with its notes and pictures.

The dashboard has no login and can change and delete studies. So it listens on 127.0.0.1 only, and answers no page of
another site that a browser on this machine may have open.

Only what the options need is imported before they are read, so that --help and a bad option answer at once.
"""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from fmnist.errors import UserError
from fmnist.options import option, options
from search.cli import check_study_name, without_password
from search.records.files import StudyFiles, require_study
from search.records.io import read_json
from search.records.models import DataRecord

if TYPE_CHECKING:
    import optuna

HOST = "127.0.0.1"
USUAL_PORT = 8080
OWN_HOSTS = ("127.0.0.1", "localhost")  # as a browser may call this machine
SECONDS_TO_END = 5.0
UNTIL_INPUT_ENDS = "--until-input-ends"

# Attributes of a trial stay within the page, a note's tables have gaps, and pictures are large enough to read.
STYLE = b"""<style>
  p.MuiTypography-body1 { white-space: normal !important; overflow-wrap: anywhere }
  td:not([class]) + td, th:not([class]) + th { padding-left: 1.5em }
  .MuiCard-root:has(> div > img[src^="/artifacts/"]) { width: min(540px, 100%) }
  .MuiCard-root > div:has(> img[src^="/artifacts/"]) { height: auto !important; min-height: 150px }
  .MuiCard-root img[src^="/artifacts/"] { height: auto !important; max-height: 560px }
</style>"""

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@options
class DashboardOptions:
    """Which study to show, and where. Raises UserError for a study that is not there."""

    name: str = option("the study", positional=True, metavar="NAME")
    studies_dir: Path = option("where studies live", default=Path("studies"), metavar="DIR")
    port: int | None = option(
        f"of {HOST}",
        default=None,
        ge=0,
        le=65535,
        default_shown=f"{USUAL_PORT}, or a free one if that is taken",
        remedy="0 takes any that is free",
        metavar="N",
    )
    storage: str | None = option(
        "Optuna's storage with the trials; then the study needs no folder here",
        default=None,
        default_shown="as it was made with",
        metavar="URL",
    )
    until_input_ends: bool = option("end when standard input ends (for scripts)", default=False)

    def __post_init__(self) -> None:
        check_study_name(self.name, f"name a study's folder in {self.studies_dir}")
        if self.storage is None:
            require_study(self.studies_dir, self.name, "the dashboard")

    @property
    def files(self) -> StudyFiles:
        """The study's folder, which may be missing where a storage is given."""
        return StudyFiles(self.studies_dir / self.name)


# -------------------------------------------------------------------------------------------------------------- server


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """A page asks every few seconds."""


def serve(options: DashboardOptions, stop: threading.Event) -> None:
    """Until `stop` is set. Says where first."""
    from search.study.optuna_private import study_id_of

    study = _open(options)
    with _listen(options.port, guarded(styled(_application(options, study)))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://{HOST}:{server.server_port}/dashboard/studies/{study_id_of(study)}"
        print(f"dashboard of {options.name} (Ctrl-C ends it): {address}", flush=True)
        stop.wait()
        server.shutdown()


def _open(options: DashboardOptions) -> optuna.Study:
    import optuna

    from search.study.study import open_by_name, open_finished

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not os.path.isfile(options.files.config):
        return open_by_name(options.name, options.storage)
    study = open_finished(options.files, options.storage)
    if not options.until_input_ends:
        _tell_of_killed_run(options.files, study)
    return study


def _tell_of_killed_run(files: StudyFiles, study: optuna.Study) -> None:
    """The note of a study whose run was killed still says that it runs."""
    from search.dashboard.publish import mark_finished
    from search.study.locks import hold

    if files.lock.exists() and os.access(files.root, os.W_OK):
        try:
            with hold(files):
                mark_finished(study, files)
        except UserError:  # a run is at work
            return


def _application(options: DashboardOptions, study: optuna.Study) -> WsgiApp:
    import optuna_dashboard

    from search.dashboard.artifacts import DrawnArtifacts
    from search.study.optuna_private import uncached_storage_of

    files = options.files
    if files.root.is_dir() and os.access(files.root, os.W_OK):
        files.artifacts.mkdir(exist_ok=True)
    names = read_json(DataRecord, files.data).class_names if files.data.exists() else None
    storage = uncached_storage_of(study)
    return optuna_dashboard.wsgi(storage, artifact_store=DrawnArtifacts(files.artifacts, storage, names))


def _listen(port: int | None, application: WsgiApp) -> WSGIServer:
    """Raises UserError where the port is taken."""
    wanted = USUAL_PORT if port is None else port
    try:
        return make_server(HOST, wanted, application, server_class=_Server, handler_class=_QuietHandler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        if port is None:
            return _listen(0, application)
        raise UserError(
            f"--port must be one that is free for you, but {port} is not ({os.strerror(error.errno)}); choose another, "
            f"or leave it out"
        ) from None


def guarded(application: WsgiApp) -> WsgiApp:
    """The same, for browsers on this machine that have asked from the dashboard's own pages: another site's page could
    send requests here too, under this address or, by its name server, under its own."""

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
    """The same, its page with STYLE."""

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


# -------------------------------------------------------------------------------------------------------- beside a run


def dashboard_command(files: StudyFiles, storage: str | None) -> str:
    """What a person types to see the study. storage: URL that it was made with, if not its folder's; one with a
    password is not stored with the study, so it has to be named."""
    words = ["python", "-m", "search.dashboard", files.root.name]
    if files.root.parent != Path("studies"):
        words += ["--studies-dir", str(files.root.parent)]
    if storage is not None and (url := without_password(storage))[1] is not None:
        words += ["--storage", url[0]]
    return shlex.join(words)


@contextmanager
def beside_run(files: StudyFiles, storage: str | None, say: Callable[[str], None]) -> Iterator[None]:
    """The dashboard of a study in a process of its own while the block runs, on a free port that is said. It ends with
    this process, however that ends; that it ends before, or does not start, is said once, and nothing else.

    storage: URL that the study was made with; None: its folder's.
    """
    url, password = (None, None) if storage is None else without_password(storage)
    command = [sys.executable, "-m", "search.dashboard", files.root.name, "--studies-dir", str(files.root.parent)]
    command += ["--port", "0", UNTIL_INPUT_ENDS, *(["--storage", url] if url else [])]
    environment = os.environ | ({"PGPASSWORD": password} if password is not None else {})
    with files.dashboard_log.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the run, which ends it
        )
    is_over = threading.Event()
    listener = threading.Thread(target=_hear, args=(process, is_over, say, files.dashboard_log), daemon=True)
    listener.start()
    try:
        yield
    finally:
        is_over.set()
        process.stdin.close()
        process.terminate()
        try:
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listener.join()
        process.stdout.close()


def _hear(process: subprocess.Popen[bytes], is_over: threading.Event, say: Callable[[str], None], log: Path) -> None:
    """Pass on where the dashboard is, and that it has ended too early."""
    for line in process.stdout:
        say(f"dashboard: {line.decode().split()[-1]}")
    if not is_over.is_set():
        code = process.wait()
        lines = log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
        say(f"the dashboard has ended ({lines[-1]}; see {log}); the search goes on without it")
