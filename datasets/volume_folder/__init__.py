"""The dataset `volume_folder`: slices of a folder of CT and MR volumes."""
