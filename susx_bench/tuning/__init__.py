"""Search hyper-parameters, by the labels that a `--tune` level allows."""
