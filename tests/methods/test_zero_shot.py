from __future__ import annotations

import torch

from susx_bench.methods.base import Context
from susx_bench.methods.zero_shot import ZeroShot
from susx_bench.testing.task import unit


def test_logits_are_scaled_cosines(context: Context) -> None:
    images = unit(7, 16, seed=3)
    method = ZeroShot()
    method.fit(context)

    logits = method.logits(images)

    for i in range(7):
        for k in range(context.num_classes):
            cosine = sum(
                float(a) * float(b) for a, b in zip(images[i], context.text[k], strict=True)
            )
            torch.testing.assert_close(logits[i, k].item(), 20 * cosine, rtol=1e-4, atol=1e-4)
