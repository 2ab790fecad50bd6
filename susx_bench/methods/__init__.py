"""Methods: one formula per file, text and support to logits, in torch and nothing else of ours."""
