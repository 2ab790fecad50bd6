"""The demo's digits, encoder and diffusion pipeline, and the scripts that made them."""
