"""Reader study: readers judge images in a browser without knowing what made them; see `python -m tfmisr.study`."""
