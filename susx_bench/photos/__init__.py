"""Classify photographs by class names, and correct the answers."""
