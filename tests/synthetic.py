"""Small stand-ins for data."""

import types

import numpy as np


class ArraySource:
    """A `tfmisr.data.Source` over arrays in memory."""

    channels, dtype, name = 1, np.dtype(np.uint8), "arrays"

    def __init__(self, folder, images: dict[str, list[np.ndarray]]):
        self.folder = folder / "arrays" / "1.0.0"
        self.folder.mkdir(parents=True)
        self.images, self.splits = images, list(images)
        self.dtype = images[self.splits[0]][0].dtype
        self.channels = images[self.splits[0]][0].shape[-1]
        counts = {split: types.SimpleNamespace(num_examples=len(own)) for split, own in images.items()}
        self.builder = types.SimpleNamespace(info=types.SimpleNamespace(splits=counts))
        self.prepared, self.pixels = "arrays", self.folder / "tfmisr_pixels"

    @property
    def counts(self):
        return {split: info.num_examples for split, info in self.builder.info.splits.items()}

    def examples(self, split):
        for i, hr in enumerate(self.images[split]):
            yield {"hr": hr, "max_val": int(np.iinfo(hr.dtype).max), "id": f"{split}_{i}", "patient": i}


def smooth_images(count: int, side: int, seed: int) -> list[np.ndarray]:
    """Images of blobs and edges, 8 bits: something that a network can learn in a few steps."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 1, side)
    y, x = np.meshgrid(grid, grid, indexing="ij")
    images = []
    for _ in range(count):
        a, b, c = rng.uniform(3, 30, 3)
        waves = np.sin(a * x + b * y) + np.sign(np.sin(c * (x - y)))
        images.append(np.uint8(np.clip(127 + 55 * waves, 0, 255))[..., None])
    return images


def backgrounds(count: int, side: int = 152) -> list[np.ndarray]:
    """Images for inserted signals, 8 bits: smooth, with a little noise."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:side, :side]
    images = [110 + 40 * np.sin(x / 31 + i) * np.cos(y / 23) + 4 * rng.standard_normal(x.shape) for i in range(count)]
    return [np.rint(image).astype(np.uint8)[..., None] for image in images]
