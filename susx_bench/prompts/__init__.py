"""Prompts: the texts that describe a class, and how a language model writes them."""
