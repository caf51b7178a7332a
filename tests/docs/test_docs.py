"""Every command, snippet and link of the README, the contributors' guide and the pages in docs is run or checked.

What trains is marked slow. A command that is neither run below nor of a kind that is checked fails.
"""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import search
from fmnist.data.named.catalog import CATALOG
from fmnist.reading import DATASETS, MIRRORED_DATASETS
from tests.support.kernel import Kernel, kernel_in
from tests.support.made_forms import FORMS
from tests.support.postgres import Server, programs
from tests.support.spaces import DIGITS_TEXT, QUICK
from tests.support.wider import WIDER_TEXT, replaced

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MOST_WORDS = 700  # of the README
SMALL = ["--trials", "2", "--refit-seeds", "1"]  # given last, they win
QUICK_SPACE = ["--space", "quick.toml"]  # of short trainings: what they learn is no test's here
DIGITS = ["--dataset", "digits", *QUICK_SPACE, *SMALL]
SHORT = {"first_rung_images = 4_000": "first_rung_images = 1_000", "search_images = 16_000": "search_images = 1_000"}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """The lines of all shell blocks, without comments, programs without their folder; each once, in their order.

    A line that ends with a backslash goes on in the next.
    """
    texts = [re.sub(r"\\\n\s*", "", block) for page in PAGES for block in blocks(page, "sh")]
    lines = [line for text in texts for line in text.splitlines()]
    found = [re.sub(r"\s+#.*", "", line).strip().removeprefix(".venv/bin/") for line in lines]
    return list(dict.fromkeys(line for line in found if line))


# --- commands that are run, in a folder that has what they name

# Makes of a command's words those that are run: what would take an hour is run in small.
Run = Callable[[list[str]], list[str]]


def as_it_stands(words: list[str]) -> list[str]:
    return words


def on_digits(words: list[str]) -> list[str]:
    return [*words, *DIGITS] if "--space" not in words else [*words, "--dataset", "digits", *SMALL]


def on_digits_untimed(words: list[str]) -> list[str]:
    """Without its timeout, which a run uses up, however little there is to learn."""
    at = words.index("--timeout")
    return on_digits([*words[:at], *words[at + 2 :]])


def searching_digits(words: list[str]) -> list[str]:
    """Where the options matter to the search alone: what follows it is run by other commands."""
    return [*on_digits(words), "--search-only"]


def in_short(words: list[str]) -> list[str]:
    """For images whose full trainings take longer than the digits'."""
    return [*words, *SMALL, "--timeout", "20"]


def named(study: str) -> Run:
    return lambda words: [*words, "--study", study, *DIGITS]


def before_growing(words: list[str]) -> list[str]:
    return [*words, "--dataset", "digits", "--space", "narrower.toml", "--trials", "2"]


def with_files(words: list[str]) -> list[str]:
    places = {
        "MODEL.keras": "studies/fashion-mnist/best.keras",
        **dict.fromkeys(("FILE.npz", "TRAIN.npz"), "images.npz"),
        "DIR": "exports",
        "FILE.tflite": "exports/best.tflite",
        "ssh HOST python3 -": f"{sys.executable} -",
    }
    return [places.get(word, word) for word in words]


