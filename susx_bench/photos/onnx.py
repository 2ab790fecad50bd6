"""ONNX models of a linear head, alone or behind the image tower of its encoder."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from susx_bench.encoders.base import Towers
from susx_bench.errors import EncoderError, PackageMissingError
from susx_bench.methods.linear import LinearHead

OPSET: Final = 17
"""Version of the operators: every runtime since 2022 reads it."""
LIMIT: Final = 2_000_000_000
"""Most bytes of weights in one ONNX file, roughly: protobuf reads 2 GiB."""
_TOLERANCE: Final = 1e-3
"""Largest difference of a component of a unit feature from the encoder's own."""


def head_model(linear: LinearHead, says: Mapping[str, str]) -> bytes:
    """A model that normalises features and gives their logits.

    Its input is ``features (N, D)``, of any length, its output ``logits (N, K)``.

    Args:
        linear: Weights and bias.
        says: Metadata.

    Raises:
        PackageMissingError: If onnx is not installed.
    """
    onnx = _package("onnx")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    classes, width = linear.weights.shape
    graph = make.make_graph(
        [
            make.make_node("LpNormalization", ["features"], ["unit"], axis=-1, p=2),
            make.make_node("Gemm", ["unit", "weights", "bias"], ["logits"], transB=1),
        ],
        "head",
        [make.make_tensor_value_info("features", kind, ["N", width])],
        [make.make_tensor_value_info("logits", kind, ["N", classes])],
        [
            onnx.numpy_helper.from_array(linear.weights.numpy(), "weights"),
            onnx.numpy_helper.from_array(linear.bias.numpy(), "bias"),
        ],
    )
    model = make.make_model(
        graph,
        opset_imports=[make.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="susx-bench",
    )
    return _finished(onnx, model, says)


def tower_model(towers: Towers, linear: LinearHead, says: Mapping[str, str]) -> bytes:
    """A model that encodes prepared images and gives their logits.

    Its input is ``pixels (N, 3, H, W)``, prepared as the metadata say; its outputs are
    ``logits (N, K)`` and ``features (N, D)``, which have length 1. It is run on noise and
    must reproduce the encoder's features before it is returned.

    Args:
        towers: The loaded encoder.
        linear: Weights and bias on its unit features.
        says: Metadata.

    Raises:
        EncoderError: If torch cannot export the encoder, its weights are too large for one file,
            or the model has other features.
        PackageMissingError: If onnx or onnxruntime is not installed.
    """
    onnx, runtime = _package("onnx"), _package("onnxruntime")
    size = sum(p.numel() * p.element_size() for p in towers.model.parameters())
    if size > LIMIT:
        raise EncoderError(
            f"the encoder's weights are {size / 1e9:.1f} GB, and an ONNX file holds "
            f"{LIMIT / 1e9:.0f} GB. Export the head alone, without --tower."
        )
    module = _Tower(towers, linear).eval()
    height, width = towers.preprocess_cfg["size"]
    noise = torch.randn(3, 3, height, width, generator=torch.Generator().manual_seed(0))
    memory = io.BytesIO()
    with torch.no_grad(), _traceable():
        try:
            torch.onnx.export(
                module,
                (noise[:2],),
                memory,  # type: ignore[arg-type]  # the older exporter writes into a file object too
                input_names=["pixels"],
                output_names=["logits", "features"],
                dynamic_axes={name: {0: "N"} for name in ("pixels", "logits", "features")},
                opset_version=OPSET,
                dynamo=False,  # the newer exporter needs more packages, and gives the same numbers
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            why = str(error).strip().partition("\n")[0]
            raise EncoderError(f"torch cannot export this encoder as ONNX: {why}") from error
        wanted = module(noise)[1].numpy()
    content = _finished(onnx, onnx.load_model_from_string(memory.getvalue()), says)
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    features = session.run(["features"], {"pixels": noise.numpy()})[0]
    if (most := float(np.abs(features - wanted).max())) > _TOLERANCE:
        raise EncoderError(
            f"the ONNX model has other features than the encoder, by up to {most:.2g} where "
            f"{_TOLERANCE:g} is rounding: nothing is written. Export the head alone, without "
            "--tower."
        )
    return content


class _Tower(nn.Module):
    """The image tower, then the head."""

    def __init__(self, towers: Towers, linear: LinearHead) -> None:
        super().__init__()
        self.model = towers.model
        self._towers = towers
        self.register_buffer("weights", linear.weights)
        self.register_buffer("bias", linear.bias)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self._towers.images(pixels)
        weights, bias = self.get_buffer("weights"), self.get_buffer("bias")
        return features @ weights.T + bias, features


@contextmanager
def _traceable() -> Iterator[None]:
    """Attention in operators that ONNX has, and no warnings of the tracer."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _finished(onnx: Any, model: Any, says: Mapping[str, str]) -> bytes:
    """The bytes of a model with its metadata."""
    onnx.helper.set_model_props(model, dict(says))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _package(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise PackageMissingError("an .onnx file", name) from error
