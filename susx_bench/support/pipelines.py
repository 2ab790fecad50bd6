"""Text-to-image pipelines: the demo's own, a folder, or one from the hub at a commit."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from susx_bench.data.sources.base import reason
from susx_bench.encoders.base import PRECISIONS
from susx_bench.encoders.download import hub_advice
from susx_bench.encoders.trust import OWN_CODE, is_own_code, quiet
from susx_bench.errors import OptionError, SupportError
from susx_bench.records.files import sha256_file, sha256_json
from susx_bench.records.text import read_json

DEMO = "demo"
_DEMO_FOLDER = Path(__file__).parents[1] / "demo" / "pipeline"
_INDEX = "model_index.json"
_PARTS = (".json", ".txt", ".model", ".safetensors")  # files of a pipeline


@dataclass(frozen=True)
class Preset:
    """Documented settings for generation.

    Attributes:
        model: The model.
        steps: Denoising steps.
        guidance: Weight of classifier-free guidance; values up to 1 turn it off.
        per_class: Images per class.
    """

    model: str
    steps: int
    guidance: float
    per_class: int


PRESETS: dict[str, Preset] = {
    # Udandarao et al., ICCV 2023, and the authors' generate_sd_sus.py.
    "published": Preset(
        "CompVis/stable-diffusion-v1-4@133a221b8aa7292a167afc5127cb63fb5005638b", 85, 9.5, 100
    ),
    # One step without guidance, as the model's card recommends: about 170 times fewer passes
    # through the network per image, and 16 images instead of the paper's 100.
    "fast": Preset("stabilityai/sd-turbo@b261bac6fd2cf515557d5d0707481eafa0485ec2", 1, 0.0, 16),
    DEMO: Preset(DEMO, 20, 3.0, 16),
}


class Pipeline:
    """A pipeline. It is found at once, and loaded when needed.

    Args:
        name: ``demo``, a folder (with a slash), or ``ORG/NAME[@REVISION]`` on the hub.
        precision: One of `PRECISIONS`.

    Raises:
        SupportError: If there is no such folder or repository, or it holds no pipeline.
    """

    def __init__(self, name: str, precision: str = "fp32") -> None:
        self.name = name
        self.precision = precision
        self._hub = self.on_hub(name)
        if self._hub and (name.startswith((".", "/", "~")) or "/" not in name):
            raise SupportError(f"--model {name}: there is no such folder.")
        if not self._hub:
            folder = self.folder
            if not (folder / _INDEX).is_file():
                raise SupportError(
                    f"--model {name}: {folder} has no {_INDEX}, so it is no diffusers pipeline."
                )

    @staticmethod
    def on_hub(name: str) -> bool:
        """Whether a name is that of a repository on the hub."""
        return name != DEMO and not Path(name).expanduser().is_dir()

    @cached_property
    def folder(self) -> Path:
        """Folder of its files; from the hub they are downloaded once, safetensors only."""
        if not self._hub:
            return _DEMO_FOLDER if self.name == DEMO else Path(self.name).expanduser()
        from diffusers import DiffusionPipeline
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        repository, _, revision = self.name.partition("@")
        if not sys.stderr.isatty():
            disable_progress_bars()
        logging.getLogger("diffusers").setLevel(logging.ERROR)
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it reports every retry
        try:
            # Get the index first, as its errors are clearer than those of diffusers.
            index = hf_hub_download(repository, _INDEX, revision=revision or None)
            commit = Path(index).parent.name
            path = DiffusionPipeline.download(
                repository, revision=commit, use_safetensors=True, trust_remote_code=False
            )
        except Exception as error:  # including errors of the network libraries below
            advice = hub_advice(repository, ["a diffusers pipeline in safetensors"], error)
            raise SupportError(f"--model {self.name}: {advice}") from error
        return Path(path)

    @property
    def repository(self) -> str:
        """Its name without a revision."""
        return self.name.partition("@")[0] if self._hub else self.name

    @cached_property
    def _index(self) -> dict[str, Any]:
        path = self.folder / _INDEX
        try:
            index = read_json(path)
        except (OSError, ValueError) as error:
            raise SupportError(f"--model {self.name}: {path} cannot be read: {error}.") from error
        if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
            raise SupportError(
                f"--model {self.name}: {path} does not name the class of the pipeline, as "
                '{"_class_name": "StableDiffusionPipeline", ...}.'
            )
        return index

    @property
    def kind(self) -> str:
        """Class of the pipeline.

        Raises:
            SupportError: If the folder does not name one.
        """
        return str(self._index["_class_name"])

    def _refuse_own_code(self) -> None:
        """Check that the classes of the pipeline and its parts are in diffusers or transformers.

        diffusers would import any module that the folder names, to find a class in it.

        Raises:
            SupportError: If a class is not.
        """
        import diffusers

        pipeline_class = getattr(diffusers, self.kind, None)
        if not (
            isinstance(pipeline_class, type)
            and issubclass(pipeline_class, diffusers.DiffusionPipeline)
        ):
            raise SupportError(
                f"--model {self.name}: '{self.kind}' is no pipeline of diffusers "
                f"{diffusers.__version__}. Code of a model's own is never run."
            )
        for name, part in self._index.items():
            if not isinstance(part, list) or part == [None, None]:
                continue
            library = part[0] if part else None
            usual = library in ("diffusers", "transformers") or (
                isinstance(library, str) and hasattr(diffusers.pipelines, library)
            )
            if not usual or not name.isidentifier():
                raise SupportError(
                    f"--model {self.name}: its part '{name}' is a class of '{library}', neither of "
                    "diffusers nor of transformers. Code of a model's own is never run."
                )

    @property
    def safety_checker(self) -> bool:
        """Whether it blanks images that it classifies as unsafe."""
        return any(self._index.get("safety_checker") or ())

    @cached_property
    def revision(self) -> str:
        """Commit of a repository; of a folder, the hash of its files."""
        if self._hub:
            return self.folder.name
        files = sorted(p for p in self.folder.rglob("*") if p.suffix in _PARTS and p.is_file())
        return sha256_json([[p.relative_to(self.folder).as_posix(), sha256_file(p)] for p in files])

    @cached_property
    def loaded(self) -> Any:
        """The diffusers pipeline, on the CPU.

        Raises:
            SupportError: If it cannot be loaded.
        """
        with quiet():
            import diffusers

            self._refuse_own_code()
            kind: Any = diffusers.DiffusionPipeline
            try:
                pipeline = kind.from_pretrained(
                    str(self.folder),
                    torch_dtype=PRECISIONS[self.precision],
                    use_safetensors=True,
                    low_cpu_mem_usage=False,  # the alternative needs one more package
                    trust_remote_code=False,
                )
            except Exception as error:  # of any kind
                why = OWN_CODE if is_own_code(error) else reason(error)
                raise SupportError(f"--model {self.name}: cannot be loaded: {why}") from error
            pipeline.set_progress_bar_config(disable=True)
            return pipeline

    def check_steps(self, steps: int) -> None:
        """Check that its scheduler accepts a number of denoising steps.

        Raises:
            SupportError: If the pipeline cannot be loaded.
            OptionError: If the scheduler has fewer steps, or refuses this many.
        """
        scheduler = copy.deepcopy(self.loaded.scheduler)
        most = getattr(scheduler.config, "num_train_timesteps", None)
        if most is not None and steps > most:
            raise OptionError(f"--steps {steps}: the scheduler of {self.name} has {most}.")
        try:
            scheduler.set_timesteps(steps)
        except Exception as error:  # of any kind
            message = f"--steps {steps}: the scheduler of {self.name} refuses: {reason(error)}"
            raise OptionError(message) from error

    def cut(self, texts: Iterable[str]) -> int:
        """Number of prompts that are longer than it reads; their ends are ignored."""
        tokenizer = getattr(self.loaded, "tokenizer", None)
        most = getattr(tokenizer, "model_max_length", None)
        if tokenizer is None or most is None:
            return 0
        with quiet():
            return sum(len(tokenizer(text).input_ids) > most for text in texts)