RUN, PREDICT = "python -m search.run", "python -m fmnist.predict studies/fashion-mnist/best.keras"
FRONT = f"{RUN} --front --study sizes"
ON_TRACKERS = f"{RUN} --tensorboard runs/tensorboard --mlflow runs/mlflow"
RUNS: dict[str, Run] = {
    f"{RUN} --dataset digits --trials 5 --study try": on_digits,
    f"{RUN} --timeout 2700": on_digits_untimed,
    f"{RUN} --dataset mnist": on_digits,
    f"{RUN} --trials 100 --timeout 2700": on_digits_untimed,
    f"{RUN} --trials 100 --check": on_digits,
    f"{RUN} --trials 100 --dashboard": lambda words: [*named("another")(words), "--seed", "1"],
    ON_TRACKERS: lambda words: [*named("tracked")(words), "--search-only"],
    f"{RUN} --trials 100 --export onnx,litert": on_digits,
    f"{RUN} --dataset shoes --image-size 32 --flip": in_short,
    f"{RUN} --space my-space.toml --study narrow": searching_digits,
    f"{RUN} --max-parameters 200000 --study small": searching_digits,
    f"{RUN} --max-bytes 96kB --study pocket": searching_digits,
    FRONT: on_digits,
    'python -m search.report sizes --pick "bytes<96kB, ms<2"': as_it_stands,
    'python -m search.report sizes --pick "ms<1" --to pocket': lambda words: [*words[:-3], "ms<1000", *words[-2:]],
    f"{RUN} --start-from fashion-mnist --study second": searching_digits,
    f"{RUN} --trials 20 --study grown --search-only": on_digits,
    f"{RUN} --trials 30 --study grown": lambda words: [*searching_digits(words), "--trials", "3"],
    f"{RUN} --trials 60 --study wide --search-only": before_growing,
    f"{RUN} --trials 90 --study wide --space wider.toml --widen": lambda words: [
        *words,
        *("--dataset", "digits", "--trials", "3", "--search-only"),
    ],
    "python -m search.report fashion-mnist": as_it_stands,
    "python -m search.report fashion-mnist another": as_it_stands,
    "python -m search.refit --recipe studies/fashion-mnist/best_recipe.json --out again.keras": as_it_stands,
    "python -m search.refit --recipe studies/fashion-mnist/ensemble_recipe.json --out ensemble.keras": as_it_stands,
    f"{PREDICT} photo.jpg": as_it_stands,
    f"{PREDICT} photo.jpg wardrobe/": as_it_stands,
    f"{PREDICT} wardrobe/ --json --top 5": as_it_stands,
    f"{PREDICT} - < photo.jpg": as_it_stands,
    "python -m fmnist.predict studies/fashion-mnist images.npz": as_it_stands,
    "python -m fmnist.predict studies/fashion-mnist images.npz --labels --json": as_it_stands,
    "python -m fmnist.predict studies/fashion-mnist labelled/ --labels": as_it_stands,
    "python -m fmnist.predict studies/shoes/best.keras photo.jpg": as_it_stands,
    "python -m fmnist.export MODEL.keras --format all --images FILE.npz --calibrate TRAIN.npz --out DIR": with_files,
    "python -m fmnist.measure FILE.tflite": with_files,
    'python -m fmnist.measure FILE.tflite --on "ssh HOST python3 -"': with_files,
    "python -m fmnist.export studies/fashion-mnist/best.keras --publish my-model": as_it_stands,
}
MAKERS = {"another": f"{RUN} --trials 100 --dashboard", "shoes": f"{RUN} --dataset shoes --image-size 32 --flip"}
BROWSED = "python -m search.dashboard fashion-mnist"
ON_A_DATABASE = f"{RUN} --trials 300 --storage postgresql://searcher@db-host/search"
IN_CONTAINERS = (
    f"{RUN} --trials 300 --cluster auto --studies-dir /studies --storage postgresql://searcher@database/search"
)
ON_A_CLUSTER = f"{RUN} --trials 300 --cluster auto"  # run by tests/cluster alone: it needs nodes, which those start

# --- commands that are checked

MODULE = re.compile(r"python -m ((?:search|fmnist)\.\w+)")
MAKE = re.compile(r"make [a-z-]+( [A-Z]+=(\".*\"|\S*))*")
INSTALL = re.compile(r"pip install -c constraints\.txt -e (?:\.|'\.\[([a-z,]+)\]')")
OF_OTHERS = re.compile(r"(tensorboard|mlflow|ray) .*")
COPY = re.compile(r"cp (\S+) (\S+)")
PLAIN = (
    "python3 -m venv .venv",
    ". .venv/bin/activate",
    "export POSTGRES_PASSWORD=... RAY_AUTH_TOKEN=...",
    "docker compose up --build --detach",
    "docker build --tag registry.example/fmnist-search .",
    f"docker compose exec head {IN_CONTAINERS}",
    "export RAY_AUTH_MODE=token",
    "scp ~/.ray/auth_token SECOND:.ray/",
)
CHECKED = (MODULE, MAKE, INSTALL, OF_OTHERS, COPY)


