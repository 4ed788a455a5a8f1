"""Reader study: readers judge images in a browser without knowing what made them."""
