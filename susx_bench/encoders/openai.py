"""The encoders of the papers, by name; nothing is imported for them."""

from __future__ import annotations

from typing import Final

OPENAI: Final = {
    f"{model}:openai": f"{model}-quickgelu"
    for model in ("RN50", "RN101", "ViT-B-32", "ViT-B-16", "ViT-L-14")
}
"""Their names, and the models of open_clip that OpenAI trained them as: all with QuickGELU."""
