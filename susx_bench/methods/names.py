"""Our own methods by name. They are imported when they are asked for."""

from __future__ import annotations

from typing import Final

NAMES: Final[dict[str, str]] = {
    "zero-shot": "susx_bench.methods.zero_shot:ZeroShot",
    "tip-adapter": "susx_bench.methods.tip_adapter:TipAdapter",
    "tipx": "susx_bench.methods.tipx:TipX",
    "calip": "susx_bench.methods.calip:CALIP",
    "clip-dn": "susx_bench.methods.clip_dn:ClipDN",
    "clip-dn-val": "susx_bench.methods.clip_dn:ClipDNVal",
    "cupl": "susx_bench.methods.cupl:CuPL",
    "cupl-e": "susx_bench.methods.cupl:CuPLEnsemble",
    "visdesc": "susx_bench.methods.visdesc:VisDesc",
    "waffle": "susx_bench.methods.waffle:Waffle",
    "ncm": "susx_bench.methods.ncm:NCM",
    "gda": "susx_bench.methods.gda:GDA",
    "ape": "susx_bench.methods.ape:APE",
    "timo": "susx_bench.methods.timo:Timo",
    "timo-s": "susx_bench.methods.timo:TimoS",
    "tag": "susx_bench.methods.tag:TAG",
    "proker": "susx_bench.methods.proker:ProKeR",
    "ss-text": "susx_bench.methods.ss_text:SSText",
    "ss-text-plus": "susx_bench.methods.ss_text:SSTextPlus",
    "linear-probe": "susx_bench.methods.linear_probe:LinearProbe",
    "lp++": "susx_bench.methods.lp_plus_plus:LPPlusPlus",
    "tag-u": "susx_bench.methods.tag_u:TagU",
    "tag-u-fs": "susx_bench.methods.tag_u:TagUFewShot",
    "tag-u-stream": "susx_bench.methods.tag_u:TagUStream",
    "transclip": "susx_bench.methods.transclip:TransClip",
    "transclip-fs": "susx_bench.methods.transclip:TransClipFewShot",
    "zlap": "susx_bench.methods.zlap:ZLaP",
    "stata": "susx_bench.methods.stata:StatA",
    "ecalp": "susx_bench.methods.ecalp:ECALP",
    "ecalp-fs": "susx_bench.methods.ecalp:ECALPFewShot",
    "tag-u-sus": "susx_bench.methods.tag_u:TagUSupport",
    "tda": "susx_bench.methods.tda:TDA",
    "dota": "susx_bench.methods.dota:DOTA",
    "oga": "susx_bench.methods.oga:OGA",
    "dmn": "susx_bench.methods.dmn:DMN",
    "dmn-fs": "susx_bench.methods.dmn:DMNFewShot",
}
