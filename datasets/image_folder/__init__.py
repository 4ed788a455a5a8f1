"""The dataset `image_folder`: any folder of images."""
