"""What a method is: text and support in, logits out, no gradient and no test label."""

from __future__ import annotations

import dataclasses
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from susx_bench.methods.checks import check_labels, check_range, check_rows, check_tensor

Setting = Literal["name-only", "few-shot"]
Regime = Literal["inductive", "transductive", "streaming"]
Need = Literal["text", "support", "val", "support-views", "text-prompts", "spatial", "norms"]


@dataclass(frozen=True)
class Labelled:
    """Labelled image features.

    Attributes:
        features: L2-normalised, ``(V, D)``; as of the images in `Method` where it needs more.
        labels: ``(V,)`` integers in ``[0, K)``, kept as int64.

    Raises:
        TypeError: If one is no tensor, or not of floats and integers.
        ValueError: If they are not one label per row, or a label is below 0.
    """

    features: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        features = check_tensor("features", self.features)
        labels = check_labels("labels", self.labels, features, "features")
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "labels", labels)

    def check(self, context: Context) -> None:
        """Check that they are of the task of a context.

        Raises:
            TypeError: If their precision is not that of the text.
            ValueError: If width or device are not, a row has not the length that those of the
                context have, or a label is not one of its classes.
        """
        shape = "(V, D)" if self.features.ndim == 2 else "(V, 1 + P, D)"
        unit = not context.in_full
        check_rows("features", self.features, shape, context.text, unit=unit)
        check_range("labels", self.labels, context.num_classes)


@dataclass(frozen=True)
class Context:
    """Everything a method may look at. There is no test image and no test label in it.

    Attributes:
        text: L2-normalised text features :math:`W`, one per class, ``(K, D)``; ``(0, D)`` where the
            encoder reads no text.
        support: L2-normalised support features :math:`F`, ``(M, D)``; ``(0, D)`` where there are
            none.
        support_labels: ``(M,)`` int64 in ``[0, K)``.
        logit_scale: CLIP's factor on the cosine, > 0; 100 for OpenAI's models.
        val: Labelled validation features, only where the tuning may see them.
        support_views: L2-normalised features of the views that each support row is the mean of,
            ``(M, A, D)``; for a method that needs or uses ``support-views``, else None.
        text_prompts: L2-normalised features of each class's single prompts, K tensors
            ``(T_k, D)``, whose mean is `text`; for one that needs or uses ``text-prompts``, else
            None.
        dataset: The dataset's name, by which a method finds a grid published for it.
        in_full: Whether the rows of text, support and val are as long as the encoder made them, as
            methods with the need ``norms`` take them.
        classes: K; 0 for as many as `text` has, which has them all or none.

    What is given is checked here once, for every method: labels of another integer type become
    int64, and all else is as described, or refused.

    Raises:
        TypeError: If something is no tensor, such as a NumPy array, or of another type than said;
            all features have one precision.
        ValueError: If a shape, a width or a device is another than the text's, a row has another
            length than 1 or is not finite, or a label is not one of the classes.
    """

    text: Tensor
    support: Tensor
    support_labels: Tensor
    logit_scale: float = 100.0
    val: Labelled | None = None
    support_views: Tensor | None = None
    text_prompts: Sequence[Tensor] | None = None
    dataset: str = ""
    in_full: bool = False
    classes: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.in_full, bool):
            raise TypeError(f"in_full is a {type(self.in_full).__name__}, not True or False.")
        if isinstance(self.classes, bool) or not isinstance(self.classes, int):
            raise TypeError(
                f"classes is a {type(self.classes).__name__}; it is a number of classes."
            )
        unit = not self.in_full
        text = check_rows("text", self.text, "(K, D)", unit=unit)
        classes = self.classes or len(text)
        if classes < 2:
            raise ValueError(f"text has {len(text)} rows; a task has at least 2 classes.")
        if len(text) not in (0, classes):
            raise ValueError(f"text has {len(text)} rows for {classes} classes.")
        object.__setattr__(self, "classes", classes)
        support = check_rows("support", self.support, "(M, D)", text, unit=unit)
        labels = check_labels("support_labels", self.support_labels, support, "support")
        check_range("support_labels", labels, classes)
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "support", support)
        object.__setattr__(self, "support_labels", labels)
        scale = self.logit_scale
        if isinstance(scale, bool) or not isinstance(scale, int | float):
            raise TypeError(f"logit_scale is a {type(scale).__name__}; it is a number above 0.")
        if not 0 < scale <= _LARGEST:
            raise ValueError(f"logit_scale is {scale!s:.40}; it is a number above 0.")
        if self.val is not None:
            if not isinstance(self.val, Labelled):
                raise TypeError(f"val is a {type(self.val).__name__}, not Labelled.")
            self.val.check(self)
        if (views := self.support_views) is not None:
            views = check_rows("support_views", views, "(M, A, D)", text)
            object.__setattr__(self, "support_views", views)
            if len(views) != len(support):
                raise ValueError(
                    f"support_views has views of {len(views)} images, support has {len(support)}. "
                    "Context.part takes some images and their views."
                )
        if (prompts := self.text_prompts) is not None:
            if len(prompts) != len(text):
                raise ValueError(
                    f"text_prompts has prompts of {len(prompts)} classes, text has {len(text)}."
                )
            prompts = [check_rows("text_prompts", rows, "(T, D)", text) for rows in prompts]
            object.__setattr__(self, "text_prompts", prompts)

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return self.classes

    @property
    def has_text(self) -> bool:
        """Whether there are text features."""
        return bool(len(self.text))

    @property
    def shots(self) -> float:
        """Mean number of support images per class, M / K."""
        return self.support.shape[0] / self.num_classes

    def to(self, device: torch.device) -> Context:
        """Copy with every tensor on `device`."""
        val, views, prompts = self.val, self.support_views, self.text_prompts
        return dataclasses.replace(
            self,
            text=self.text.to(device),
            support=self.support.to(device),
            support_labels=self.support_labels.to(device),
            val=val and Labelled(val.features.to(device), val.labels.to(device)),
            support_views=None if views is None else views.to(device),
            text_prompts=None if prompts is None else [rows.to(device) for rows in prompts],
        )

    def part(self, rows: Tensor) -> Context:
        """The same with some of the support images: a mask ``(M,)``, or their positions."""
        views = self.support_views
        return dataclasses.replace(
            self,
            support=self.support[rows],
            support_labels=self.support_labels[rows],
            support_views=None if views is None else views[rows],
        )

    def as_needed(self, needs: Set[Need]) -> Context:
        """The same, without support where `needs` does not name it."""
        return self if "support" in needs else self.part(self.support_labels[:0])


