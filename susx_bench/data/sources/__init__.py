"""Where images are: folders, tables, archives, the hub; which of them is which split."""
