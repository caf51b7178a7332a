"""A study's files and their checksums: damage is found, and undone from copies; a kill is no damage."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist.errors import UserError
from fmnist.paths import shown_path
from search.records.checksums import Checksums
from search.records.files import StudyFiles
from search.records.models import RefitRecord
from tests.support.damage import DAMAGES, damage

RECORD = RefitRecord(3, 0, 7, (), 1000, 900, 1.5, 100.0, "a rule")


def opened(root: Path) -> tuple[StudyFiles, list[str]]:
    """The study as another process would open it, and what it says."""
    files, said = StudyFiles(root), []
    files.checksums.say = said.append
    return files, said


@pytest.fixture
def files(tmp_path: Path) -> StudyFiles:
    """A study with a record, arrays and a model that is delivered."""
    files = StudyFiles(tmp_path / "study")
    files.begin_checksums()
    files.write_text(files.config, '{"study": "study"}')
    files.write_json(files.refit_record(0), RECORD)
    files.write_arrays(files.test_arrays, labels=np.array([1, 2]))
    for path in (files.refit_model(0), files.model):
        with files.checksums.writing(path) as temporary:
            temporary.write_bytes(b"a model" * 100)
    with files.checksums.writing(files.refit_model(1)) as temporary:
        temporary.write_bytes(b"another" * 100)
    return files


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", ["config.json", "refit/seed-0.json", "test.npz", "refit/seed-0.keras", "best.keras"])
def test_damaged_file_is_restored_where_it_is_used_and_that_is_said(files: StudyFiles, name: str, kind: str) -> None:
    path = files.root / name
    before = path.read_bytes()
    damage(path, kind)
    again, said = opened(files.root)
    assert again.has(path)
    assert path.read_bytes() == before
    assert len(said) == 1 and said[0].startswith(f"{shown_path(path)} is ") and "restored from " in said[0]
    assert opened(files.root)[0].checksums.state(path) == "intact"


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.follows("{} {}, and no intact copy of it is left; restore it{} or start")
def test_file_of_which_no_copy_is_left_is_named_and_restoring_it_helps(files: StudyFiles, kind: str) -> None:
    path = files.refit_model(1)
    good = path.read_bytes()
    damage(path, kind)
    with pytest.raises(
        UserError, match=rf"^{shown_path(path)} is .*restore it, .*or start a new study with --study NAME$"
    ):
        opened(files.root)[0].has(path)
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(good)
    assert opened(files.root)[0].has(path)


def test_edit_is_kept_beside_the_restored_file(files: StudyFiles) -> None:
    for edit in ("first", "second"):
        files.config.write_text(edit)
        assert opened(files.root)[0].has(files.config)
    assert files.config.with_name("config.json.damaged").read_text() == "first"
    assert files.config.with_name("config.json.damaged-2").read_text() == "second"


def test_deleted_folder_of_records_is_restored(files: StudyFiles) -> None:
    files.checksums.forget(files.refit_model(1))
    again, _ = opened(files.root)
    for path in files.refit.iterdir():
        path.unlink()
    files.refit.rmdir()
    assert again.read_refit_records() == [RECORD]
    assert again.has(files.refit_model(0))


@pytest.mark.follows("{} must be a file that this study has written, but it is not; move it")
def test_record_of_another_study_is_refused_until_it_is_moved_away(files: StudyFiles) -> None:
    foreign = files.refit_record(5)
    foreign.write_bytes(files.refit_record(0).read_bytes())
    with pytest.raises(
        UserError, match=rf"{shown_path(foreign)} must be a file that this study has written.*move it elsewhere"
    ):
        opened(files.root)[0].read_refit_records()
    foreign.unlink()
    assert opened(files.root)[0].read_refit_records() == [RECORD]


@pytest.mark.parametrize("name", ["test.json", "best_recipe.json", "samples.npz", "exports/onnx.json"])
def test_file_that_another_study_wrote_is_not_taken_for_this_ones(files: StudyFiles, name: str) -> None:
    foreign = files.root / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_bytes(files.test_arrays.read_bytes())
    with pytest.raises(
        UserError, match=rf"{shown_path(foreign)} must be a file that this study has written.*move it elsewhere"
    ):
        opened(files.root)[0].has(foreign)
    foreign.unlink()
    assert not opened(files.root)[0].has(foreign)


@pytest.mark.parametrize("name", ["checksums.json", "copies/checksums.json"])
def test_manifest_from_an_older_backup_condemns_no_file_that_was_written_since(files: StudyFiles, name: str) -> None:
    older = files.checksums.path.read_bytes()
    files.write_json(files.refit_record(0), replace(RECORD, trial=4))
    files.write_text(files.ledger, "{}")
    (files.root / name).write_bytes(older)
    again, said = opened(files.root)
    again.begin_checksums()
    assert [record.trial for record in again.read_refit_records()] == [4]
    assert again.has(files.ledger) and not said
    assert files.checksums.path.read_bytes() == (files.checksums.copies / "checksums.json").read_bytes() != older


def test_line_ends_of_another_system_are_no_damage(files: StudyFiles) -> None:
    for path in [*files.root.rglob("*.json")]:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    again, said = opened(files.root)
    again.begin_checksums()
    assert again.read_refit_records() == [RECORD]
    assert not said
    files.refit_record(0).unlink()
    assert opened(files.root)[0].read_refit_records() == [RECORD]


def test_two_studies_that_swapped_a_record_have_their_own_again(files: StudyFiles, tmp_path: Path) -> None:
    other = StudyFiles(tmp_path / "other")
    other.begin_checksums()
    other.write_json(other.refit_record(0), RefitRecord(4, 0, 8, (), 1000, 900, 1.5, 100.0, "a rule"))
    a, b = files.refit_record(0), other.refit_record(0)
    content = a.read_bytes(), b.read_bytes()
    a.write_bytes(content[1])
    b.write_bytes(content[0])
    assert [opened(each.root)[0].read_refit_records()[0].trial for each in (files, other)] == [3, 4]


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_manifest_is_replaced_by_its_copy(files: StudyFiles, kind: str) -> None:
    damage(files.checksums.path, kind)
    damage(files.refit_record(0), "flip")
    again, said = opened(files.root)
    again.begin_checksums()
    assert again.read_refit_records() == [RECORD]
    assert "copies/checksums.json stands in for it" in said[0]
    assert opened(files.root)[0].checksums.path.read_text() == (files.checksums.copies / "checksums.json").read_text()


def test_manifest_of_another_study_is_not_believed(files: StudyFiles, tmp_path: Path) -> None:
    other = StudyFiles(tmp_path / "other")
    other.begin_checksums()
    other.write_text(other.config, '{"study": "other"}')
    files.checksums.path.write_bytes(other.checksums.path.read_bytes())
    assert opened(files.root)[0].read_refit_records() == [RECORD]
    assert json.loads(files.config.read_text()) == {"study": "study"}


@pytest.mark.follows("{} must hold the checksums of the study's files, but cannot be read")
def test_manifest_damaged_with_its_copy_is_named_and_removing_both_helps(files: StudyFiles) -> None:
    places = (files.checksums.path, files.checksums.copies / "checksums.json")
    for place in places:
        damage(place, "cut")
    with pytest.raises(UserError, match="cannot be read; restore one, or remove what is there"):
        opened(files.root)[0].has(files.config)
    for place in places:
        place.unlink()
    again, _ = opened(files.root)
    again.begin_checksums()
    assert again.read_refit_records() == [RECORD]
    assert again.checksums.manifest is not None and again.checksums.manifest.adopted is not None


def test_files_of_an_earlier_version_are_read_and_entered_as_they_are(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path)
    files.write_json(files.refit_record(0), RECORD)
    assert files.checksums.state(files.refit_record(0)) == "unrecorded"
    assert files.read_refit_records() == [RECORD]
    files.begin_checksums()
    damage(files.refit_record(0), "flip")
    assert opened(tmp_path)[0].read_refit_records() == [RECORD]


def test_manifest_of_a_version_with_other_fields_is_read(files: StudyFiles) -> None:
    content = json.loads(files.checksums.path.read_text())
    for name in ("trials", "sha256"):
        del content[name]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    files.checksums.path.write_text(json.dumps({**content, "sha256": digest}))
    again, said = opened(files.root)
    assert again.checksums.state(files.config) == "intact" and said == []


@pytest.mark.parametrize("is_new", [True, False], ids=["a new file", "a file that was there"])
@pytest.mark.parametrize("moment", ["before it has its name", "before its checksum counts"])
def test_kill_while_a_file_is_written_is_no_damage(
    files: StudyFiles, is_new: bool, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.root / "confirm" / "trial-0001.json" if is_new else files.config
    before = None if is_new else path.read_bytes()

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    if moment == "before it has its name":
        rename = os.replace
        monkeypatch.setattr(os, "replace", lambda a, b: die() if Path(b) == path else rename(a, b))
    else:
        monkeypatch.setattr(Checksums, "record", die)
    with pytest.raises(Killed):
        files.write_text(path, "new")
    monkeypatch.undo()
    now = path.read_bytes() if path.exists() else None
    assert now == (before if moment == "before it has its name" else b"new")
    for begins in (False, True):  # first one who only reads
        again, said = opened(files.root)
        if begins:
            again.begin_checksums()
        assert again.has(path) == (now is not None)
        assert (path.read_bytes() if path.exists() else None) == now
        assert said == []
    assert again.checksums.manifest is not None and again.checksums.manifest.pending == {}


def test_what_is_meant_to_be_gone_does_not_come_back(files: StudyFiles) -> None:
    files.checksums.forget(files.refit)
    again, said = opened(files.root)
    again.begin_checksums()
    assert again.read_refit_records() == [] and not again.has(files.refit_model(0)) and said == []


def test_reading_without_restoring_changes_nothing(files: StudyFiles) -> None:
    damage(files.refit_record(0), "cut")
    before = {path: path.read_bytes() for path in files.root.rglob("*") if path.is_file()}
    again, said = opened(files.root)
    again.checksums.restores = False
    assert again.read_refit_records() == [RECORD]
    assert "read from copies/refit/seed-0.json" in said[0]
    assert {path: path.read_bytes() for path in files.root.rglob("*") if path.is_file()} == before


def test_folder_has_a_checksum_of_all_its_files(files: StudyFiles) -> None:
    saved = files.exports / "best-savedmodel"
    (saved / "variables").mkdir(parents=True)
    (saved / "variables" / "data").write_text("weights")
    files.checksums.record(saved)
    assert opened(files.root)[0].checksums.state(saved) == "intact"
    (saved / "variables" / "data").write_text("Weights")
    assert opened(files.root)[0].checksums.state(saved) == "changed"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_changed_byte_goes_unnoticed(files: StudyFiles, data: st.DataObject) -> None:
    paths = [files.config, files.refit_record(0), files.test_arrays, files.model]
    path = data.draw(st.sampled_from(paths))
    good = path.read_bytes()
    place, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(good[:place] + bytes([good[place] ^ (1 << bit)]) + good[place + 1 :])
    again, said = opened(files.root)
    assert again.has(path) and path.read_bytes() == good and len(said) == 1
    for kept in files.root.rglob("*.damaged*"):
        kept.unlink()


class Killed(BaseException):
    """Stands for a kill."""


class Deadly(type(Path())):
    """A folder whose removal is killed before it begins."""

    def is_dir(self) -> bool:
        raise Killed


@pytest.mark.parametrize("n_removed", [0, 1, 2])
def test_a_kill_while_files_are_forgotten_leaves_none_that_looks_foreign(files: StudyFiles, n_removed: int) -> None:
    there = sorted(files.refit.iterdir())
    with pytest.raises(Killed):
        opened(files.root)[0].checksums.forget(Deadly(files.refit))
    for path in there[:n_removed]:
        path.unlink()
        (files.checksums.copies / "refit" / path.name).unlink(missing_ok=True)
    again, _ = opened(files.root)
    again.begin_checksums()
    assert sorted(again.checksums.names(files.refit)) == there[n_removed:]
    assert all(again.has(path) for path in there[n_removed:])
    again.checksums.forget(files.refit)
    assert again.checksums.names(files.refit) == []
    assert not files.refit.exists()


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("best.keras", "best_recipe.json"),
        ("refit/seed-0.keras", "best_recipe.json"),
        ("ensemble.keras", "ensemble_recipe.json"),
        ("confirm/trial-0001.keras", None),
    ],
)
def test_lost_model_names_the_recipe_that_trains_it_again(tmp_path: Path, name: str, recipe: str | None) -> None:
    files, _ = opened(tmp_path / "study")
    files.root.mkdir()
    files.begin_checksums()
    with files.checksums.writing(files.root / name) as temporary:
        temporary.write_bytes(b"a model")
    (files.root / name).unlink()
    with pytest.raises(UserError) as caught:
        files.checksums.intact(files.root / name)
    assert ("search.refit --recipe" in str(caught.value)) == (recipe is not None)
    assert recipe is None or f"{recipe} --out again.keras" in str(caught.value)
