"""ImageNet-C, defocus blur: a test set; its training images are ImageNet's.

ImageNet's validation images with the strongest defocus blur of five severities.
"""

from __future__ import annotations

from susx_bench.data.facts.imagenet import corrupted

SPEC = corrupted("defocus_blur", "blur")
