"""A cell from plan to record."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from susx_bench.data.names import names_one_of
from susx_bench.features.blocks import BLOCK, row_at
from susx_bench.features.launch import Launch
from susx_bench.features.task import Features, Task
from susx_bench.methods.base import Context, Labelled, Method, Setting
from susx_bench.options.batches import Batches
from susx_bench.options.run import FEW_VAL, PACKAGES
from susx_bench.records.files import sha256_arrays, sha256_json
from susx_bench.records.record import SCHEMA, Record, Search, Seconds, pack
from susx_bench.records.store import Predictions
from susx_bench.registry import DATASETS
from susx_bench.runner.together import compose, in_order
from susx_bench.support.fewshot import DrawRule, Pool, draw, draw_coop, tiers
from susx_bench.tuning.choose import Choice, Tune, choose

CONFUSIONS = 20
"""Most frequent wrong answers that a record keeps."""


@dataclass(frozen=True)
class Cell:
    """One number of a table, before it is measured.

    Attributes:
        task: What is classified.
        method: The method's class.
        method_source: sha256 of the file a method was read from; empty for one of ours.
        setting: ``name-only`` or ``few-shot``.
        draw_shots: Support images a class to draw; None takes the support set as it is.
        seed: Which draw; 0 where nothing is drawn.
        draw: How: ``balanced``, ``coop``, or ``file``.
        chosen: Positions in the pool that a file names; None without one.
        tune: Who chooses the hyper-parameters.
        val_shots: Images a class that ``few-val`` looks at; None for min(S, 4).
        official: Whether to reproduce the authors' public code.
        order: Seed of the order of the test images; 0 for the order of the split, and where no
            order matters.
        batches: `Batches` in which the method gets the test set; empty for the whole of it, and
            for a method to which it does not matter.
        plugins: Packages that the method comes from, where it is not ours, and their versions.
        wordless: Why there are no such prompts as the method brings; empty where there are, or it
            brings none. The task has others then.
        extras: `susx_bench.options.recorded.Extras` that are set: the input hash and the record
            have them.
        given: `Record.given`.
    """

    task: Task
    method: type[Method]
    method_source: str
    setting: Setting
    draw_shots: int | None
    seed: int
    draw: DrawRule
    chosen: Tensor | None
    tune: Tune
    val_shots: int | None
    official: bool
    order: int = 0
    batches: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)
    wordless: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.task.pool_labels, self.task.classnames, self.task.where)

    @cached_property
    def _coop(self) -> tuple[Tensor, Tensor]:
        """CoOp's draw from the pool and, with the same stream, from the val split."""
        assert self.draw_shots is not None
        labels = self.task.val_labels
        val = None if labels is None else Pool(labels, self.task.classnames, "val")
        return draw_coop(self._pool, self.draw_shots, self.seed, val)

    @cached_property
    def support(self) -> Tensor:
        """Positions of the support images in the task's pool, ``(M,)``."""
        if "support" not in self.method.needs:
            return torch.zeros(0, dtype=torch.int64)
        if self.chosen is not None:
            return self.chosen
        if self.draw_shots is None:
            return torch.arange(len(self.task.pool_labels))
        if self.draw == "coop":
            return self._coop[0]
        return draw(self._pool, self.draw_shots, self.seed)

    @cached_property
    def parts(self) -> list[Tensor]:
        """The lists of positions in the pool that hold `support`, each encoded together."""
        if self.setting == "name-only" and len(self.support):
            return [torch.arange(len(self.task.pool_labels))]  # small, and made to be used whole
        if self.draw == "balanced" and self.draw_shots is not None and len(self.support):
            return tiers(self._pool, self.draw_shots, self.seed)
        return [self.support] if len(self.support) else []

    @property
    def sees_val(self) -> bool:
        """Whether the method or its tuning looks at the val split."""
        return self.tune in ("val", "few-val")

    @property
    def shots(self) -> int:
        """Support images a class; 0 where there are none, or not equally many."""
        if self.draw_shots is not None and len(self.support):
            return self.draw_shots
        counts = torch.bincount(
            self.task.pool_labels[self.support], minlength=len(self.task.classnames)
        )
        return int(counts[0]) if (counts == counts[0]).all() else 0

    @cached_property
    def few_val(self) -> Tensor:
        """Positions of the val images that ``few-val`` looks at, seeded as the support is."""
        labels = self.task.val_labels
        assert labels is not None
        if self.draw == "coop" and self.draw_shots is not None and self.val_shots is None:
            return self._coop[1]
        shots = self.val_shots or min(self.shots or FEW_VAL, FEW_VAL)
        pool = Pool(labels, self.task.classnames, f"{self.task.dataset} val")
        return draw(pool, shots, self.seed, option="--val-shots")

    @property
    def patches(self) -> frozenset[str]:
        """Of which of ``test`` and ``val`` the method looks at the images' patches."""
        if "spatial" not in self.method.needs:
            return frozenset()
        return frozenset({"test", "val"} if self.sees_val else {"test"})

    def labelled(self, features: Features) -> Labelled | None:
        """The labelled images the tuning looks at, besides the support."""
        if self.tune == "test":
            assert self.task.test_labels is not None
            return self._take(features, "test", features.test, self.task.test_labels)
        if features.val is None or not self.sees_val:
            return None
        val, few = features.val, self.few_val if self.tune == "few-val" else None
        return self._take(features, "val", val.features, val.labels, few)

    def _take(
        self,
        features: Features,
        split: str,
        rows: Tensor,
        labels: Tensor,
        some: Tensor | None = None,
    ) -> Labelled:
        """A copy of images of a split, some or all, with their patches where these are read."""
        if some is None:
            some = torch.arange(len(labels))
        if split not in self.patches:
            return Labelled(rows[some], labels[some])
        patches = features.patches[split]
        each = [row_at(i, rows, patches) for i in some.tolist()]
        return Labelled(torch.stack(each), labels[some])

    @cached_property
    def support_sha256(self) -> str:
        """Hash of which images are the support, in whatever order.

        It covers the pool they come from, their places in it, and their content.
        """
        if "support" not in self.method.needs:
            return sha256_json(None)
        support = self.support.sort().values
        indices = sha256_arrays({"support": support.numpy()})
        return sha256_json([self.task.hashes["pool_sha256"], indices, self.task.content(support)])

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides the record's predictions and its score."""
        task = self.task
        packages = {**self.plugins, **task.plugins}
        return {
            "schema": SCHEMA,
            "method": self.method.name,
            "method_version": self.method.version,
            "method_source": self.method_source,
            "official": self.official,
            "dataset": task.dataset,
            "encoder": task.encoder,
            "classnames": list(task.classnames),
            "prompts": task.prompts,
            "setting": self.setting,
            "support": self.support_name,
            "shots": self.shots,
            "seed": self.seed,
            "tune": self.tune,
            "few_val": self.few_val.tolist() if self.tune == "few-val" else None,
            "block": BLOCK,
            "precision": task.precision,
            "protocol": task.protocol,
            "views": self.views,
            "draw": self.draw_name,
            "split_sha256": task.hashes["split_sha256"],
            "support_sha256": self.support_sha256,
            "prompts_sha256": task.hashes["prompts_sha256"],
            "weights_sha256": task.hashes["weights_sha256"],
            "logit_scale": task.logit_scale,
            # Only where there are any: records without them are found by the same hashes.
            **({"order": self.order} if self.order or self.batches else {}),
            **({"batches": self.batches} if self.batches else {}),
            **({"plugins": packages} if packages else {}),
            **self.extras,
        }

    @cached_property
    def input_sha256(self) -> str:
        """Hash of `inputs`."""
        return sha256_json(self.inputs)

    @property
    def together(self) -> list[Tensor]:
        """Test images that the method is shown together, in their order: positions."""
        if self.batches:
            labels = self.task.test_labels
            assert labels is not None
            return compose(labels, Batches.read(self.batches), self.order)
        return [in_order(self.task.test_size, self.order)]

    @property
    def views(self) -> int:
        """Augmented views a support image is averaged over; 0 without support."""
        return self.task.views if "support" in self.method.needs else 0

    @property
    def draw_name(self) -> str:
        """How the support was drawn; empty where it is used as it is."""
        drawn = "support" in self.method.needs and (self.draw_shots or self.chosen is not None)
        return self.draw if drawn else ""

    @property
    def support_name(self) -> str:
        """The support set's name, ``none`` for a method that looks at none."""
        return self.task.support if "support" in self.method.needs else "none"


