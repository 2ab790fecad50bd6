"""CuPL: sentences of a language model in place of templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from susx_bench.methods.zero_shot import ZeroShot


@dataclass
class CuPL(ZeroShot):
    r"""Zero-shot with the mean of the embeddings of a language model's sentences.

    .. math::
        \text{logits} = s\, f W^\top, \qquad
        W_c = \frac{\sum_t w_{ct}}{\bigl\|\sum_t w_{ct}\bigr\|}

    over the unit embeddings :math:`w_{ct}` of the sentences about class c. No hyper-parameter.

    Source:
        Pratt et al., *What does a platypus look like? Generating customized prompts for zero-shot
        image classification*, ICCV 2023, arXiv:2209.03320, section 3, and the public code.
    """

    name: ClassVar[str] = "cupl"
    prompts: ClassVar[str] = "cupl"
    reference: ClassVar[str] = "pratt2023platypus"


@dataclass
class CuPLEnsemble(CuPL):
    """CuPL's sentences and the seven templates together, as CuPL+e in SuS-X's tables.

    Every sentence and every template counts once, as in SuS-X's public ``combined`` text weights.

    Source:
        Pratt et al., as above; Udandarao et al., *SuS-X*, ICCV 2023, arXiv:2211.16198.
    """

    name: ClassVar[str] = "cupl-e"
    prompts: ClassVar[str] = "combined"
