"""A table of images, or a folder of them, of whatever kind -> DataSource."""

from __future__ import annotations

from pathlib import Path

from fmnist.data.arrays.source import arrays_source
from fmnist.data.checks import refuse_picture_options
from fmnist.data.source import DataSource
from fmnist.data.tables.csv_files import CsvTables
from fmnist.data.tables.files import find_tables, stem_of
from fmnist.data.tables.parquet_files import ParquetNumbers, ParquetTables
from fmnist.data.tables.parquet_pictures import parquet_pictures_source
from fmnist.reading import Reading


def tables_source(path: Path, reading: Reading) -> DataSource | None:
    """Find, check and read the tables of a file or folder; None if it is none, or a folder of something else.

    Raises:
        UserError: Something of it cannot be used.
    """
    if path.is_dir():
        path = path.resolve()  # of which a name such as .. is told; the hub's files are links to such without a name
    tables = find_tables(path)
    if tables is None:
        return None
    dataset = path.name if path.is_dir() else stem_of(path)
    if tables.kind == "csv":
        refuse_picture_options(reading, path)
        return arrays_source(CsvTables(tables), reading, dataset)
    parquet = ParquetTables(tables)
    if parquet.layout.has_pictures:
        return parquet_pictures_source(parquet, dataset, reading)
    refuse_picture_options(reading, path)
    return arrays_source(ParquetNumbers(parquet), reading, dataset)
