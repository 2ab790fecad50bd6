"""One file of facts per dataset."""