@dataclass(frozen=True)
class Measured:
    """What measuring a cell gives.

    Attributes:
        record: Its record, not yet sealed; None where no test labels are known.
        predictions: What lies beside it.
        choice: The hyper-parameters.
    """

    record: Record | None
    predictions: Predictions
    choice: Choice


def measure(cell: Cell, features: Features, launch: Launch, encode_seconds: float) -> Measured:
    """Fit, choose, predict, and only then look at the test labels.

    Args:
        cell: What to measure.
        features: The task's features.
        launch: Where to predict.
        encode_seconds: What encoding took in this run.

    Returns:
        The same on every rank, but for the seconds.
    """
    started = datetime.now().astimezone().isoformat(timespec="milliseconds")
    task = cell.task
    if "norms" in cell.method.needs:
        features = features.in_full()
    labelled = cell.labelled(features)
    wanted = (cell.method.needs | cell.method.uses) & task.gives
    views = prompts = None
    if "support-views" in wanted and cell.parts:
        views = features.support_views(cell.parts, cell.support)
    if "text-prompts" in wanted and features.prompts is not None:
        prompts = [rows.clone() for rows in features.prompts]
    context = Context(
        text=features.text.clone(),  # whatever a method does to its context stays in this cell
        support=features.support(cell.parts, cell.support) if cell.parts else features.text[:0],
        support_labels=task.pool_labels[cell.support],
        logit_scale=task.logit_scale,
        val=labelled if cell.sees_val else None,
        support_views=views,
        text_prompts=prompts,
        dataset=task.dataset,
        in_full="norms" in cell.method.needs,
    )
    method = cell.method()
    method.official = cell.official
    clock = time.perf_counter()
    method.fit(context)
    fit_seconds = time.perf_counter() - clock
    choice = choose(method, context, cell.tune, labelled)

    # Lightning is imported where something is predicted, and nowhere before.
    from susx_bench.features.datamodules import FeatureDataModule, GroupDataModule
    from susx_bench.features.predict import predict
    from susx_bench.runner.classify import Classify

    clock = time.perf_counter()
    patches = features.patches["test"] if cell.patches else None
    data = (
        FeatureDataModule(features.test, patches)
        if method.regime == "inductive"
        else GroupDataModule(features.test, cell.together, patches)
    )
    joined = predict(Classify(method, context, choice.hparams), data, launch)
    predict_seconds = time.perf_counter() - clock

    predictions = Predictions(joined["top1"].numpy(), joined["margin"].numpy())
    if task.test_labels is None:
        return Measured(None, predictions, choice)
    scores = score(joined["top1"], task.test_labels, task.classnames)
    record = Record(
        **scores,
        **cell.extras,
        method=method.name,
        method_version=method.version,
        method_source=cell.method_source,
        regime=method.regime,
        trained=method.trained,
        hparams={name: float(choice.hparams[name]) for name in sorted(choice.hparams)},
        tuned_on=choice.tuned_on,
        search=search_of(choice),
        official=cell.official,
        chosen_here=names_one_of(task.dataset, choice.seen, DATASETS.names()),
        dataset=task.dataset,
        dataset_given=task.given,
        given=dict(cell.given),
        encoder=task.encoder,
        setting=cell.setting,
        prompts=task.prompts,
        support=cell.support_name,
        support_images=len(cell.support),
        shots=cell.shots,
        seed=cell.seed,
        draw=cell.draw_name,
        views=cell.views,
        protocol=task.protocol,
        skipped=list(task.skipped),
        logit_scale=task.logit_scale,
        precision=task.precision,
        order=cell.order,
        batches=cell.batches,
        n_test=task.test_size,
        num_classes=len(task.classnames),
        input_sha256=cell.input_sha256,
        split_sha256=task.hashes["split_sha256"],
        support_sha256=cell.support_sha256,
        prompts_sha256=task.hashes["prompts_sha256"],
        weights_sha256=task.hashes["weights_sha256"],
        predictions_sha256=predictions.sha256,
        versions={**versions(), **cell.plugins, **task.plugins},
        git=git_commit(),
        device=device_name(launch),
        seconds=Seconds(
            encode=encode_seconds,
            fit=fit_seconds,
            search=fit_seconds + choice.seconds,
            predict=predict_seconds,
        ),
        started=started,
    )
    return Measured(record, predictions, choice)


