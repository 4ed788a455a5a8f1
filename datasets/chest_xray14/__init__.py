"""The dataset `chest_xray14` of the NIH Clinical Center."""
