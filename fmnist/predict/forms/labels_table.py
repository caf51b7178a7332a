"""Pictures with a table of labels among them, `labels.csv` or of another name, as Kaggle has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fmnist.data.image_folder.labels_table import TableLabels, goes_by_table, read_table_labels
from fmnist.data.image_folder.layout import layout_of_folders
from fmnist.data.image_folder.names import TEST
from fmnist.data.image_folder.tables import tables_near
from fmnist.data.image_folder.tree import Folder, read_tree
from fmnist.errors import UserError


def find_labelled_pictures(folder: str, say: Callable[[str], None]) -> dict[str, str] | None:
    """Find the pictures that a table in a folder labels, and the label of each.

    If the table says which pictures are to test on, it is these alone.

    Args:
        folder: Of the pictures.
        say: Hears how the table is read, and which pictures are left out.

    Returns:
        By the path of the picture; None if there is no such table, or the pictures are in folders named by their class.

    Raises:
        UserError: The table cannot be read in one way only.
    """
    root = read_tree(Path(folder))
    if not root.n_pictures or not tables_near(root):
        return None
    labels = _labels_of(root)
    if labels is None or not labels.classes:
        return None
    for note in labels.notes:
        say(f"{folder}: {note}")
    is_test = {path: part == TEST for path, part in labels.parts.items()}
    has_test = any(is_test.values())
    if has_test and not all(is_test.values()):
        say(f"{folder}: the pictures to test on are taken, and not those to train on")
    return {str(path): labels.classes[path] for path in sorted(labels.classes) if is_test[path] or not has_test}


def _labels_of(root: Folder) -> TableLabels | None:
    """What a table says of the pictures; None if class folders say it, as training decides."""
    try:
        layout = layout_of_folders(root)
    except UserError:
        return read_table_labels(root)
    try:
        labels = read_table_labels(root)
    except UserError:  # class folders need no table
        return None
    by_folder = {path: each.name for classes in layout.parts.values() for each in classes for path in each.files}
    if labels is None or not goes_by_table(root, by_folder, labels, TEST in layout.parts):
        return None
    return labels
