"""The encoders of the papers, by name; nothing is imported for them."""

from __future__ import annotations

from typing import Final

OPENAI: Final = {
    f"{model}:openai": f"{model}-quickgelu"
    for model in ("RN50", "RN101", "ViT-B-32", "ViT-B-16", "ViT-L-14")
}
"""Names, and the matching models of open_clip: OpenAI trained all of them with QuickGELU."""
