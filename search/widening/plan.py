"""May a study go on in this space? Only in one that contains its own, while nothing has been chosen from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fmnist.errors import UserError
from fmnist.paths import shown_path
from search.cli import shown_url
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.records.io import flat
from search.space.containment import ABSENT, Change, changes_between
from search.space.schema import build_space, parse_toml, read_space_text
from search.space.space import SearchSpace
from search.study.study import require_identity

LIMITS = ("max_parameters", "max_multiply_adds")
OF_THE_SPACE = ("space", *LIMITS)  # parts of a study's identity that grow with its space, if it has them


@dataclass(frozen=True)
class Widening:
    """A study's space and the larger one that it goes on in."""

    before: SearchSpace  # with the limits that held, --max-parameters among them, as has `after`
    after: SearchSpace
    grown: tuple[str, ...]  # what grew, in words
    identity: dict[str, Any]  # what the study was made with, see `provenance.study_identity`


def plan_widening(
    config: StudyConfig,
    files: StudyFiles,
    space: SearchSpace,
    identity: dict[str, Any],
    say: Callable[[str], None],
) -> Widening | None:
    """Return how the study's space grows; None where it stays, or another space will be refused as an edited one.

    Args:
        config: What this run asks for.
        files: The study's folder, which need not exist.
        space: What this run is to search.
        identity: What this run would make a study with.
        say: Is told that there is nothing to widen.

    Raises:
        UserError: The study cannot grow, or not to this space; or it could, and --widen was not given.
    """
    if not files.has(files.config):
        return None
    made_with = files.read_plain(files.config)
    identity = json.loads(json.dumps(identity))
    of_study = with_space_of(identity, made_with)
    require_identity(files, None, of_study)
    if of_study == identity:
        if config.widen:
            say("--widen: the study has this space already")
        return None
    before = build_space(of_study["space"], space.image_shape, space.n_classes)
    before = before.with_limits(**{name: of_study.get(name) for name in LIMITS})
    after = space.with_limits(**config.limits)
    changes = changes_between(before, after)
    shrinks = [change for change in changes if not change.grows]
    why_not = _why_the_space_stays(config, files)
    if not config.widen:
        is_larger = any(change.after != ABSENT for change in changes)  # than without a configuration to try first
        if is_larger and not shrinks and why_not is None:
            raise _larger_space(config, of_study, identity)
        return None
    if why_not is not None:
        raise UserError(why_not)
    if space.table != before.table:
        _require_own_file(files, space)
    if shrinks and config.space is None and space.table != before.table:
        raise UserError(
            f"--widen needs the file of the larger space, but got none, and the space that is the default of a new "
            f"study lacks what this one has ({shrinks[0].key} was {shrinks[0].before} and is {shrinks[0].after}); pass "
            f"the file with --space"
        )
    if shrinks:
        raise _no_larger_space(config, shrinks[0])
    grown = tuple(map(str, changes)) or ("the file says the same in other words",)
    return Widening(before, after, grown, of_study)


def with_space_of(identity: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity with the space and the limits of another one."""
    kept = {key: value for key, value in identity.items() if key not in OF_THE_SPACE}
    return kept | {key: other[key] for key in OF_THE_SPACE if key in other}


def _why_the_space_stays(config: StudyConfig, files: StudyFiles) -> str | None:
    """Say why a study takes no larger space, or none any more; None if it does."""
    if config.storage is not None and not config.storage.startswith("sqlite"):
        return (
            f"--widen needs a study on SQLite, whose file it keeps as it was, but got {shown_url(config.storage)}; "
            f"{_another_study(config)}"
        )
    done = "has confirmed finalists"
    if files.has(files.test):
        done = "has opened its test set"
    elif not files.read_confirm_records():
        return None
    return f"study {config.study} {done}, so its space must stay; {_another_study(config)}"


def _require_own_file(files: StudyFiles, space: SearchSpace) -> None:
    """Raise UserError where the study's copy of its space was edited into the larger one: the old one is kept, too."""
    try:
        edited = parse_toml(read_space_text(files.space), files.space)
    except UserError:  # it is lost or damaged, and restored
        return
    if edited == space.table:
        raise UserError(
            f"--widen needs the larger space in a file of its own, but {shown_path(files.space)}, the study's copy of "
            f"its old one, has it; move it elsewhere, and pass it with --space"
        )


def _another_study(config: StudyConfig) -> str:
    return f"search this space in another study, with --start-from {config.study} --study NAME and without --widen"


def _larger_space(config: StudyConfig, before: dict[str, Any], now: dict[str, Any]) -> UserError:
    old, new = flat(before), flat(now)
    key = next(key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key))
    return UserError(
        f"study {config.study} was made with {key} = {old.get(key)}, but now it is {new.get(key)}, in a space that "
        f"contains the study's; pass --widen to go on in it, or pass the --space and --max-parameters that it was made "
        f"with, such as space.toml in its folder"
    )


def _no_larger_space(config: StudyConfig, change: Change) -> UserError:
    return UserError(
        f"--widen needs a space that contains the study's, but {change.key} was {change.before} and is "
        f"{change.after}; let it contain what it was, or {_another_study(config)}"
    )
