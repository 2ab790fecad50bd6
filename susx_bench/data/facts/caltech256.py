"""Caltech256, SuS-X's own split.

Pictures of objects belonging to 256 categories, and clutter, which is a class.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="caltech256",
    title="Caltech256",
    classnames=read_classnames("caltech256"),
    # Train is what val and test, which SuS-X asserts, leave of the 30607 images.
    sizes={"train": 15504, "val": 6027, "test": 9076},
    template="a photo of a {}.",
    photo="A photo of a {}.",
    licence="not specified",
    protocol="susx",
    bibtex_key="griffin2007caltech",
    citation="""@techreport{griffin2007caltech,
  title = {Caltech-256 Object Category Dataset},
  author = {Griffin, Gregory and Holub, Alex and Perona, Pietro},
  institution = {California Institute of Technology},
  number = {CNS-TR-2007-001},
  year = {2007}
}""",
    layout=SplitFile(file="split_Caltech256.json", images="256_ObjectCategories"),
    fetch=(
        "Unpack 256_ObjectCategories.tar from data.caltech.edu/records/nyy15-4j048 into "
        "caltech256 under the data root, and put split_Caltech256.json beside the folder "
        "(SuS-X's data/DATA.md links it). Or give --source hf:ilee0022/Caltech-256@REVISION, "
        "which has a split of its own."
    ),
    # The folders of what was in Caltech101 already, such as 251.airplanes-101.
    aliases={
        name: (f"{name}-101",)
        for name in (
            *("airplanes", "bonsai", "brain", "buddha", "car-side", "chandelier", "crab"),
            *("dolphin", "electric-guitar", "elephant", "ewer", "faces-easy", "grand-piano"),
            *("hawksbill", "helicopter", "ibis", "kangaroo", "ketch", "laptop", "leopards"),
            *("llama", "menorah", "motorbikes", "revolver", "scorpion", "starfish"),
            *("sunflower", "trilobite", "umbrella", "watch"),
        )
    },
)
