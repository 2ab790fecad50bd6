"""ImageNet-R's classes in ImageNet: the clean test set that ImageNet-R is compared with.

ImageNet's validation images of the 200 classes of ImageNet-R.
"""

from __future__ import annotations

from susx_bench.data.facts.imagenet import classes_alone
from susx_bench.data.facts.imagenet_r import SPEC as IMAGENET_R

SPEC = classes_alone(IMAGENET_R, "imagenet-r-clean", "ImageNet, the 200 classes of ImageNet-R")
