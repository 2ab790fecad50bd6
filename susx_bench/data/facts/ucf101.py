"""UCF101, CoOp's split of list 01 and its middle frames.

Videos of 101 human actions, each by its middle frame.
"""

from __future__ import annotations

from susx_bench.data.spec import DatasetSpec, SplitFile, read_classnames

SPEC = DatasetSpec(
    name="ucf101",
    title="UCF101",
    classnames=read_classnames("ucf101"),
    sizes={"train": 7639, "val": 1898, "test": 3783},
    template="a photo of a person doing {}.",
    photo="A photo of a person doing {}.",
    licence="not specified",
    protocol="susx",
    bibtex_key="soomro2012ucf101",
    citation="""@article{soomro2012ucf101,
  title = {UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild},
  author = {Soomro, Khurram and Zamir, Amir Roshan and Shah, Mubarak},
  journal = {arXiv preprint arXiv:1212.0402},
  year = {2012}
}""",
    layout=SplitFile(file="split_zhou_UCF101.json", images="UCF-101-midframes"),
    fetch=(
        "Unpack UCF-101-midframes.zip into ucf101 under the data root, and put "
        "split_zhou_UCF101.json beside the folder (CoOp's DATASETS.md links both). The copies "
        "on the hub hold every frame of every video and do not serve."
    ),
)
