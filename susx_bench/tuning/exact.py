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

_SWEEP_ELEMENTS = {"cpu": 2**21}  # prepared numbers a part of the count looks at: cache-sized
_SWEEP_ELEMENTS_GPU = 2**27
_MARGINS = 2**20  # margins turned into intervals at once
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
        for _, group in itertools.groupby(order, key=lambda i: _theta(settings[i], space, inner)):
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


@dataclass(frozen=True)
class _Pairs:
    """Images against one class each, at one setting of the non-linear hyper-parameters."""

    place: int  # of the setting in the sweep
    image: Tensor  # (P,)
    base: Tensor  # margins at weight 0, (P,)
    terms: list[Tensor]  # slopes of the margins, one (P,) a weight
    base_slack: Tensor  # (images,)
    term_slack: list[Tensor]  # one (images,) a weight


class _Term:
    """One term of the logits; what follows from it is kept while it is the same tensor."""

    def __init__(self, axis: Axis | None) -> None:
        self._axis = axis
        self._logits: Tensor | None = None

    def take(self, logits: Tensor, labels: Tensor, given_slack: Tensor | None) -> bool:
        """Look at logits ``(B, K)``; whether they are new."""
        if logits is self._logits:
            return False
        self._logits = logits
        self.logits = logits if logits.dtype == torch.float64 else logits.float()
        self.own = self.logits.gather(1, labels[:, None])
        if given_slack is None:
            unit = torch.finfo(logits.dtype).eps
            self.slack = _ROUNDINGS * unit * self.logits.abs().amax(-1)
        else:
            self.slack = 2 * given_slack
        return True

    def lowest(self) -> Tensor:
        """Smallest margin in the box, less its slack, ``(B, K)``."""
        margin = self.own - self.logits - self.slack[:, None]
        if self._axis is None:
            return margin
        return torch.minimum(margin * min(self._axis.values), margin * max(self._axis.values))

    def pairs(self, flat: Tensor, image: Tensor) -> Tensor:
        """Margins of some image and class pairs, by position in ``(B, K)``."""
        own = self.own.view(-1).index_select(0, image)
        return own - self.logits.reshape(-1).index_select(0, flat)


