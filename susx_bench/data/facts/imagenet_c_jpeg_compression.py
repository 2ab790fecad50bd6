"""ImageNet-C, JPEG compression: a test set; its training images are ImageNet's.

ImageNet's validation images with the strongest JPEG compression of five severities.
"""

from __future__ import annotations

from susx_bench.data.facts.imagenet import corrupted

SPEC = corrupted("jpeg_compression", "digital")
