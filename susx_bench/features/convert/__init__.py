"""Bundles from the feature files of other programs."""
