"""Templates and sentences fit each other: every name that a template uses exists, and every sentence has a reader."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from jinja2 import meta, nodes

from search import report
from search.report.analysis.evidence import Evidence, TrainingEvidence
from search.report.comparison import page as comparison_page
from search.report.comparison import text as comparison_text
from search.report.comparison.data import Comparison
from search.report.context import TEXT, template_context
from search.report.summary import summarize
from search.report.templating import TEMPLATES, templates
from search.report.trained import summarize_trained, trained_context
from search.results.reading import read_finished_study, read_trained_study
from tests.support.made_study import make_study
from tests.support.made_trials import Made

pytestmark = pytest.mark.renders

SOURCES = sorted(path for folder in report.__path__ for path in Path(folder).rglob("*.py"))
STUDY_TEMPLATES = ("report.html.j2", "report.md.j2", "model-card.md.j2", "guide.md.j2")
PARENTS = {"trained.html.j2": "report.html.j2", "trained.md.j2": "report.md.j2"}  # of studies without test images
FRONTS = {"front.html.j2": "report.html.j2", "front.md.j2": "report.md.j2"}  # of studies with networks of every size
COMPARISON_TEMPLATES = ("compare.html.j2",)
SHARED = "macros.html.j2"


OPEN = ("environment",)  # dictionaries whose keys differ from machine to machine


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What each template sees."""
    made = Made(n_trials=6, n_test=200, n_train=1000, class_names=("owl", "gull", "auk"))
    files, trials = make_study(tmp_path_factory.mktemp("studies") / "made", made)
    study = read_finished_study(files, trials, command="", importances=None)
    evidence = Evidence(study)
    of_study = template_context(study, evidence, summarize(study, evidence))
    of_comparison = comparison_page.template_context(Comparison(study, study), "compare.json")
    contexts = {"compare.html.j2": of_comparison}
    for name in (*STUDY_TEMPLATES, SHARED):
        contexts[name] = of_study
    files, trials = make_study(tmp_path_factory.mktemp("studies") / "made", dataclasses.replace(made, with_front=True))
    sized = read_finished_study(files, trials, command="", importances=None)
    for name in FRONTS:
        contexts[name] = template_context(sized, Evidence(sized), summarize(sized, Evidence(sized)))
    files, trials = make_study(tmp_path_factory.mktemp("studies") / "made", dataclasses.replace(made, has_test=False))
    trained = read_trained_study(files, trials, command="", importances=None)
    training_evidence = TrainingEvidence(trained)
    summary = summarize_trained(trained, training_evidence)
    for name in PARENTS:
        contexts[name] = trained_context(trained, training_evidence, summary)
    return contexts


def declared_in(name: str) -> set[str]:
    """The names that a template, or the one that it extends or stands in, sets or imports itself: it sees them too."""
    declared = set()
    for node in parsed({**PARENTS, **FRONTS}.get(name, name)).find_all((nodes.Assign, nodes.FromImport)):
        if isinstance(node, nodes.FromImport):
            declared.update(node.names)
        elif isinstance(node.target, nodes.Name):
            declared.add(node.target.name)
    return declared


def parsed(name: str) -> nodes.Template:
    return templates().parse((TEMPLATES / name).read_text())


def used_of(template: nodes.Template, root: str) -> Iterator[tuple[str, ...]]:
    """The names after `root` in each chain of attributes that begins with it: ("model", "pair") of text.model.pair."""
    for node in template.find_all(nodes.Getattr):
        names, inner = [node.attr], node.node
        while isinstance(inner, nodes.Getattr):
            names.insert(0, inner.attr)
            inner = inner.node
        if isinstance(inner, nodes.Name) and inner.name == root:
            yield tuple(names)


def exists(root: object, names: tuple[str, ...]) -> bool:
    """Whether the chain of attributes or keys can be followed from there."""
    for name in names:
        if name in OPEN:
            return True
        if isinstance(root, dict):
            if name not in root and not hasattr(root, name):
                return False
            root = root[name] if name in root else getattr(root, name)
        elif hasattr(root, name):
            root = getattr(root, name)
        else:
            return False
        if root is None:
            return True  # its type is not known here
    return True


@pytest.mark.parametrize("name", [*STUDY_TEMPLATES, *PARENTS, *FRONTS, *COMPARISON_TEMPLATES, SHARED])
def test_names_of_a_template_exist_in_branches_that_never_render_too(
    name: str, contexts: dict[str, dict[str, object]]
) -> None:
    template, context = parsed(name), contexts[name]
    used = meta.find_undeclared_variables(template) - declared_in(name)
    missing = [variable for variable in used if variable not in context]
    for root, value in context.items():
        for names in used_of(template, root):
            if not exists(value, names):
                missing.append(".".join((root, *names)))
    assert missing == []


@pytest.mark.parametrize("name", [*STUDY_TEMPLATES, *PARENTS, *FRONTS, *COMPARISON_TEMPLATES, SHARED])
def test_filters_of_a_template_exist(name: str) -> None:
    used = {node.name for node in parsed(name).find_all(nodes.Filter)}
    assert used <= set(templates().filters)


def public_functions(module: ModuleType) -> list[str]:
    found = inspect.getmembers(module, inspect.isfunction)
    return [name for name, function in found if function.__module__ == module.__name__ and not name.startswith("_")]


@pytest.mark.parametrize(
    ("module", "prefix", "names_of_templates"),
    [
        *((module, f"{name}.", (*STUDY_TEMPLATES, *PARENTS, *FRONTS)) for name, module in TEXT.items()),
        (comparison_text, "", COMPARISON_TEMPLATES),
    ],
    ids=[*TEXT, "comparison"],
)
def test_every_sentence_is_in_a_template_or_in_python(
    module: ModuleType, prefix: str, names_of_templates: tuple[str, ...]
) -> None:
    in_templates = {".".join(names) for name in names_of_templates for names in used_of(parsed(name), "text")}
    in_python = {name for path in SOURCES for name in names_in(path)}
    dead = []
    for name in public_functions(module):
        if name not in in_python and prefix + name not in in_templates:
            dead.append(name)
    assert dead == []


def names_in(path: Path) -> set[str]:
    """Every name that the module's code loads, not those that it defines or imports."""
    tree = ast.parse(path.read_text())
    loaded = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return loaded | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_no_template_lies_unused() -> None:
    included = {
        name for path in TEMPLATES.glob("*.j2") for name in re.findall(r'"([\w.-]+\.(?:j2|css|js))"', path.read_text())
    }
    rendered = {name for path in SOURCES for name in re.findall(r'"([\w.-]+\.j2)"', path.read_text())}
    assert {path.name for path in TEMPLATES.iterdir()} == included | rendered
