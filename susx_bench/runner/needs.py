"""Why a cell stays blank: what its method needs and its task lacks."""

from __future__ import annotations

from susx_bench.records.record import UNSAID
from susx_bench.runner.cell import Cell
from susx_bench.runner.tasks import FEW_SHOT


def unmet_need(cell: Cell) -> str:
    """Why a method cannot run on a task; empty if it can."""
    if cell.no_prompts:
        return f"{cell.method.name}: {cell.no_prompts}"
    has = set(cell.task.gives)
    if len(cell.task.pool_labels):
        has.add("support")
    if cell.task.val_labels is not None and cell.sees_val:
        has.add("val")
    missing = sorted(cell.method.needs - has)
    if "text" in missing:
        return (
            f"{cell.method.name} needs text features, and {cell.task.called} has none of "
            f"{cell.task.encoder}"
        )
    if missing == ["val"] and cell.task.val_labels is not None:
        return f"{cell.method.name} looks at val, which --tune {cell.tune} does not"
    if missing:
        return f"{cell.method.name} needs {', '.join(missing)}, which {cell.task.called} lacks"
    if wrong := _other_setting(cell):
        return wrong
    if unpatched := sorted(cell.patches - cell.task.patched):
        return (
            f"{cell.method.name} looks at the patches of {', '.join(unpatched)}, which "
            f"{cell.task.called} lacks"
        )
    method = cell.method()
    if cell.tune == "published" and method.tunable and not method.published(cell.task.dataset):
        return f"{method.name} has no published constants for {cell.task.called}"
    if cell.setting not in cell.method.settings:
        return f"{cell.method.name} is not for the {cell.setting} setting"
    return ""


def _other_setting(cell: Cell) -> str:
    """Why a bundle's support set does not fit the setting; empty if it fits or is not named."""
    task, name = cell.task, cell.method.name
    if task.protocol != "bundle" or task.support == UNSAID or "support" not in cell.method.needs:
        return ""
    if task.support == FEW_SHOT and cell.setting != FEW_SHOT:
        what = "labelled images, which name-only has none of"
    elif task.support != FEW_SHOT and cell.setting == FEW_SHOT:
        what = "no labelled images"
    else:
        return ""
    fitting = "name-only" if cell.setting == FEW_SHOT else FEW_SHOT
    return (
        f"{name}: {task.called} says that its support is {task.support}: {what}. Use --setting "
        f"{fitting}"
    )
