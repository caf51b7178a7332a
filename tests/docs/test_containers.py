"""`compose.yaml` and `Dockerfile`, as far as that takes no container: what starts, what is published or secret."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import yaml

from search.run import parse
from tests.docs.test_docs import IN_CONTAINERS

ROOT = Path(__file__).parents[2]


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_a_head_two_workers_a_database_and_a_dashboard_start() -> None:
    services = compose()["services"]
    assert set(services) == {"head", "worker", "database", "dashboard"}
    assert services["worker"]["deploy"]["replicas"] == 2
    assert shlex.split(services["head"]["command"])[:3] == ["ray", "start", "--head"]
    assert "head:6379" in services["worker"]["command"]


def test_run_of_the_page_uses_what_they_are_called() -> None:
    comment = re.sub(r"\\\n#\s*", "", (ROOT / "compose.yaml").read_text())
    assert f"docker compose exec head {IN_CONTAINERS}" in comment
    config, _ = parse(shlex.split(IN_CONTAINERS)[3:])
    services = compose()["services"]
    database = services["database"]["environment"]
    assert config.storage == f"postgresql://{database['POSTGRES_USER']}@database/{database['POSTGRES_DB']}"
    assert f"studies:{config.studies_dir}" in services["head"]["volumes"]


def test_nothing_is_open_to_other_machines_and_no_secret_has_a_default() -> None:
    services = compose()["services"]
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert published and all(port.startswith("127.0.0.1:") for port in published)
    given = {
        name: value
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if re.search("PASSWORD|TOKEN", name)
    }
    assert {"POSTGRES_PASSWORD", "PGPASSWORD", "RAY_AUTH_TOKEN"} == set(given)
    assert all(value.endswith(":?set it}") for value in given.values())
    for name in ("head", "worker"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token"


def test_image_has_extras_that_exist_and_not_what_is_private() -> None:
    text = (ROOT / "Dockerfile").read_text()
    installed = re.findall(r"\.\[([a-z,]+)\]", text)[0].split(",")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(installed) == {"cluster", "postgresql"} <= set(extras)
    assert {".git", ".venv", "studies/*/"} <= set((ROOT / ".dockerignore").read_text().split())