class _Counter:
    """Adds up, over images, where in the grid each is right."""

    def __init__(self, method: LinearMethod, space: SearchSpace) -> None:
        self.method = method
        self.space = space
        self.weights = space.weights
        if not self.weights or min(min(axis.values) for axis in self.weights) < 0:
            raise ValueError(f"the grid of '{method.name}' has no weights, or negative ones")
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
        self.line_values, order = torch.tensor(self.weights[self.line].values).sort(stable=True)
        self.line_rank = order.argsort()
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
        inner = [self.weights[i] for i in (*self.listed, self.line)]
        axes = [*self.outer, *inner]
        order = [[axis.name for axis in axes].index(axis.name) for axis in self.space.axes]
        found = []
        for steps in self.steps:
            along = steps.cumsum(-1)[..., :-1] + self.certain[:, None, None]
            along = along[..., self.line_rank]  # the values of an axis may come in any order
            along = along.reshape([len(axis.values) for axis in axes])
            found.append(along.permute(order).contiguous())
        return found[0], found[1]

    def _add(self, rows: Rows) -> None:
        labels, images = rows.labels, len(rows.labels)
        own_places = torch.arange(images, device=labels.device)
        base, terms = _Term(None), [_Term(axis) for axis in self.weights]
        moving, threshold = terms[-1], torch.empty(0)
        largest = [max(axis.values) for axis in self.weights]
        smallest = [min(axis.values) for axis in self.weights]
        pairs: list[_Pairs] = []
        for place, part in enumerate(self.method.sweep(rows.prepared, self.thetas)):
            if list(part.weighted) != [axis.name for axis in self.weights]:
                raise ValueError(
                    f"'{self.method.name}' has the terms {list(part.weighted)}, its grid has the "
                    f"weights {[axis.name for axis in self.weights]}, in this order"
                )
            new = [
                term.take(part.weighted[axis.name], labels, part.slack.get(axis.name))
                for axis, term in zip(self.weights, terms, strict=True)
            ]
            base_is_new = base.take(part.base, labels, None)
            if place == 1 and any(new):
                moving = terms[new.index(True)]
                base_is_new = True
            # A margin stays positive in the whole box where ``rest + w * moving`` does for the
            # smallest and the largest w: where the moving term's margin is above a threshold
            # that changes only when the rest does.
            if base_is_new or any(
                n for n, term in zip(new, terms, strict=True) if term is not moving
            ):
                rest = base.lowest()
                for term in terms:
                    if term is not moving:
                        rest = rest + term.lowest()
                axis = terms.index(moving)
                threshold = torch.maximum(-rest / smallest[axis], -rest / largest[axis])
                threshold = threshold.nan_to_num(torch.inf, torch.inf, -torch.inf)
                threshold[own_places, labels] = -torch.inf
            stays = moving.own - moving.slack[:, None]
            flat = (moving.logits + threshold >= stays).view(-1).nonzero().flatten()
            image = flat // moving.logits.shape[1]
            self.certain[place] += images
            if len(flat):
                pairs.append(
                    _Pairs(
                        place,
                        image,
                        base.pairs(flat, image),
                        [term.pairs(flat, image) for term in terms],
                        base.slack,
                        [term.slack for term in terms],
                    )
                )
            if sum(len(p.image) for p in pairs) * len(self.listed_values) > _MARGINS:
                self._close(pairs, images)
                pairs = []
        self._close(pairs, images)

    def _close(self, pairs: Sequence[_Pairs], images: int) -> None:
        """Turn margins into intervals, and intervals into counts."""
        if not pairs:
            return
        base = torch.cat([p.base for p in pairs])
        device = base.device
        segment = torch.cat([i * images + p.image for i, p in enumerate(pairs)])
        terms = [torch.cat(parts) for parts in zip(*(p.terms for p in pairs), strict=True)]
        base_slack = torch.cat([p.base_slack for p in pairs])[segment]
        term_slack = [
            torch.cat(parts)[segment] for parts in zip(*(p.term_slack for p in pairs), strict=True)
        ]
        # An image that loses to some class in the whole box is wrong everywhere.
        highest = base + base_slack
        for axis, term, slack in zip(self.weights, terms, term_slack, strict=True):
            margin = term + slack
            highest += torch.maximum(margin * min(axis.values), margin * max(axis.values))
        touched = torch.zeros(len(pairs) * images, dtype=torch.bool, device=device)
        touched[segment] = True
        lost = torch.zeros_like(touched)
        lost[segment[highest < 0]] = True
        by_place = touched.view(len(pairs), images).sum(1).cpu()
        self.certain.index_add_(0, torch.tensor([p.place for p in pairs]), -by_place)

        keep = ~lost[segment]
        left, segment = torch.unique_consecutive(segment[keep], return_inverse=True)
        base, base_slack = base[keep, None], base_slack[keep, None]
        listed = self.listed_values.to(device)
        for column, i in enumerate(self.listed):
            base = base + terms[i][keep, None] * listed[:, column]
            base_slack = base_slack + term_slack[i][keep, None] * listed[:, column]
        slope, slope_slack = terms[self.line][keep, None], term_slack[self.line][keep, None]
        place = torch.tensor([p.place for p in pairs], device=device)[left // images]
        width = self.steps[0].shape[-1]
        cell = place[:, None] * len(listed) + torch.arange(len(listed), device=device)
        cell = cell.flatten() * width
        for steps, sign in zip(self.steps, (-1, 1), strict=True):
            start, stop = self._interval(
                base + sign * base_slack, slope + sign * slope_slack, segment, len(left)
            )
            right = stop > start
            flat = steps.view(-1)
            flat += torch.bincount((cell + start)[right], minlength=len(flat)).cpu()
            flat -= torch.bincount((cell + stop)[right], minlength=len(flat)).cpu()

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
        rises, falls = slope > 0, slope < 0
        root = -base / slope
        low = root.masked_fill(~rises, -torch.inf)
        if not bool((rises | falls).all()):
            low = low.masked_fill(~rises & ~falls & (base <= 0), torch.inf)
        high = root.masked_fill_(~falls, torch.inf)
        index = segment[:, None].expand_as(low)
        lows = torch.full((segments, base.shape[1]), -torch.inf, device=base.device)
        lows = lows.scatter_reduce_(0, index, low, "amax").flatten()
        highs = torch.full((segments, base.shape[1]), torch.inf, device=base.device)
        highs = highs.scatter_reduce_(0, index, high, "amin").flatten()
        line = self.line_values.to(base.device)
        return torch.searchsorted(line, lows, right=True), torch.searchsorted(line, highs)
