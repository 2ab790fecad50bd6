"""Find the column that holds the split of each row, in any kind of table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from susx_bench.data.splitnames import split_name
from susx_bench.errors import DatasetError

NAMES = ("split", "set", "subset", "partition", "phase", "usage", "fold")
"""Usual names of the column, in lower case."""

_FLAGS = ("is_valid", "is_val", "is_test", "is_train")
_SHOWN = 5


class SplitColumn(NamedTuple):
    """The splits of a table's rows.

    Attributes:
        column: Name of the column; empty if there is none.
        values: The table's name of the split of each row; empty if there is no such column.
        remarks: Similar columns that are not read, one line each.
    """

    column: str
    values: list[str]
    remarks: list[str]


def read_splits(
    columns: Sequence[str],
    texts: Callable[[str], Sequence[str | None]],
    where: str,
    *,
    known: bool = False,
) -> SplitColumn:
    """Find and read the column of splits.

    A column with a usual name counts if one of its values is the name of a split.

    Args:
        columns: Columns of the table that hold neither images nor labels.
        texts: Returns the values of a column, in the order of the rows; None for a missing one.
        where: The table, for messages.
        known: Whether the names of files give the splits already. Then a column with an unusual
            name is ignored.

    Raises:
        DatasetError: If several columns qualify, a row has no value, a column ``split`` holds no
            names of splits, or a column of another name holds some.
    """
    by_column: dict[str, list[str]] = {}
    remarks = []
    for name in columns:
        kind = name.strip().casefold()
        if known and kind not in NAMES:
            continue
        if kind in _FLAGS:
            raise DatasetError(
                f"{where}: its column '{name}' says splits in a way that is not read. Give a "
                "column 'split' with train, val and test, or take it out."
            )
        values = [(text or "").strip() for text in texts(name)]
        several = dict.fromkeys(value for value in values if value)
        named = [value for value in several if split_name(value)]
        if kind in NAMES and named:
            if missing := values.count(""):
                raise DatasetError(
                    f"{where}: {missing} of its {len(values)} rows have no '{name}', the first "
                    f"is row {values.index('') + 1}. Say the split of every row."
                )
            by_column[name] = values
        elif kind == "split" and several and not known:
            raise DatasetError(
                f"{where} has the splits {_some(list(several))} in its column '{name}', and none "
                "of them is called train, validation or test."
            )
        elif kind in NAMES and several:
            remarks.append(
                f"its column '{name}' is not read: none of its values ({_some(list(several))}) is "
                "the name of a split"
            )
        elif len(several) > 1 and len(named) == len(several):
            raise DatasetError(
                f"{where}: its column '{name}' has names of splits "
                f"({', '.join(sorted(several))}). Call it 'split', so that they are kept, or take "
                "it out."
            )
    if len(by_column) > 1:
        raise DatasetError(
            f"{where}: its columns {', '.join(by_column)} may each say the split. Leave one."
        )
    for name, values in by_column.items():
        return SplitColumn(name, values, remarks)
    return SplitColumn("", [], remarks)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