@dataclass(frozen=True)
class Axis:
    """The values one hyper-parameter may take, in the order a loop would meet them.

    Attributes:
        name: The method's attribute it sets.
        values: What it may be.
        weight: Whether the logits are linear in it: ``logits = base + value * term``.
    """

    name: str
    values: tuple[float, ...]
    weight: bool = False

    @classmethod
    def even(cls, name: str, low: float, high: float, steps: int, *, weight: bool = False) -> Axis:
        """`steps` values from `low`, `high` left out: ``low + i (high - low) / steps``."""
        return cls(name, tuple(i * (high - low) / steps + low for i in range(steps)), weight)


@dataclass(frozen=True)
class SearchSpace:
    """A grid of hyper-parameters.

    Attributes:
        axes: Outermost loop first; where settings tie, the first one met wins.
        source: Whose grid it is, for the record.
    """

    axes: tuple[Axis, ...]
    source: str

    @property
    def size(self) -> int:
        """Number of settings."""
        size = 1
        for axis in self.axes:
            size *= len(axis.values)
        return size

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values along each axis."""
        return tuple(len(axis.values) for axis in self.axes)

    @property
    def weights(self) -> tuple[Axis, ...]:
        """The axes the logits are linear in."""
        return tuple(axis for axis in self.axes if axis.weight)

    def setting(self, index: Sequence[int]) -> dict[str, float]:
        """Hyper-parameters at one grid point, by position along each axis."""
        return {axis.name: axis.values[i] for axis, i in zip(self.axes, index, strict=True)}


class Follows(float):
    """The default of a hyper-parameter that follows the task: `fit` gives it its `fixed` value.

    Before that it is what the class writes, and `fixed` starts from. A value that a user gives is
    a plain number, and stays.
    """


ROUNDINGS = 8
"""Roundings in adding up to five terms of the logits."""


@dataclass(frozen=True)
class Terms:
    """Logits taken apart: ``base + sum_i weight_i * weighted[i]``.

    Attributes:
        base: ``(B, K)``.
        weighted: For each linear weight by name, its term ``(B, K)``; added in this order, the
            order of the weights in the method's grid.
        slack: For a term that `LinearMethod.sweep` computed another way than
            `LinearMethod.terms`, how far the two may lie apart by rounding, ``(B,)``; not less
            than `ROUNDINGS` times the precision of the largest number in the row.
        falling: Terms that are nowhere larger than a step of the sweep before, but for rounding.
        rising: Terms that are nowhere smaller.
    """

    base: Tensor
    weighted: dict[str, Tensor] = field(default_factory=dict)
    slack: dict[str, Tensor] = field(default_factory=dict)
    falling: frozenset[str] = frozenset()
    rising: frozenset[str] = frozenset()

    def logits(self, weights: Mapping[str, float]) -> Tensor:
        """Put the logits together, ``(B, K)``, as the published loops write them."""
        out = self.base
        for name, term in self.weighted.items():
            out = out + term * weights[name]
        return out


class UnfitError(ValueError):
    """A method is not defined on a context. `Method.fit` may raise it, with the reason.

    Whether it does may depend on the support alone, so that every process finds the same; the
    cell stays blank, with the reason beside it.
    """


class Method(ABC):
    """A classifier on CLIP features, training-free unless it says `trained`.

    `needs` names what a method cannot do without: where a task lacks it, the cell stays blank.
    `uses` names what it takes where a task has it: the hashes in a record tell whether it had. The
    views of the support and the single prompts are handed to those methods alone that name them.
    Two needs change the rows of the images that a method scores or is tuned on:

    - ``spatial``: ``(B, 1 + P, D)``, the image's feature followed by those of its P patches, all
      L2-normalised, the patches to half precision.
    - ``norms``: all rows, also those of text and support, are as long as the encoder made them: a
      row that is the mean of views or prompts is as long as these are on average.

    A method whose `fit` takes gradient steps on weights says `trained`: it is measured under the
    same rules, marked in every table, and never ranked beside those that do not.

    A method that is a text classifier says with `prompts` which kind of prompts it brings; all
    others have those that the user asked for.

    A subclass needs a `name`, `fit` and `logits`; all else has a default. Hyper-parameters are
    plain attributes (most simply: fields of a dataclass) which a tuning sets between `fit` and
    `logits`, so `fit` does not read the ones that `space` lists. Their defaults are the one
    setting that `fixed` gives, see `Follows` where that depends on the task.

    A method whose logits are no linear function of the image's feature may say with `nonlinear`
    what in them bends; the message of a failed export repeats it.

    The softmax of the logits are a method's probabilities: their scale is its own temperature. A
    method whose scores are something else says with `no_logits` what they are, in a few words such
    as "sums of probabilities"; then its likelihood and its calibration error stay blank.

    `seen` names the datasets with an eye on which a constant of the method was chosen; the
    docstring says by whom. There its number is no independent evidence: tables mark it and do not
    rank it. This concerns ``fixed``, and ``support`` which begins there, and with `seen_always`
    every tuning: the constant is none that a search chooses.

    What `fit` and `logits` are given is checked before a subclass sees it: a tensor of another
    kind, width, precision, device or length than the context's is a `TypeError` or a `ValueError`.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    settings: ClassVar[frozenset[Setting]] = frozenset({"name-only", "few-shot"})
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "support"})
    uses: ClassVar[frozenset[Need]] = frozenset()
    prompts: ClassVar[str] = ""
    trained: ClassVar[bool] = False
    nonlinear: ClassVar[str] = ""
    no_logits: ClassVar[str] = ""
    seen: ClassVar[frozenset[str]] = frozenset()
    seen_always: ClassVar[bool] = False
    regime: Regime = "inductive"
    reference: ClassVar[str] = ""

    _like: Tensor  # (0, D), of the kind that the images must be

    official: bool = False
    """Whether to reproduce the authors' public code, its faults included."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, guarded in (("fit", _guarded_fit), ("logits", _guarded_logits)):
            own = vars(cls).get(name)
            if own is not None and not hasattr(own, "__wrapped__"):
                setattr(cls, name, guarded(own))

    @abstractmethod
    def fit(self, context: Context) -> None:
        """Take in text and support. Called once, before any `logits`."""

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Score L2-normalised image features ``(B, D)``: logits ``(B, K)``.

        The features are others where the method needs ``spatial`` or ``norms``, see the class.
        """

    def space(self, context: Context) -> SearchSpace | None:
        """The published grid for this task, or None where there is nothing to choose."""
        return None

    def fixed(self, context: Context) -> dict[str, float]:
        """The one documented setting for every dataset, encoder and shot count.

        A method that overrides it marks the defaults it changes with `Follows`.
        """
        return type(self)().hparams

    def scaled(self, context: Context, multiples: Mapping[str, float]) -> dict[str, float]:
        """`fixed` with some hyper-parameters multiplied, for a search around it."""
        fixed = self.fixed(context)
        return fixed | {name: fixed[name] * multiple for name, multiple in multiples.items()}

    def from_support(self, context: Context) -> dict[str, float] | None:
        """What ``support`` chooses, of a method with a way of its own; None has it cross-validated.

        Asked for where every class has some support images, see `susx_bench.tuning.support`.
        """
        return None

    def published(self, dataset: str) -> dict[str, float] | None:
        """The constants a paper gives for a dataset, or None where it gives none."""
        return None

    @property
    def tunable(self) -> bool:
        """Whether there is a grid to choose from."""
        return type(self).space is not Method.space

    @property
    def hparams(self) -> dict[str, float]:
        """The hyper-parameters as they stand: the numeric fields of a dataclass."""
        if not dataclasses.is_dataclass(self):
            return {}
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            name: value
            for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }

    def _check_hparams(self) -> None:
        """Refuse a hyper-parameter that is no finite number, where its default is one."""
        if not dataclasses.is_dataclass(self):
            return
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if type(each.default) not in (int, float, Follows) or value is each.default:
                continue
            if not isinstance(value, int | float):
                raise TypeError(
                    f"{self.name}: {each.name} is a {type(value).__name__}; it is a number."
                )
            if not math.isfinite(value):
                raise ValueError(f"{self.name}: {each.name} is {value}; it is a finite number.")

    def set(self, hparams: Mapping[str, float]) -> None:
        """Set hyper-parameters by name.

        Raises:
            AttributeError: If the method has no such attribute.
        """
        for name, value in hparams.items():
            if not hasattr(self, name):
                raise AttributeError(f"method '{self.name}' has no hyper-parameter '{name}'")
            setattr(self, name, value)


