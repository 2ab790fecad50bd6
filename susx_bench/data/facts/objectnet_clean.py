"""ObjectNet's classes in ImageNet: the clean test set that ObjectNet is compared with.

ImageNet's validation images of the 125 classes that are one of the 113 of ObjectNet.
"""

from __future__ import annotations

from susx_bench.data.facts.imagenet import classes_alone
from susx_bench.data.facts.objectnet import SPEC as OBJECTNET

SPEC = classes_alone(OBJECTNET, "objectnet-clean", "ImageNet, the 113 classes of ObjectNet")