def search_of(choice: Choice) -> Search:
    """The part of a choice that the record keeps."""
    plateau = choice.plateau
    return Search(
        space=choice.space,
        settings=choice.settings,
        images=choice.images,
        score=choice.score,
        note=choice.note,
        ties=plateau.ties if plateau else 0,
        near=plateau.near if plateau else 0,
        ranges=plateau.ranges if plateau else {},
    )


def score(top1: Tensor, labels: Tensor, classnames: Sequence[str]) -> dict[str, Any]:
    """Where predictions meet the labels: what a record says of how right they were.

    Args:
        top1: Predicted classes ``(N,)``.
        labels: True classes ``(N,)``.
        classnames: K names. A class without test images does not count towards the mean over
            classes.
    """
    from torchmetrics.functional.classification import multiclass_accuracy

    right, num_classes = top1 == labels, len(classnames)
    each = multiclass_accuracy(top1, labels, num_classes, average="none")
    sizes = torch.bincount(labels, minlength=num_classes)
    hits = torch.bincount(labels[right], minlength=num_classes)
    wrong = Counter(zip(labels[~right].tolist(), top1[~right].tolist(), strict=True))
    often = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:CONFUSIONS]
    return {
        "correct": int(right.sum()),
        "accuracy": 100 * int(right.sum()) / len(labels),
        "mean_per_class": float(100 * each[sizes > 0].double().mean()),
        "right": pack(right.numpy()),
        "classes": list(zip(classnames, hits.tolist(), sizes.tolist(), strict=True)),
        "confusions": [(classnames[true], classnames[told], n) for (true, told), n in often],
    }


@cache
def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return found | {"python": platform.python_version()}


@cache
def git_commit() -> str:
    """Commit of this package's own checkout (with ``-dirty``), or ``installed``."""
    home = Path(__file__).parents[2]
    if not (home / ".git").exists():
        return "installed"
    try:
        done = subprocess.run(
            [
                "git",
                "-C",
                str(home),
                "describe",
                "--always",
                "--dirty",
                "--abbrev=40",
                "--exclude=*",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "installed"
    return done.stdout.strip()


@cache
def device_name(launch: Launch) -> str:
    """What computed the numbers."""
    if launch.accelerator != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"cpu {platform.machine()}"