def test_every_command_is_run_or_checked() -> None:
    known = {*RUNS, BROWSED, ON_A_DATABASE, ON_A_CLUSTER, *PLAIN}
    unknown = [line for line in commands() if line not in known]
    of_ours = [line for line in unknown if MODULE.match(line)]
    assert not of_ours, "give these a place in RUNS"
    assert not [line for line in unknown if not any(kind.fullmatch(line) for kind in CHECKED)]
    assert known <= set(commands()), "gone from the pages"


@cache
def help_of(*command: str) -> str:
    told = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return told.stdout


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


@pytest.mark.process
def test_options_in_prose_and_commands_exist() -> None:
    modules = sorted({match.group(1) for line in commands() if (match := MODULE.match(line))})
    assert len(modules) == 7
    ours = {module: options_in(help_of(sys.executable, "-m", module)) for module in modules}
    for line in commands():
        if match := MODULE.match(line):
            assert options_in(line) <= ours[match.group(1)], line
    of_tools = {"--no-deps", "--wheel-dir", "--study-name", "--real", "--seed", "--kills"}  # pip, optuna, the campaign
    of_tools |= {"--num-gpus"}  # ray
    for page in PAGES:
        spans = re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
        unknown = {option for span in spans for option in options_in(span)} - set().union(*ours.values()) - of_tools
        assert not unknown, f"{page.relative_to(ROOT)} names {unknown}"


def test_modules_and_console_scripts_stand_side_by_side() -> None:
    rows = re.findall(
        r"^\| `python -m ([\w.]+)` \| `([\w-]+)` \|", (ROOT / "docs/getting-started.md").read_text(), flags=re.MULTILINE
    )
    assert len(rows) == 7
    scripts = PROJECT.get("scripts", {})
    for module, script in rows:
        assert module in scripts[script]
    assert {script for _, script in rows} == set(scripts)


