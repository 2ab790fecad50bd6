"""Folders and files as other programs write them, from the tensors of a bundle.

Written after the layouts of Tip-Adapter (`utils.py`), APE (`extract_features.py`), CaFo
(`utils.py`), SuS-X (`encode_datasets.py`, `encode_sus_sd.py`), clip_benchmark
(`metrics/linear_probe.py`) and clip-retrieval (`clip_inference/writer.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from torch import Tensor

Tensors = Mapping[str, Tensor]


def tip_adapter(folder: Path, t: Tensors, *, dtype: torch.dtype = torch.float32) -> None:
    """Keys ``(D, M)``, one-hot values in half precision, features ``(N, D)``."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(t["support"].to(dtype).permute(1, 0), folder / "keys_4shots.pt")
    torch.save(F.one_hot(t["support_labels"]).half(), folder / "values_4shots.pt")
    for split in ("val", "test"):
        torch.save(t[split].to(dtype), folder / f"{split}_f.pt")
        torch.save(t[f"{split}_labels"], folder / f"{split}_l.pt")


def ape(folder: Path, t: Tensors) -> None:
    """The same, and the text weights ``(D, K)``."""
    tip_adapter(folder, t)
    torch.save(torch.stack(list(t["text"]), dim=1), folder / "text_weights_cupl_t.pt")


def cafo(folder: Path, t: Tensors) -> None:
    """CLIP's features and DINO's beside each other, and a cache of generated images."""
    folder.mkdir(parents=True)
    values = F.one_hot(t["support_labels"]).half()
    for model, keys in (("clip", t["support"].T), ("dino", torch.rand(24, 20))):
        torch.save(keys, folder / f"{model}_keys_4shots.pt")
        torch.save(values, folder / f"{model}_values_4shots.pt")
        for split in ("val", "test"):
            rows = t[split] if model == "clip" else torch.rand(len(t[split]), 24)
            torch.save(rows, folder / f"{split}_{model}_f.pt")
            torch.save(t[f"{split}_labels"], folder / f"{split}_{model}_l.pt")
    torch.save(t["support"].T, folder / "clip_dalle_keys_1shots.pt")
    torch.save(values, folder / "clip_dalle_values_1shots.pt")
    torch.save(t["text"].T, folder / "clip_weights.pt")


def susx(folder: Path, t: Tensors) -> None:
    """Names with the dataset and the encoder in them, and those of another dataset."""
    folder.mkdir(parents=True)
    for dataset, model in (("toy", "ViT-B16"), ("other", "RN50")):
        for split in ("val", "test"):
            torch.save(t[split], folder / f"{dataset}_f_{split}_m{model}.pt")
            torch.save(t[f"{split}_labels"], folder / f"{dataset}_t_{split}_m{model}.pt")
        torch.save(t["support"].T, folder / f"sus_sd_photo_{dataset}_f_m{model}.pt")
        values = F.one_hot(t["support_labels"]).half()
        torch.save(values, folder / f"sus_sd_photo_{dataset}_t_m{model}.pt")
        name = f"{dataset}_zeroshot_text_weights_m{model}_ptensemble.pt"
        torch.save(t["text"].T, folder / name)


def clip_benchmark(folder: Path, t: Tensors) -> None:
    """Train and test, the latter called val; not the text."""
    folder.mkdir(parents=True)
    for split, ours in (("train", "support"), ("val", "test")):
        torch.save(t[ours], folder / f"features_{split}.pt")
        torch.save(t[f"{ours}_labels"], folder / f"targets_{split}.pt")
    np.save(folder / "text.npy", t["text"].numpy())


def clip_retrieval(
    folder: Path, rows: Tensor, columns: Mapping[str, list[str] | list[int]]
) -> None:
    """Numbered parts of the embeddings, in half precision, and a table for each."""
    for inner in ("img_emb", "metadata"):
        (folder / inner).mkdir(parents=True, exist_ok=True)
    for number, some in enumerate(torch.arange(len(rows)).chunk(3)):
        np.save(folder / f"img_emb/img_emb_{number}.npy", rows[some].half().numpy())
        table = {name: [values[i] for i in some.tolist()] for name, values in columns.items()}
        pq.write_table(pa.table(table), folder / f"metadata/metadata_{number}.parquet")


LAYOUTS: Mapping[str, Callable[[Path, Tensors], None]] = {"ape": ape, "cafo": cafo, "susx": susx}
