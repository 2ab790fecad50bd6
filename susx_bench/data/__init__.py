"""Datasets: facts and class names, where their images are, and what is wrong with them."""
