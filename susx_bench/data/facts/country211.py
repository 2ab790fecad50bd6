"""Country211, the official split.

Pictures taken in 211 countries, from Flickr.
"""

from __future__ import annotations

from susx_bench.data.spec import ClassFolders, DatasetSpec, Hub, read_classnames, read_codes

SPEC = DatasetSpec(
    name="country211",
    title="Country211",
    classnames=read_classnames("country211"),
    sizes={"train": 31650, "val": 10550, "test": 21100},
    template="a photo of a {}.",
    photo="A photo I took in {}",
    licence="Creative Commons, each uploader's choice",
    protocol="susx",
    bibtex_key="radford2021learning",
    citation="""@inproceedings{radford2021learning,
  title = {Learning Transferable Visual Models From Natural Language Supervision},
  author = {Radford, Alec and Kim, Jong Wook and Hallacy, Chris and Ramesh, Aditya and Goh, Gabriel
    and Agarwal, Sandhini and Sastry, Girish and Askell, Amanda and Mishkin, Pamela and
    Clark, Jack and Krueger, Gretchen and Sutskever, Ilya},
  booktitle = {ICML},
  year = {2021}
}""",
    layout=ClassFolders(splits={"train": "train", "val": "valid", "test": "test"}),
    hub=(
        Hub(
            repo="clip-benchmark/wds_country211",
            revision="1699f138f0558342a1cbf99f7cf36b4361bb5ebc",
            splits={"train": "train", "test": "test"},
            sizes={"train": 31650, "test": 21100},
            protocol="hub-official",
            image="jpg",
            label="cls",
        ),
    ),
    fetch=(
        "Unpack country211.tgz, which github.com/openai/CLIP links in data/country211.md, "
        "under the data root."
    ),
    aliases=read_codes("country211"),
)
