"""The data card of records on the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Mapping

from susx_bench.console import counted
from susx_bench.leaderboard.formats.markdown import markdown
from susx_bench.leaderboard.results import boards
from susx_bench.records.exchange import PARQUET
from susx_bench.records.record import Record

_TABLES = 20  # most tables of a card; the Parquet file has all records


def card_of(records: Mapping[str, Record]) -> tuple[str, str]:
    """The head of a data card, with the YAML that the hub reads, and its tables.

    Args:
        records: Records by their paths.
    """
    metadata = {
        "pretty_name": "Records of susx-bench",
        "tags": ["susx-bench", "clip", "training-free", "few-shot", "zero-shot"],
        "task_categories": ["zero-shot-image-classification", "image-classification"],
        "configs": [{"config_name": "default", "data_files": PARQUET}],
    }
    yaml = "\n".join(f"{name}: {json.dumps(value)}" for name, value in metadata.items())
    head = (
        f"---\n{yaml}\n---\n\n# Records of susx-bench\n\nMeasured with susx-bench: training-free "
        "adaptation of CLIP. One JSON file and one file of predictions per cell lie under "
        f"`records/`; `{PARQUET}` has a row for each. `susx-bench records pull` merges them into a "
        "folder, and `susx-bench records verify` measures one again.\n"
    )
    return head, _tables(records)


def _tables(records: Mapping[str, Record]) -> str:
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for place in sorted(records):
        record = records[place]
        key = record.dataset, record.encoder, record.setting
        groups.setdefault(key, []).append(record)
    shown = [record for group in list(groups.values())[:_TABLES] for record in group]
    parts = [counted(len(records), "record") + ".", ""]
    for board in boards(shown):
        *lines, _ = markdown(board).splitlines()  # the last says that the table was built
        parts += [_lower(line) for line in lines]
    if len(groups) > _TABLES:
        parts += [f"{counted(len(groups) - _TABLES, 'table')} more: see `{PARQUET}`.", ""]
    return "\n".join(parts).rstrip()


def _lower(line: str) -> str:
    """A heading below the card's own."""
    return f"#{line}" if line.startswith("#") else line
