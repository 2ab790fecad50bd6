"""Encoders: names and weights to a model that turns images and texts into features."""
