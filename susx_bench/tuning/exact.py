"""The winner of an exhaustive grid, found without visiting the grid.

Where logits are linear in some weights, ``base + sum_i w_i term_i(theta)``, an image is right
exactly where its K - 1 margins (label minus another class), each linear in the weights, are all
positive. So for each setting of the non-linear ones:

1. Most classes never come near the label anywhere in the box of weights. A margin's smallest value
   over the box lies at a corner, so one bound drops them, and with them most images.
2. For the few that stay, all weights but one are enumerated, and along the last one every margin
   allows a half-line: the image is right on an interval. Intervals are added up as differences.
3. Rounding makes an image near a tie uncertain. Every margin is shifted once against and once for
   the image by more than the rounding of both computations, which gives a lower and an upper
   count. Settings whose two counts differ and that could still win are counted again by the
   literal expression of the published loops, so the winner is theirs, ties included.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from susx_bench.methods.base import Axis, Labelled, LinearMethod, SearchSpace

LITERAL_ROWS = 4096
"""Images whose logits the literal expression computes together, in the loops and here alike."""

_SWEEP_ELEMENTS = {"cpu": 2**20}  # prepared numbers a part of the count looks at: cache-sized
_SWEEP_ELEMENTS_GPU = 2**27
_PAIRS = 2**15  # margins turned into intervals at once
_ROUND = 32  # settings counted again before the others are looked at afresh
_ROUNDINGS = 8  # roundings in adding one term, with room to spare


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        index: Grid position of the winner.
        correct: Images the winner gets right.
        lower: For every setting a number of images it gets right at least, of the grid's shape.
        upper: The same, at most. The two are equal for nearly all settings, and for the winner.
        recounted: Settings that were counted again by the literal expression.
    """

    index: tuple[int, ...]
    correct: int
    lower: Tensor
    upper: Tensor
    recounted: int


def exact_search(method: LinearMethod, images: Labelled, space: SearchSpace) -> Found:
    """Find the setting that `susx_bench.tuning.grid.count_correct` would call the best.

    Args:
        method: Fitted; its hyper-parameters are left in no particular state.
        images: What to score.
        space: The grid, with at least one weight.

    Raises:
        ValueError: If the method's terms are not the grid's weights, in its order.
    """
    counter = _Counter(method, space)
    for rows in literal_chunks(method, images):
        counter.add(rows)
    lower, upper = counter.counts()
    recounted = 0
    while True:
        again = _undecided(lower, upper)
        if not len(again):
            break
        again = again[:_ROUND]
        settings = [_position(int(i), space) for i in again]
        counts = literal_counts(method, images, space, settings)
        lower.view(-1)[again] = upper.view(-1)[again] = counts
        recounted += len(again)
    best = int(lower.argmax())  # the first of several
    return Found(_position(best, space), int(lower.view(-1)[best]), lower, upper, recounted)


def _position(flat: int, space: SearchSpace) -> tuple[int, ...]:
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), space.shape))


def _undecided(lower: Tensor, upper: Tensor) -> Tensor:
    """Flat positions of the settings that could still win, the most promising first."""
    low, high = lower.flatten(), upper.flatten()
    sure = low == high
    best = int(low[sure].max()) if sure.any() else -1
    first = int((sure & (low == best)).nonzero()[0]) if best >= 0 else 0
    place = torch.arange(len(low))
    open_ = ~sure & ((high > best) | ((high == best) & (place < first)))
    positions = open_.nonzero().flatten()
    return positions[high[positions].argsort(descending=True, stable=True)]


@dataclass(frozen=True)
class Rows:
    """Images prepared together, and their labels."""

    prepared: tuple[Tensor, ...]
    labels: Tensor

    def split(self, rows: int) -> Iterator[Rows]:
        """Views of `rows` images each."""
        for start in range(0, len(self.labels), rows):
            part = slice(start, start + rows)
            yield Rows(tuple(t[part] for t in self.prepared), self.labels[part])


def literal_chunks(method: LinearMethod, images: Labelled) -> Iterator[Rows]:
    """The images as the literal expression takes them: in chunks, or whole if transductive."""
    if method.regime != "inductive":
        yield from Rows(method.prepare(images.features), images.labels).split(LITERAL_ROWS)
        return
    for start in range(0, len(images.labels), LITERAL_ROWS):
        part = slice(start, start + LITERAL_ROWS)
        yield Rows(method.prepare(images.features[part]), images.labels[part])


