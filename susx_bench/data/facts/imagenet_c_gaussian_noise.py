"""ImageNet-C, gaussian noise: a test set; its training images are ImageNet's.

ImageNet's validation images with the strongest gaussian noise of five severities.
"""

from __future__ import annotations

from susx_bench.data.facts.imagenet import corrupted

SPEC = corrupted("gaussian_noise", "noise")