_LONGEST, _LARGEST = 1000, 1e12
"""Characters of a text, and size of a number, that a record takes at most."""

_Fit = Callable[[Any, Context], None]
_Logits = Callable[[Any, Tensor], Tensor]


def _guarded_fit(fit: _Fit) -> _Fit:
    """`Method.fit`, with what it is given checked, and defaults that follow the task set."""

    @functools.wraps(fit)
    def guarded(self: Method, context: Context) -> None:
        if type(self).fit is not guarded:  # called by that of a subclass, which is guarded
            fit(self, context)
            return
        if not isinstance(context, Context):
            raise TypeError(f"{self.name}.fit takes a Context, not a {type(context).__name__}.")
        self._check_hparams()
        if context.in_full and "norms" not in self.needs:
            raise ValueError(f"{self.name} takes rows of length 1; this context is in_full.")
        if "norms" in self.needs and not context.in_full:
            raise ValueError(
                f"{self.name} takes rows as long as the encoder made them. Give those of text, "
                "support and val before they are L2-normalised, and Context(..., in_full=True)."
            )
        if "text" in self.needs and not context.has_text:
            raise ValueError(f"{self.name} needs text features, and this context has none.")
        self._like = context.text[:0]
        fit(self, context)
        follow = [name for name, value in self.hparams.items() if isinstance(value, Follows)]
        if follow:
            fixed = self.fixed(context)
            self.set({name: Follows(fixed[name]) for name in follow})

    return guarded


