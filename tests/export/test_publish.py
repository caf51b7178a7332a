"""A model is laid out so that others load it from the Hugging Face Hub."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.cli import EXIT_USER_ERROR
from fmnist.errors import UserError
from fmnist.export.__main__ import main
from fmnist.export.publish import KERAS_PARTS, publish
from tests.support.remedies import needs_remedy

CARD = "---\nlibrary_name: keras\n---\n\n# Model card\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A .keras file of no network, with its card and temperature beside it, as a study has them."""
    folder = tmp_path / "study"
    folder.mkdir()
    with zipfile.ZipFile(folder / "best.keras", "w") as archive:
        for name in (*KERAS_PARTS, "fmnist-notes.json"):
            archive.writestr(name, f"content of {name}")
    (folder / "model-card.md").write_text(CARD)
    (folder / "temperature.json").write_text("{}")
    return folder / "best.keras"


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_repository_has_what_keras_reads_the_card_and_the_model_itself(model: Path, tmp_path: Path) -> None:
    folder, exports = tmp_path / "hub", tmp_path / "best-saved-model"
    exports.mkdir()
    (exports / "part").write_text("exported")
    written = publish(model, folder, [exports])
    usual = {*KERAS_PARTS, "README.md", "best.keras", "temperature.json"}
    assert names_in(folder) == {*usual, "best-saved-model/part"}
    assert {path.name for path in written} == {*usual, "best-saved-model"}
    assert (folder / "README.md").read_text() == CARD
    assert (folder / "config.json").read_text() == "content of config.json"
    assert (folder / "best.keras").read_bytes() == model.read_bytes()


def test_folder_with_something_in_it_is_left_alone(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with needs_remedy("--publish must be a folder that is new or empty, but got {}; choose another, or move away"):
        publish(model, folder)
    assert names_in(folder) == {"mine.txt"}
    (folder / "mine.txt").rename(tmp_path / "mine.txt")
    publish(model, folder)


def test_model_without_a_card_is_refused_until_it_has_one(model: Path, tmp_path: Path) -> None:
    card = model.with_name("model-card.md")
    card.rename(tmp_path / "card")
    with needs_remedy("a model to be published must have its model card beside it, but {} is missing; pass a study's"):
        publish(model, tmp_path / "hub")
    assert not (tmp_path / "hub").exists()
    (tmp_path / "card").rename(card)
    publish(model, tmp_path / "hub")


def test_file_that_is_no_model_is_named(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    model.write_text("not a model")
    with needs_remedy("MODEL must be a whole .keras file, but {} is not: {}; have it written again"):
        publish(model, tmp_path / "hub")
    model.write_bytes(whole)
    publish(model, tmp_path / "again")


def test_command_publishes_without_a_format(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(model), "--publish", str(tmp_path / "hub")]) == 0
    said, errors = capsys.readouterr()
    assert errors == "" and said.startswith(f"published: {tmp_path / 'hub'}, to be uploaded by `hf upload")
    assert main([str(model), "--publish", str(tmp_path / "hub")]) == EXIT_USER_ERROR
    assert capsys.readouterr().err.startswith("error: --publish must be a folder that is new or empty")


def test_command_that_says_neither_is_told_both(model: Path, tmp_path: Path) -> None:
    from fmnist.export.__main__ import parse

    with needs_remedy("--format or --publish must say what to make of the model, but got neither; pass --format all"):
        parse([str(model)])
    assert parse([str(model), "--format", "all"]).formats


@pytest.mark.trains
def test_keras_loads_the_repository_as_it_would_from_the_hub(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    import keras

    from fmnist.model.build import build_model
    from fmnist.model.inference import save_for_users
    from fmnist.recipe import Architecture, Block

    network = build_model(Architecture((8, 8, 1), 3, (Block(4, 1, 3),)), 80.0, 90.0)
    save_for_users(network, model)
    publish(model, tmp_path / "hub")

    def snapshot(repo_id: str, **ignored: object) -> str:
        assert repo_id == "me/shoes"
        return str(tmp_path / "hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    loaded: Callable = keras.saving.load_model("hf://me/shoes")
    images = np.random.default_rng(0).uniform(0, 255, (5, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(loaded(images), network(images))


def test_unreadable_folder_is_one_line(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="must be readable, but: Not a directory"):
        publish(model, tmp_path / "file" / "hub")
