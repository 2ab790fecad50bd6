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
   literal expression of the published loops, so the winner is theirs, ties included. Of
   classes that tie the first wins, see `susx_bench.methods.ties`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from susx_bench.methods.base import ROUNDINGS, Axis, Labelled, LinearMethod, SearchSpace, Terms
from susx_bench.methods.ties import top1

LITERAL_ROWS = 4096
"""Images whose logits the literal expression computes together, in the loops and here alike."""

_SWEEP_ELEMENTS = {"cpu": 2**21}  # prepared numbers a part of the count looks at: cache-sized
_SWEEP_ELEMENTS_GPU = 2**27
_MARGINS = 2**20  # margins turned into intervals at once
_SMALLEST = 1e-30
_TOGETHER = 8  # steps of a falling or rising term whose contenders are found in one look
_ROUND = 32  # settings counted again before the others are looked at afresh, at first


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


def exact_search(
    method: LinearMethod, images: Labelled, space: SearchSpace, first: Tensor | None = None
) -> Found:
    """Find the setting that `susx_bench.tuning.grid.count_correct` would call the best.

    Args:
        method: Fitted; its hyper-parameters are left in no particular state.
        images: What to score.
        space: The grid, with at least one weight.
        first: As in `susx_bench.methods.ties.top1`.

    Raises:
        ValueError: If the method's terms are not the grid's weights, in its order.
    """
    counter = _Counter(method, space, first)
    chunks = LiteralChunks(method, images)
    for rows in chunks:
        counter.add(rows)
    lower, upper = counter.counts()
    recounted = 0
    # Each round is twice the last: where nearly all classes tie, as of one text for all, thousands
    # of settings are open, and those that share their non-linear values share a round's work.
    for rounds in itertools.count():
        again = _undecided(lower, upper)
        if not len(again):
            break
        again = again[: _ROUND << rounds]
        settings = [position(int(i), space.shape) for i in again]
        counts = literal_counts(method, chunks, space, settings, first)
        lower.view(-1)[again] = upper.view(-1)[again] = counts
        recounted += len(again)
    best = int(lower.argmax())  # the first of several
    return Found(position(best, space.shape), int(lower.view(-1)[best]), lower, upper, recounted)


def check_terms(method: LinearMethod, terms: Terms, space: SearchSpace) -> None:
    """Check that a method's terms are its grid's weights, in the same order.

    Raises:
        ValueError: If they are not.
    """
    names = [axis.name for axis in space.weights]
    if list(terms.weighted) != names:
        raise ValueError(
            f"'{method.name}' has the terms {list(terms.weighted)}, its grid has the weights "
            f"{names}, in this order"
        )


def position(flat: int, shape: Sequence[int]) -> tuple[int, ...]:
    """Place along each axis of a place in the flattened grid."""
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), tuple(shape)))


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


class LiteralChunks:
    """The images as the literal expression takes them, prepared; to be gone through again.

    Prepared in chunks, each anew every time, so that they are never held all at once: unless one
    chunk holds them all, or the method is transductive and prepares them as a whole.
    """

    def __init__(self, method: LinearMethod, images: Labelled) -> None:
        self._method = method
        self._images = images
        self._whole: Rows | None = None
        if method.regime != "inductive" or len(images.labels) <= LITERAL_ROWS:
            self._whole = Rows(method.prepare(images.features), images.labels)

    def __iter__(self) -> Iterator[Rows]:
        if self._whole is not None:
            yield from self._whole.split(LITERAL_ROWS)
            return
        for start in range(0, len(self._images.labels), LITERAL_ROWS):
            part = slice(start, start + LITERAL_ROWS)
            prepared = self._method.prepare(self._images.features[part])
            yield Rows(prepared, self._images.labels[part])


