"""A picture of a search: accuracy over two hyper-parameters, at the best of the others."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from susx_bench.records.files import write_atomic
from susx_bench.records.record import Record
from susx_bench.records.store import read_search


def draw(path: Path, record: Record) -> Path:
    """Draw the search kept beside a record.

    Two weights (alpha and gamma) make the picture, at the best value of the rest; a method with
    one weight has its other hyper-parameter in the picture.

    Args:
        path: The record's file.
        record: The record.

    Returns:
        The picture, a PNG beside the record.

    Raises:
        RecordError: If the search cannot be believed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    search = read_search(path)
    accuracies, axes = search.accuracies, list(search.axes.items())
    names = list(search.axes)
    shown = [names.index(name) for name in ("alpha", "gamma") if name in names]
    shown = (shown + [i for i in range(len(names)) if i not in shown])[:2]
    best = [list(values).index(record.hparams[name]) for name, values in axes]
    plane = accuracies[tuple(slice(None) if i in shown else place for i, place in enumerate(best))]
    if shown != sorted(shown):
        plane = plane.T
    (x_name, x_values), (y_name, y_values) = axes[shown[0]], axes[shown[1]]

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    mesh = ax.pcolormesh(x_values, y_values, plane.T, shading="nearest", cmap="viridis")
    figure.colorbar(mesh, label=f"accuracy on {record.tuned_on} in %")
    levels = np.unique([plane.max() - 2, plane.max() - 1, plane.max() - 0.5])
    if plane.min() < levels[0]:
        lines = ax.contour(x_values, y_values, plane.T, levels, colors="white", linewidths=0.8)
        ax.clabel(lines, fmt="%.1f")
    ax.plot(
        record.hparams[x_name], record.hparams[y_name], "o", mfc="none", mec="red", ms=10, mew=2
    )
    ax.set(xlabel=x_name, ylabel=y_name)
    others = ", ".join(
        f"{name} {record.hparams[name]:.4g}" for i, name in enumerate(names) if i not in shown
    )
    at = f" at {others}" if others else ""
    ax.set_title(
        f"{record.method} on {record.dataset}, S = {record.shots}{at}\n"
        f"best {record.search.score:.2f} of {record.search.settings:,} settings (ring)",
        loc="left",
    )
    picture, content = path.with_suffix(".png"), io.BytesIO()
    figure.savefig(content, dpi=130)
    write_atomic(picture, content.getvalue())
    return picture