def _guarded_logits(logits: _Logits) -> _Logits:
    """`Method.logits`, with the images checked."""

    @functools.wraps(logits)
    def guarded(self: Method, images: Tensor) -> Tensor:
        if type(self).logits is guarded:
            if not hasattr(self, "_like"):
                raise ValueError(f"{self.name} is not fitted. Call fit(context) first.")
            shape = "(B, 1 + P, D)" if "spatial" in self.needs else "(B, D)"
            unit = "norms" not in self.needs
            images = check_rows("images", images, shape, self._like, unit=unit)
            if not len(images):
                raise ValueError("images has no row. Give at least one.")
        return logits(self, images)

    return guarded


class LinearMethod(Method):
    """A method whose logits are linear in some of its hyper-parameters.

    It gives `terms` instead of `logits`, and the grid, the exact search and every tuning then
    work for it without a line of their own. Work that no hyper-parameter changes goes into
    `prepare`, which a search calls once.
    """

    def prepare(self, images: Tensor) -> tuple[Tensor, ...]:
        """What `terms` needs of image features ``(B, D)``: tensors with a row per image.

        By default the features themselves.
        """
        return (images,)

    @abstractmethod
    def terms(self, prepared: tuple[Tensor, ...]) -> Terms:
        """The parts of the logits at the current non-linear hyper-parameters."""

    def sweep(
        self, prepared: tuple[Tensor, ...], settings: Sequence[Mapping[str, float]]
    ) -> Iterator[Terms]:
        """`terms` at one setting of the non-linear hyper-parameters after another.

        A method may override this where neighbouring settings share work. A term that does not
        change is best the same tensor every time: a search then looks at it once.
        """
        for setting in settings:
            self.set(setting)
            yield self.terms(prepared)

    def logits(self, images: Tensor) -> Tensor:
        return self.terms(self.prepare(images)).logits(self.hparams)


