"""Support sets: drawn from labelled images, generated, retrieved or imported."""
