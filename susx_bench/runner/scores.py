"""Compare predictions with the labels: the scores of a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from susx_bench.records.record import pack

CONFUSIONS: Final = 20
"""Number of most frequent wrong answers in a record."""
TOP: Final = 5
"""Number of classes among which the true one must be for the top-5 accuracy."""
BINS: Final = 15
"""Bins of equal width of the expected calibration error, as usual."""

_ROWS: Final = 4096  # images in double precision at once; the values do not depend on it


def score(
    top1: Tensor,
    logits: Tensor,
    labels: Tensor,
    classnames: Sequence[str],
    no_logits: str = "",
) -> dict[str, Any]:
    """Compute the scores in a record, from all test images at once.

    Args:
        top1: Predicted classes ``(N,)``.
        logits: The method's scores ``(N, K)``.
        labels: True classes ``(N,)``.
        classnames: K names. A class without test images does not count towards the mean over
            classes.
        no_logits: `Method.no_logits`: the reason why the softmax of the scores is no probability.

    Returns:
        Fields of `susx_bench.records.record.Record`. Each is counted or summed over all images in
        double precision, so that batches and devices change none.
    """
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

    right, num_classes = top1 == labels, len(classnames)
    class_accuracy = multiclass_accuracy(top1, labels, num_classes, average="none")
    f1 = multiclass_f1_score(top1, labels, num_classes, average="none").double()
    sizes = torch.bincount(labels, minlength=num_classes)
    hits = torch.bincount(labels[right], minlength=num_classes)
    seen = sizes + torch.bincount(top1, minlength=num_classes) > 0
    nll, ece = likelihood(logits, labels, top1, no_logits)
    others = {"top5": top5(logits, labels, right), "nll": nll, "ece": ece}
    wrong = Counter(zip(labels[~right].tolist(), top1[~right].tolist(), strict=True))
    often = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:CONFUSIONS]
    return {
        "n_test": len(labels),
        "correct": int(right.sum()),
        "accuracy": 100 * int(right.sum()) / len(labels),
        "mean_per_class": float(100 * class_accuracy[sizes > 0].double().mean()),
        "macro_f1": float(100 * f1[seen].mean()),
        **{name: value for name, value in others.items() if not isinstance(value, str)},
        "blank": {name: why for name, why in others.items() if isinstance(why, str)},
        "right": pack(right.numpy()),
        "classes": list(zip(classnames, hits.tolist(), sizes.tolist(), strict=True)),
        "confusions": [(classnames[true], classnames[answer], n) for (true, answer), n in often],
    }


def score_open(
    top1: Tensor,
    logits: Tensor,
    labels: Tensor,
    classnames: Sequence[str],
    no_logits: str = "",
) -> dict[str, Any]:
    """Compute `score` of the known images alone, and how well unknown ones are detected.

    Args:
        top1: Predicted classes ``(N,)``.
        logits: The method's scores ``(N, K)``.
        labels: True classes ``(N,)``, negative for an image of no known class.
        classnames: K names.
        no_logits: As of `score`.
    """
    known = labels >= 0
    if bool(known.all()):
        return score(top1, logits, labels, classnames, no_logits)
    values = score(top1[known], logits[known], labels[known], classnames, no_logits)
    values["n_unknown"] = int((~known).sum())
    if no_logits:
        return values | {"blank": values["blank"] | {"auroc": no_logits, "fpr95": no_logits}}
    return values | open_set(confidence(logits, top1), known)


def open_set(confidence: Tensor, known: Tensor) -> dict[str, float]:
    """Measure how well confidence separates known from unknown images, in percent.

    Args:
        confidence: ``(N,)``; higher is more certain.
        known: Whether an image is of a known class, ``(N,)``; both values must occur.

    Returns:
        ``auroc``, the probability that a known image has a higher confidence than an unknown one,
        ties counted half; ``fpr95``, the share of unknown images at or above the highest threshold
        that 95 % of the known images reach.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    scores, target = confidence.numpy(), known.numpy()
    wrong, right, _ = roc_curve(target, scores, drop_intermediate=False)
    return {
        "auroc": 100 * float(roc_auc_score(target, scores)),
        "fpr95": 100 * float(wrong[(right >= 0.95).argmax()]),
    }


def top5(logits: Tensor, labels: Tensor, right: Tensor) -> float | str:
    """Percent of images whose true class is among the five of the highest logits.

    Of equal logits the first class counts as the higher one.

    Args:
        logits: ``(N, K)``.
        labels: ``(N,)``.
        right: Whether the answer is the true class, ``(N,)``. Such an image counts even if only
            rounding or the order of the classes decided the answer, see `susx_bench.methods.ties`.

    Returns:
        The percentage; with five classes or fewer the reason why there is none.
    """
    num_classes = logits.shape[1]
    if num_classes <= TOP:
        return f"of {num_classes} classes all are among the first {TOP}"
    true_logit = logits.gather(1, labels[:, None])
    before = torch.arange(num_classes) < labels[:, None]
    rank = ((logits > true_logit) | ((logits == true_logit) & before)).sum(-1)
    return 100 * int(((rank < TOP) | right).sum()) / len(labels)


def confidence(logits: Tensor, top1: Tensor) -> Tensor:
    """Probability of the answer under the softmax of the logits, ``(N,)`` in double precision.

    Args:
        logits: ``(N, K)``, as the method gives them: their scale is the method's own temperature.
        top1: The answers ``(N,)``.
    """
    return _log_probability(logits, top1).exp()


def likelihood(
    logits: Tensor, labels: Tensor, top1: Tensor, no_logits: str = ""
) -> tuple[float | str, float | str]:
    """Mean negative log-likelihood and expected calibration error, at the method's temperature.

    Args:
        logits: ``(N, K)``, as the method gives them: their scale is the method's own temperature.
        labels: ``(N,)``.
        top1: The answers ``(N,)``.
        no_logits: `Method.no_logits`.

    Returns:
        The likelihood in nats; the error over `BINS` bins, L1 norm, in percentage points. A reason
        stands in place of a value that is undefined.
    """
    from torchmetrics.functional.classification import binary_calibration_error

    if no_logits:
        return no_logits, no_logits
    # The answers are given, so that a tie is decided once: binary calibration of right or wrong.
    error = binary_calibration_error(
        confidence(logits, top1), (top1 == labels).long(), n_bins=BINS, norm="l1"
    )
    loss = -_log_probability(logits, labels)
    impossible = int(loss.isinf().sum())
    if impossible:
        return f"{impossible} of {len(labels)} test images have probability 0", 100 * float(error)
    return float(loss.mean().clamp(min=0)), 100 * float(error)


def _log_probability(logits: Tensor, classes: Tensor) -> Tensor:
    """Log-probability of a class for each image, ``(N,)`` in double precision."""
    parts = [
        rows.double().log_softmax(-1).gather(1, own[:, None])[:, 0]
        for rows, own in zip(torch.split(logits, _ROWS), torch.split(classes, _ROWS), strict=True)
    ]
    # Where no class has a finite logit, none has a probability.
    return torch.cat(parts).nan_to_num(nan=-torch.inf, neginf=-torch.inf)
