"""WaffleCLIP: random words and characters in place of descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from susx_bench.methods.visdesc import VisDesc


@dataclass
class Waffle(VisDesc):
    r"""The mean cosine with random descriptors, the same for every class, scaled.

    .. math:: \text{logits}_c = s\, \frac{1}{|D|} \sum_{d \in D} f\, w_{cd}^\top

    with :math:`w_{cd}` the unit embedding of "A photo of a *c*, which has *d*." over 15 pairs of
    a random word and random characters, see `susx_bench.prompts.kinds.waffles`. What VisDesc gains
    over this, its descriptions are worth. No hyper-parameter.

    Source:
        Roth et al., *Waffling around for Performance: Visual Classification with Random Words and
        Broad Concepts*, ICCV 2023, arXiv:2306.07282, section 3.2, and the public
        ``waffle_tools.py``.
    """

    name: ClassVar[str] = "waffle"
    prompts: ClassVar[str] = "waffle"
    reference: ClassVar[str] = "roth2023waffling"
