"""ImageNet-A's classes in ImageNet: the clean test set that ImageNet-A is compared with.

ImageNet's validation images of the 200 classes of ImageNet-A.
"""

from __future__ import annotations

from susx_bench.data.facts.imagenet import classes_alone
from susx_bench.data.facts.imagenet_a import SPEC as IMAGENET_A

SPEC = classes_alone(IMAGENET_A, "imagenet-a-clean", "ImageNet, the 200 classes of ImageNet-A")