def literal_counts(
    method: LinearMethod,
    chunks: Iterable[Rows],
    space: SearchSpace,
    settings: Sequence[tuple[int, ...]],
    first: Tensor | None = None,
) -> Tensor:
    """Count what single settings get right, as the published loops do, ``(len(settings),)``."""
    counts = torch.zeros(len(settings), dtype=torch.int64)
    inner = {axis.name for axis in space.weights}
    # Settings that share their non-linear values share their terms.
    order = sorted(range(len(settings)), key=lambda i: _theta(settings[i], space, inner))
    for rows in chunks:
        for _, group in itertools.groupby(order, key=lambda i: _theta(settings[i], space, inner)):
            terms = None
            for i in group:
                setting = space.setting(settings[i])
                if terms is None:
                    method.set(setting)
                    terms = method.terms(rows.prepared)
                winners = top1(terms.logits(setting), first)
                counts[i] += int((winners == rows.labels).sum())
    return counts


def _theta(index: tuple[int, ...], space: SearchSpace, inner: set[str]) -> tuple[int, ...]:
    return tuple(i for axis, i in zip(space.axes, index, strict=True) if axis.name not in inner)


def _places(mask: Tensor) -> Tensor:
    """``mask.flatten().nonzero().flatten()``, for a mask that is nearly all False."""
    flat = mask.view(-1)
    whole = len(flat) // 8 * 8
    words = flat[:whole].view(torch.int64).nonzero().view(-1)  # eight at a time
    inside = flat[:whole].view(-1, 8).index_select(0, words).view(-1).nonzero().view(-1)
    places = words.index_select(0, inside // 8) * 8 + inside % 8
    if whole == len(flat):
        return places
    return torch.cat([places, flat[whole:].nonzero().view(-1) + whole])


@dataclass(frozen=True)
class _Pairs:
    """Images against one class each, at some settings of the non-linear hyper-parameters.

    The columns are the base and then the weights, in the grid's order. A row stands at one of the
    settings; rows are sorted by setting and then by image.
    """

    places: range  # of the settings in the sweep
    step: Tensor  # which of these, (P,)
    image: Tensor  # (P,)
    margins: Tensor  # label minus class, (P, 1 + weights)
    slack: Tensor  # what rounding may change in them, (P, 1 + weights)


@dataclass(frozen=True)
class _Step:
    """The moving term at one setting of the non-linear hyper-parameters."""

    place: int
    logits: Tensor  # (images, K)
    own: Tensor  # at the label, (images, 1)
    slack: Tensor  # (images,)


class _Term:
    """One term of the logits, by which label and class are compared.

    Args:
        axis: Of its weight; None for the base.
        kept: The classes that are compared; None for all.
    """

    def __init__(self, axis: Axis | None, kept: Tensor | None) -> None:
        self._axis = axis
        self._kept = kept
        self._logits: Tensor | None = None

    def take(self, logits: Tensor, labels: Tensor, given_slack: Tensor | None) -> bool:
        """Look at logits ``(B, K)``; whether they are new."""
        if logits is self._logits:
            return False
        self._logits = logits
        if self._kept is not None:
            logits = logits[:, self._kept]
        self.logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        self.own = self.logits.gather(1, labels[:, None])
        if given_slack is None:
            low, high = torch.aminmax(self.logits, dim=-1)
            given_slack = ROUNDINGS * torch.finfo(logits.dtype).eps * torch.maximum(high, -low)
        # Twice for the two logits of a margin, once for what counts as a tie, see `leaders`. The
        # smallest number keeps a tie of zeros a tie.
        self.slack = 3 * given_slack + _SMALLEST
        if bool(self.slack.isnan().any()):
            raise ValueError("a term of the logits is not a number")
        return True

    def extremes(self) -> tuple[Tensor, Tensor]:
        """Smallest margin in the box less its slack and largest plus it, ``(B, K)`` each."""
        margin = self.own - self.logits
        below, above = margin - self.slack[:, None], margin + self.slack[:, None]
        if self._axis is None:
            return below, above
        low, high = min(self._axis.values), max(self._axis.values)
        return torch.minimum(below * low, below * high), torch.maximum(above * low, above * high)


class _Rest:
    """All terms but the moving one, and what they ask of its margins.

    A margin is positive in the whole box of weights where ``rest + w * moving`` is for the
    smallest and the largest w of the moving term, ``rest`` being the smallest value of the others:
    where the moving margin is above `wins`. Below `loses` it is negative in the whole box.
    """

    def __init__(self, columns: Sequence[_Term], moving: int, axis: Axis, labels: Tensor) -> None:
        others = [term for i, term in enumerate(columns) if i != moving]
        rest, best = others[0].extremes()
        for term in others[1:]:
            lowest, highest = term.extremes()
            rest, best = rest + lowest, best + highest
        low, high = min(axis.values), max(axis.values)
        wins = torch.maximum(-rest / low, -rest / high)
        loses = torch.minimum(-best / low, -best / high)
        wins = wins.nan_to_num_(torch.inf, torch.inf, -torch.inf)
        loses = loses.nan_to_num_(-torch.inf, torch.inf, -torch.inf)
        self.wins = wins.scatter_(1, labels[:, None], -torch.inf)
        self.loses = loses.scatter_(1, labels[:, None], -torch.inf)
        empty = torch.zeros_like(rest)
        self.margins = torch.stack(
            [empty if i == moving else term.own - term.logits for i, term in enumerate(columns)],
            dim=-1,
        ).view(-1, len(columns))
        self.slack = torch.stack([term.slack for term in columns], dim=-1)
        self.work = torch.empty_like(rest)
        self.mask = torch.empty_like(rest, dtype=torch.bool)


class _Counter:
    """Adds up, over images, where in the grid each is right."""

    def __init__(self, method: LinearMethod, space: SearchSpace, first: Tensor | None) -> None:
        self.method = method
        # A class that an earlier one stands for is never the answer, and is left out.
        self.kept = self.place = None
        if first is not None:
            is_first = first == torch.arange(len(first), device=first.device)
            if not bool(is_first.all()):
                self.kept, self.place = is_first.nonzero().flatten(), is_first.cumsum(0) - 1
        self.space = space
        self.weights = space.weights
        if not self.weights or min(min(axis.values) for axis in self.weights) < 0:
            raise ValueError(f"the grid of '{method.name}' has no weights, or negative ones")
        self.outer = [axis for axis in space.axes if not axis.weight]
        places = list(itertools.product(*(range(len(axis.values)) for axis in self.outer)))
        turns = sorted(range(len(places)), key=lambda i: self._turn(places[i]))
        self.theta_rank = torch.tensor(turns).argsort()
        self.thetas: list[dict[str, float]] = [
            {axis.name: axis.values[i] for axis, i in zip(self.outer, places[turn], strict=True)}
            for turn in turns
        ]
        # The longest weight axis becomes intervals, the others are enumerated.
        sizes = [len(axis.values) for axis in self.weights]
        self.line = sizes.index(max(sizes))
        self.listed = [i for i in range(len(self.weights)) if i != self.line]
        self.listed_values = torch.tensor(
            list(itertools.product(*(self.weights[i].values for i in self.listed))),
            dtype=torch.float64,
        )
        line = torch.tensor(self.weights[self.line].values, dtype=torch.float64)
        self.line_values, order = line.sort(stable=True)
        self.line_rank = order.argsort()
        shape = (len(self.thetas), len(self.listed_values), sizes[self.line] + 1)
        self.certain = torch.zeros(len(self.thetas), dtype=torch.int64)
        self.steps = [torch.zeros(shape, dtype=torch.int64) for _ in range(2)]  # lower, upper

    def add(self, rows: Rows) -> None:
        """Count a chunk of images."""
        if self.kept is not None and self.place is not None:
            possible = torch.isin(rows.labels, self.kept)
            labels = self.place[rows.labels[possible]]
            rows = Rows(tuple(tensor[possible] for tensor in rows.prepared), labels)
        if not len(rows.labels):
            return
        elements = _SWEEP_ELEMENTS.get(rows.labels.device.type, _SWEEP_ELEMENTS_GPU)
        width = sum(tensor[0].numel() for tensor in rows.prepared)
        for part in rows.split(max(1, elements // width)):
            self._add(part)

    def counts(self) -> tuple[Tensor, Tensor]:
        """Lower and upper count of every setting, of the grid's shape."""
        inner = [self.weights[i] for i in (*self.listed, self.line)]
        axes = [*self.outer, *inner]
        order = [[axis.name for axis in axes].index(axis.name) for axis in self.space.axes]
        grids = []
        for steps in self.steps:
            along = steps.cumsum(-1)[..., :-1] + self.certain[:, None, None]
            along = along[self.theta_rank]
            along = along[..., self.line_rank]  # the values of an axis may come in any order
            along = along.reshape([len(axis.values) for axis in axes])
            grids.append(along.permute(order).contiguous())
        return grids[0], grids[1]

    def _turn(self, place: tuple[int, ...]) -> tuple[int, ...]:
        """When a setting of the non-linear hyper-parameters has its turn, by its place.

        The longest axis goes in runs of `_TOGETHER`, and the others once through each run: the
        steps of a fine axis are small, so that few pairs stay open over a whole run of them.
        """
        if not place:
            return ()
        longest = max(range(len(place)), key=lambda i: len(self.outer[i].values))
        return (
            place[longest] // _TOGETHER,
            *(i for axis, i in enumerate(place) if axis != longest),
            place[longest],
        )

    def _add(self, rows: Rows) -> None:
        labels, images = rows.labels, len(rows.labels)
        columns = [_Term(axis, self.kept) for axis in (None, *self.weights)]
        names = [axis.name for axis in self.weights]
        moving = len(self.weights)
        rest: _Rest | None = None
        pairs: list[_Pairs] = []
        counted = pending = 0  # of `pairs`, and the images in those
        batch: list[_Step] = []
        way = 0  # of the moving term over the batch: 1 rising, -1 falling
        for place, part in enumerate(self.method.sweep(rows.prepared, self.thetas)):
            check_terms(self.method, part, self.space)
            terms = zip(columns, [part.base, *part.weighted.values()], ["", *names], strict=True)
            changed = [
                i
                for i, (term, logits, name) in enumerate(terms)
                if term.take(logits, labels, part.slack.get(name))
            ]
            # The second step shows which term moves; another than the guess costs time, not truth.
            wanted = (changed[-1] or moving) if place == 1 and changed else moving
            if rest is None or wanted != moving or set(changed) - {moving}:
                if rest is not None:
                    pairs.append(self._contenders(batch, rest, moving, way))
                moving, batch = wanted, []
                rest = _Rest(columns, moving, self.weights[moving - 1], labels)
            name = names[moving - 1]
            onward = (name in part.rising) - (name in part.falling)
            turned = len(batch) > 1 and onward != way
            if batch and (len(batch) == _TOGETHER or not onward or turned):
                pairs.append(self._contenders(batch, rest, moving, way))
                batch = []
            way = onward
            term = columns[moving]
            batch.append(_Step(place, term.logits, term.own, term.slack))
            pending += sum(len(p.image) for p in pairs[counted:])
            counted = len(pairs)
            if pending * len(self.listed_values) > _MARGINS:
                self._close(pairs, images)
                pairs, counted, pending = [], 0, 0
        if rest is not None:
            pairs.append(self._contenders(batch, rest, moving, way))
        self._close(pairs, images)

    def _contenders(self, steps: Sequence[_Step], rest: _Rest, moving: int, way: int) -> _Pairs:
        """The pairs whose margin may be negative somewhere in the box, step by step.

        Where the moving term falls from step to step, no class stands higher than at the first
        step and no label lower than at the last, and the other way round where it rises: one look
        finds the pairs of all the steps.
        """
        high, low = (steps[-1], steps[0]) if way > 0 else (steps[0], steps[-1])
        rounding = 4 * torch.stack([step.slack for step in steps]).amax(0)
        # An image that loses to some class in the whole box, at all the steps, is wrong.
        torch.add(low.logits, rest.loses, out=rest.work)
        lost = rest.work.amax(1) > high.own[:, 0] + rounding
        right_or_open = len(lost) - int(lost.sum())
        torch.add(high.logits, rest.wins, out=rest.work)
        torch.ge(rest.work, low.own - rounding[:, None], out=rest.mask)
        flat = _places(rest.mask.logical_and_(~lost[:, None]))
        image = flat // high.logits.shape[1]
        own_logits = torch.stack([step.own.view(-1) for step in steps]).index_select(1, image)
        slack = torch.stack([step.slack for step in steps]).index_select(1, image)
        margin = own_logits - torch.stack(
            [step.logits.reshape(-1).index_select(0, flat) for step in steps]
        )
        places = range(steps[0].place, steps[-1].place + 1)
        self.certain[places.start : places.stop] += right_or_open
        which, pair = (margin - slack <= rest.wins.view(-1)[flat]).nonzero().unbind(1)
        image, moved = image[pair], which * len(flat) + pair
        margins, bounds = (
            rest.margins.index_select(0, flat[pair]),
            rest.slack.index_select(0, image),
        )
        margins[:, moving] = margin.view(-1).index_select(0, moved)
        bounds[:, moving] = slack.view(-1).index_select(0, moved)
        return _Pairs(places, which, image, margins, bounds)

    def _close(self, pairs: Sequence[_Pairs], images: int) -> None:
        """Turn margins into intervals, and intervals into counts."""
        if not any(len(p.image) for p in pairs):
            return
        places = torch.tensor([place for p in pairs for place in p.places])
        before = itertools.accumulate((len(p.places) for p in pairs), initial=0)
        segment = torch.cat(
            [(first + p.step) * images + p.image for first, p in zip(before, pairs, strict=False)]
        )
        device = segment.device
        base, *terms = torch.cat([p.margins for p in pairs]).T.contiguous()
        base_slack, *term_slack = torch.cat([p.slack for p in pairs]).T.contiguous()
        # An image that loses to some class in the whole box is wrong everywhere.
        highest = base + base_slack
        for axis, term, slack in zip(self.weights, terms, term_slack, strict=True):
            margin = term + slack
            highest += torch.maximum(margin * min(axis.values), margin * max(axis.values))
        touched = torch.zeros(len(places) * images, dtype=torch.bool, device=device)
        touched[segment] = True
        lost = torch.zeros_like(touched)
        lost[segment[highest < 0]] = True
        by_place = touched.view(len(places), images).sum(1).cpu()
        self.certain.index_add_(0, places, -by_place)

        keep = ~lost[segment]
        left, segment = torch.unique_consecutive(segment[keep], return_inverse=True)
        base, base_slack = base[keep, None], base_slack[keep, None]
        listed = self.listed_values.to(device, base.dtype)
        for column, i in enumerate(self.listed):
            base = base + terms[i][keep, None] * listed[:, column]
            base_slack = base_slack + term_slack[i][keep, None] * listed[:, column]
        slope, slope_slack = terms[self.line][keep, None], term_slack[self.line][keep, None]
        place = places.to(device)[left // images]
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
        lows = low.new_full((segments, base.shape[1]), -torch.inf)
        lows = lows.scatter_reduce_(0, index, low, "amax").flatten()
        highs = low.new_full((segments, base.shape[1]), torch.inf)
        highs = highs.scatter_reduce_(0, index, high, "amin").flatten()
        line = self.line_values.to(base)
        return torch.searchsorted(line, lows, right=True), torch.searchsorted(line, highs)