def fault(candidate: object) -> str:
    """Why something cannot be used as a method; empty where it can."""
    if not (isinstance(candidate, type) and issubclass(candidate, Method)):
        return "it is not a subclass of susx_bench.Method"
    if not isinstance(getattr(candidate, "name", None), str) or not candidate.name:
        return "it has no name; give it one as in: name = 'mine'"
    try:
        made = candidate()
    except Exception as error:  # whatever a stranger's class raises
        return f"{candidate.__name__}() fails: {error!r}"
    for attribute, kind in (("settings", Setting), ("needs", Need), ("uses", Need)):
        known, said = get_args(kind), getattr(candidate, attribute)
        if not isinstance(said, Set) or not said <= set(known):
            return f"its {attribute} are {said!r}, not a set of some of {', '.join(known)}"
    if made.regime not in get_args(Regime):
        return f"its regime is {made.regime!r}, not one of {', '.join(get_args(Regime))}"
    seen = candidate.seen
    if not isinstance(seen, Set) or not all(isinstance(name, str) for name in seen):
        return f"its seen is {seen!r}, not a set of names of datasets"
    for attribute in ("trained", "seen_always"):
        if not isinstance(value := getattr(candidate, attribute), bool):
            return f"its {attribute} is {value!r}, not True or False"
    for attribute in ("name", "version", "reference"):
        if not isinstance(text := getattr(candidate, attribute), str):
            return f"its {attribute} is no text"
        if len(text) > _LONGEST:
            return f"its {attribute} has {len(text):,} characters, at most {_LONGEST:,} are taken"
    for name, value in made.hparams.items():
        if not abs(value) <= _LARGEST:  # NaN too
            return f"its {name} is {value!s:.40}, not a number of at most {_LARGEST:g}"
    return ""