@pytest.mark.process
def test_what_is_made_is_in_the_makefile() -> None:
    tables = re.findall(r"^\| `(make [a-z-]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    made = [line for line in [*commands(), *tables] if MAKE.fullmatch(line)]
    assert {
        "make try",
        "make search",
        "make check",
        "make test",
        "make test-slow",
        "make test-all",
        "make docs",
    } <= set(made)
    for line in made:
        planned = subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        assert planned.returncode == 0 and ".venv/bin/python -m" in planned.stdout, line
        for word in shlex.split(line):
            assert word.partition("=")[2] in planned.stdout


def test_extras_that_are_to_be_installed_exist() -> None:
    extras = set(PROJECT["optional-dependencies"])
    texts = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    asked = {name for names in re.findall(r"'(?:\.|fmnist-search)\[([a-z,]+)\]'", texts) for name in names.split(",")}
    assert asked and asked <= extras
    table = set(
        re.findall(
            r"`(\w+)`", (ROOT / "docs/getting-started.md").read_text().partition("| extra |")[2].partition("\n\n")[0]
        )
    )
    assert extras <= table


def test_table_of_data_sets_has_every_name_with_what_the_tool_does_with_it() -> None:
    text = (ROOT / "docs/getting-started.md").read_text(encoding="utf-8").partition("## Data sets with a name")[2]
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \| ([\d,]+) \| (.*) \| (yes|no) \| (.*) \|$", text, flags=re.MULTILINE)
    assert [row[0] for row in rows] == list(DATASETS)
    for name, classes, _, pixels, mirrored, files in rows:
        assert (mirrored == "yes") is (name in MIRRORED_DATASETS), name
        if name not in CATALOG:
            continue
        known = CATALOG[name]
        height, width, n_channels = known.image_shape
        assert pixels == f"{height} x {width} {'grey' if n_channels == 1 else 'colour'}", name
        assert ("Keras" in files) is (known.keras is not None), name
        assert str(len(known.class_names)) in classes or known.class_names[-1] in classes, name


def test_table_of_forms_has_those_that_are_compared_with_class_folders() -> None:
    text = (ROOT / "docs/own-images.md").read_text(encoding="utf-8").partition("| form | what it contains |\n")[2]
    rows = re.findall(r"^\| (.*?) \| ", text.partition("\n\n")[0], flags=re.MULTILINE)[1:]
    assert [re.sub(r"\[(.*)\]\(.*\)", r"\1", row) for row in rows] == list(FORMS)


def test_files_that_are_copied_and_folders_that_are_named_exist() -> None:
    copied = [match.group(1) for line in commands() if (match := COPY.fullmatch(line))]
    assert copied
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:fmnist|search|tests|docs|studies)/[\w./-]*)`", guide)
    assert len(named) > 30
    assert not [path for path in [*copied, *named, "compose.yaml"] if not (ROOT / path).exists()]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("line", [line for line in commands() if OF_OTHERS.fullmatch(line)])
def test_programs_of_others_have_the_options_that_they_are_given(line: str) -> None:
    program, *words = shlex.split(line)
    pytest.importorskip(program, reason="needs the extra of its name")
    subcommand = [] if words[0].startswith("--") else words[:1]
    helped = help_of(str(Path(sys.executable).with_name(program)), *subcommand)
    assert all(word in helped for word in words if word.startswith("--"))


# --- text


def test_readme_is_a_landing_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= MOST_WORDS


def anchors(page: Path) -> set[str]:
    """As GitHub forms them from headings, and MkDocs too."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_site_and_in_the_readme() -> None:
    site, readme = (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), PAGES[0].read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert f": {name}" in site
        assert name == "index.md" or f"(docs/{name})" in readme


@pytest.mark.process
def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs_autorefs", reason="needs the extra docs")
    pytest.importorskip("material", reason="needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "python-api.html").read_text(encoding="utf-8")
    assert all(f"search.{name}" in reference for name in search.__all__)
    pages = "".join(page.read_text(encoding="utf-8") for page in tmp_path.rglob("*.html"))
    loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(?:https?:)?//', pages)
    assert not loaded, "the site loads nothing from elsewhere"


def test_reference_has_what_the_packages_offer() -> None:
    text = (ROOT / "docs/python-api.md").read_text(encoding="utf-8")
    entries = set(re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE))
    assert {f"search.{name}" for name in search.__all__} <= entries
    for entry in entries:
        module, _, name = entry.rpartition(".")
        assert name in importlib.import_module(module).__all__, entry


# --- snippets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_compiles_and_its_imports_are_there(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(code, str(page), "exec")
        for module, names in re.findall(r"^from ((?:search|fmnist)\S*) import (.+)$", code, flags=re.MULTILINE):
            assert all(hasattr(importlib.import_module(module), name) for name in names.split(", ")), module


def snippet(page: str, word: str) -> str:
    (code,) = (code for code in blocks(ROOT / page, "python") if word in code)
    return code


# --- run, one after the other, in one folder


def in_folder(test: Callable[..., None]) -> Callable[..., None]:
    """Marks of what runs commands; the time of the fixture, a study, is not the first test's."""
    return pytest.mark.slow(pytest.mark.process(pytest.mark.timeout(600, func_only=True)(test)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study, pictures, an archive and class folders, made from the digits, by the names that the pages have."""
    folder = tmp_path_factory.mktemp("docs")
    digits = load_digits()
    images, labels = (digits.images * 15).astype(np.uint8), digits.target
    (folder / "wardrobe").mkdir()
    for path, image in zip(("photo.jpg", "wardrobe/boot.png", "wardrobe/bag.png"), images, strict=False):
        Image.fromarray(image).save(folder / path)
    (folder / "labelled" / "3").mkdir(parents=True)
    Image.fromarray(images[3]).save(folder / "labelled" / "3" / "a.png")
    np.savez(folder / "images.npz", x=images[:50, :, :, None], y=labels[:50])
    for label, name in enumerate(("boot", "sandal", "sneaker")):
        (folder / "shoes" / name).mkdir(parents=True)
        for i, image in enumerate(images[labels == label][:30]):
            Image.fromarray(image).save(folder / "shoes" / name / f"{i}.png")
    for name in ("my-space.toml", QUICK_SPACE[1]):
        shutil.copyfile(QUICK, folder / name)
    for name, text in (("narrower.toml", DIGITS_TEXT), ("wider.toml", WIDER_TEXT)):
        (folder / name).write_text(replaced(text, SHORT), encoding="utf-8")
    finish(run(folder, ["python", "-m", "search.run", "--study", "fashion-mnist", *DIGITS]))
    return folder


def make_what_is_read(folder: Path, line: str) -> None:
    """Run the commands that make the studies of this one's, where the test of those has not run before."""
    for study, maker in MAKERS.items():
        if line != maker and study in re.split("[ /]", line) and not (folder / "studies" / study).exists():
            finish(run(folder, RUNS[maker](shlex.split(maker))))


def run(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """By this Python, with the project on its path, as an installation has it."""
    *words, source = [*words, None] if "<" not in words else [*words[: words.index("<")], words[-1]]
    stdin = subprocess.DEVNULL if source is None else open(folder / source, "rb")  # noqa: SIM115
    return subprocess.run([sys.executable, *words[1:]], cwd=folder, stdin=stdin, capture_output=True, text=True)


def finish(outcome: subprocess.CompletedProcess[str]) -> str:
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


@in_folder
@pytest.mark.parametrize("line", RUNS)
def test_command_of_the_pages_runs(folder: Path, line: str) -> None:
    if line == ON_TRACKERS:
        pytest.importorskip("mlflow", reason="needs the extra mlflow")
    make_what_is_read(folder, line)
    words = shlex.split(line)
    assert finish(run(folder, RUNS[line](words)))


@pytest.fixture(scope="module")
def kernel(folder: Path) -> Iterator[Kernel]:
    """A notebook's, in that folder. What the pages search takes the short trainings there, and as few trials as do."""
    with kernel_in(folder) as kernel:
        yield kernel


def quick(code: str) -> str:
    """The code with short trainings, and a study of its own where it has the name of one that the commands made."""
    code = re.sub(r'study="digits"', 'study="from-python"', code)
    return re.sub(r"trials=\d+", f'trials=2, refit_seeds=1, space="{QUICK_SPACE[1]}"', code)


@in_folder
@pytest.mark.parametrize(
    ("page", "word", "said"),
    [
        ("README.md", "run_study", "best.keras"),
        ("docs/models.md", "keras.saving", ""),
        ("docs/models.md", "fmnist.predict", "photo.jpg"),
        ("docs/python-api.md", "fmnist.predict", "photo.jpg"),
        ("docs/python-api.md", "Terminal())", "test accuracy"),
        ("docs/python-api.md", "study.figures()", ""),
    ],
)
def test_python_of_the_pages_runs_in_a_notebook(kernel: Kernel, page: str, word: str, said: str) -> None:
    """The other snippets of python-api.md are run by tests/integration/test_api.py."""
    code = quick(snippet(page, word))
    if "model.predict(images)" in code:
        code = f"import numpy as np\nimages = np.load('images.npz')['x']\n{code}\nassert len(probabilities) == 50"
    cell = kernel.run(code)
    assert cell.error is None, cell
    assert said in cell.printed + cell.text
    assert "\x1b" not in cell.text  # Keras prints some


@in_folder
def test_dashboard_of_the_pages_says_where_it_is_and_ends_at_ctrl_c(folder: Path) -> None:
    words = [sys.executable, *shlex.split(BROWSED)[1:], "--port", "0"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and "http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


@in_folder
@pytest.mark.postgres
@pytest.mark.skipif(programs() is None, reason="no PostgreSQL server here; install Debian's package postgresql")
def test_command_for_a_database_runs(folder: Path) -> None:
    with Server() as server:
        words = [server.url if word.startswith("postgresql://") else word for word in shlex.split(ON_A_DATABASE)]
        said = finish(run(folder, [*words, "--study", "shared", *DIGITS, "--search-only"]))
        assert "the search is complete" in said
