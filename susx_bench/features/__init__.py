"""Features: encode images and prompts, keep them, read bundles, predict through Lightning."""