def literal_counts(
    method: LinearMethod,
    images: Labelled,
    space: SearchSpace,
    settings: Sequence[tuple[int, ...]],
) -> Tensor:
    """Count what single settings get right, as the published loops do, ``(len(settings),)``."""
    counts = torch.zeros(len(settings), dtype=torch.int64)
    inner = {axis.name for axis in space.weights}
    # Settings that share their non-linear values share their terms.
    order = sorted(range(len(settings)), key=lambda i: _theta(settings[i], space, inner))
    for rows in literal_chunks(method, images):
        for _, group in itertools.groupby(
            order, key=lambda i: _theta(settings[i], space, inner)
        ):
            terms = None
            for i in group:
                setting = space.setting(settings[i])
                if terms is None:
                    method.set(setting)
                    terms = method.terms(rows.prepared)
                top1 = terms.logits(setting).argmax(-1)
                counts[i] += int((top1 == rows.labels).sum())
    return counts


def _theta(index: tuple[int, ...], space: SearchSpace, inner: set[str]) -> tuple[int, ...]:
    return tuple(i for axis, i in zip(space.axes, index, strict=True) if axis.name not in inner)


@dataclass
class _Pairs:
    """Margins that may be negative somewhere in the box: one image against one class each."""

    place: Tensor  # (P,) sweep position * images + image
    base: Tensor  # (P,)
    terms: list[Tensor]  # one (P,) a weight
    base_slack: Tensor  # (P,)
    term_slack: list[Tensor]  # one (P,) a weight


class _Counter:
    """Adds up, over images, where in the grid each is right."""

    def __init__(self, method: LinearMethod, space: SearchSpace) -> None:
        self.method = method
        self.space = space
        self.weights = space.weights
        if not self.weights:
            raise ValueError(f"the grid of '{method.name}' has no weight")
        self.outer = [axis for axis in space.axes if not axis.weight]
        self.thetas: list[dict[str, float]] = [
            {axis.name: value for axis, value in zip(self.outer, values, strict=True)}
            for values in itertools.product(*(axis.values for axis in self.outer))
        ]
        # The longest weight axis becomes intervals, the others are enumerated.
        sizes = [len(axis.values) for axis in self.weights]
        self.line = sizes.index(max(sizes))
        self.listed = [i for i in range(len(self.weights)) if i != self.line]
        self.listed_values = torch.tensor(
            list(itertools.product(*(self.weights[i].values for i in self.listed)))
        )
        self.line_axis = _Line(self.weights[self.line])
        shape = (len(self.thetas), len(self.listed_values), sizes[self.line] + 1)
        self.certain = torch.zeros(len(self.thetas), dtype=torch.int64)
        self.steps = [torch.zeros(shape, dtype=torch.int64) for _ in range(2)]  # lower, upper

    def add(self, rows: Rows) -> None:
        """Count a chunk of images."""
        elements = _SWEEP_ELEMENTS.get(rows.labels.device.type, _SWEEP_ELEMENTS_GPU)
        width = sum(tensor[0].numel() for tensor in rows.prepared)
        for part in rows.split(max(1, elements // width)):
            self._add(part)

    def counts(self) -> tuple[Tensor, Tensor]:
        """Lower and upper count of every setting, of the grid's shape."""
        found = []
        for steps in self.steps:
            along = steps.cumsum(-1)[..., :-1] + self.certain[:, None, None]
            along = along[..., self.line_axis.rank]  # values of an axis may come in any order
            sizes = [len(axis.values) for axis in self.outer]
            sizes += [len(self.weights[i].values) for i in (*self.listed, self.line)]
            names = [axis.name for axis in self.outer]
            names += [self.weights[i].name for i in (*self.listed, self.line)]
            order = [names.index(axis.name) for axis in self.space.axes]
            found.append(along.reshape(sizes).permute(order).contiguous())
        return found[0], found[1]

    def _add(self, rows: Rows) -> None:
        images, own = len(rows.labels), torch.arange(len(rows.labels), device=rows.labels.device)
        largest = [max(abs(v) for v in axis.values) for axis in self.weights]
        pairs: list[_Pairs] = []
        held = 0
        base = _Difference()
        terms = [_Difference() for _ in self.weights]
        for place, part in enumerate(self.method.sweep(rows.prepared, self.thetas)):
            if list(part.weighted) != [axis.name for axis in self.weights]:
                raise ValueError(
                    f"'{self.method.name}' has the terms {list(part.weighted)}, its grid has the "
                    f"weights {[axis.name for axis in self.weights]}, in this order"
                )
            base.take(part.base, rows.labels, None)
            for axis, term in zip(self.weights, terms, strict=True):
                term.take(part.weighted[axis.name], rows.labels, axis)
            slack = base.slack.clone()
            term_slack = []
            for i, axis in enumerate(self.weights):
                given = part.slack.get(axis.name)
                term_slack.append(terms[i].slack if given is None else terms[i].slack + 2 * given)
                slack += largest[i] * term_slack[i]

            lowest = base.lowest
            for term in terms:
                lowest = lowest + term.lowest
            lowest[own, rows.labels] = torch.inf
            image, other = (lowest <= slack[:, None]).nonzero(as_tuple=True)
            self.certain[place] += images - len(torch.unique_consecutive(image))
            pairs.append(
                _Pairs(
                    place * images + image,
                    base.value[image, other],
                    [term.value[image, other] for term in terms],
                    base.slack[image],
                    [bound[image] for bound in term_slack],
                )
            )
            held += len(image)
            if held > _PAIRS // max(1, len(self.listed_values) // 16):
                self._close(pairs, images)
                pairs, held = [], 0
        self._close(pairs, images)

    def _close(self, pairs: Sequence[_Pairs], images: int) -> None:
        """Turn margins into intervals, and intervals into counts."""
        if not pairs:
            return
        place, segment = torch.unique_consecutive(
            torch.cat([p.place for p in pairs]), return_inverse=True
        )
        device = place.device
        base = torch.cat([p.base for p in pairs])[:, None]
        slack = torch.cat([p.base_slack for p in pairs])[:, None]
        listed = self.listed_values.to(device)
        for column, i in enumerate(self.listed):
            weight = listed[:, column]
            base = base + torch.cat([p.terms[i] for p in pairs])[:, None] * weight
            bound = torch.cat([p.term_slack[i] for p in pairs])[:, None]
            slack = slack + bound * weight.abs()
        slope = torch.cat([p.terms[self.line] for p in pairs])[:, None]
        slope_slack = torch.cat([p.term_slack[self.line] for p in pairs])[:, None]
        if self.line_axis.negative:  # a bound that grows with |weight| is not linear: take its top
            slack = slack + slope_slack * self.line_axis.largest
            slope_slack = torch.zeros_like(slope_slack)
        sweep = (place // images).repeat_interleave(base.shape[1])
        column = torch.arange(base.shape[1], device=device).repeat(len(place))
        cell = (sweep * base.shape[1] + column) * self.steps[0].shape[-1]
        for steps, sign in zip(self.steps, (-1, 1), strict=True):
            start, stop = self._interval(
                base + sign * slack, slope + sign * slope_slack, segment, len(place)
            )
            right = stop > start
            flat = steps.view(-1)
            size = len(flat)
            flat += torch.bincount((cell + start)[right], minlength=size).cpu()
            flat -= torch.bincount((cell + stop)[right], minlength=size).cpu()

    def _interval(
        self, base: Tensor, slope: Tensor, segment: Tensor, segments: int
    ) -> tuple[Tensor, Tensor]:
        """Where all margins of a segment are positive, as positions along the line.

        Args:
            base: Margins at weight 0, ``(P, E)``.
            slope: Their slopes, ``(P, 1)``.
            segment: Segment of each pair, ``(P,)``.
            segments: Number of segments.

        Returns:
            First position inside and first position past it, ``(segments * E,)`` each.
        """
        root = -base / slope
        never, always = torch.tensor(torch.inf), torch.tensor(-torch.inf)
        flat_low = torch.where(base > 0, always, never)
        low = torch.where(slope > 0, root, torch.where(slope < 0, always, flat_low))
        high = torch.where(slope < 0, root, never)
        index = segment[:, None].expand_as(low)
        shape = (segments, base.shape[1])
        lows = torch.full(shape, -torch.inf, device=base.device)
        highs = torch.full(shape, torch.inf, device=base.device)
        lows = lows.scatter_reduce(0, index, low, "amax")
        highs = highs.scatter_reduce(0, index, high, "amin")
        return self.line_axis.after(lows.flatten()), self.line_axis.at_or_after(highs.flatten())


class _Difference:
    """Label minus class of one term, and its smallest value in the box; kept while it is the same."""

    def __init__(self) -> None:
        self._term: Tensor | None = None

    def take(self, term: Tensor, labels: Tensor, axis: Axis | None) -> None:
        """Look at a term ``(B, K)``; nothing is done where it is the tensor of the last time."""
        if term is self._term:
            return
        self._term = term
        term = term.float() if term.dtype != torch.float64 else term
        unit = torch.finfo(self._term.dtype).eps
        self.slack = _ROUNDINGS * unit * term.abs().amax(-1)
        self.value = term.gather(1, labels[:, None]) - term
        self.lowest = self.value
        if axis is not None:
            low, high = min(axis.values), max(axis.values)
            self.lowest = torch.minimum(self.value * low, self.value * high)


class _Line:
    """The sorted values of the axis that becomes intervals."""

    def __init__(self, axis: Axis) -> None:
        self.values, order = torch.tensor(axis.values).sort(stable=True)
        self.rank = order.argsort()
        self.negative = bool((self.values < 0).any())
        self.largest = float(self.values.abs().max())

    def after(self, bound: Tensor) -> Tensor:
        """Position of the first value > bound."""
        return torch.searchsorted(self.values.to(bound.device), bound, right=True)

    def at_or_after(self, bound: Tensor) -> Tensor:
        """Position of the first value >= bound."""
        return torch.searchsorted(self.values.to(bound.device), bound)
