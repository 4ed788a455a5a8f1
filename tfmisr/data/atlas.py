"""Images of different sizes on pages of one size, so that one array `(pages, height, width, channels)` holds them all.

Shelf packing by decreasing height (next-fit decreasing height): Coffman, Garey, Johnson and Tarjan, Performance Bounds
for Level-Oriented Two-Dimensional Packing Algorithms, SIAM Journal on Computing, 1980. Images of equal size get a page
each, without a pixel of padding.
"""

import dataclasses

import numpy as np

from tfmisr.data.pipeline import PatchSampler
from tfmisr.data.pixel_cache import PixelCache, Planes


@dataclasses.dataclass(frozen=True)
class Atlas:
    """Where the images are.

    Attributes:
        places: int32 array (images, 3): page, row and column of each image's first pixel.
        pages: Number of pages.
        height: Rows of a page.
        width: Columns of a page.
    """

    places: np.ndarray
    pages: int
    height: int
    width: int

    @classmethod
    def of(cls, sizes: np.ndarray) -> "Atlas":
        """Returns an atlas of images of these sizes.

        Args:
            sizes: int array (images, 2), height and width in pixels.
        """
        height, width = map(int, sizes.max(0))
        places = np.zeros((len(sizes), 3), np.int32)
        page = row = column = shelf = 0
        for i in np.argsort(-sizes[:, 0], kind="stable"):
            rows, columns = map(int, sizes[i])
            if column + columns > width:  # the next shelf
                row, column, shelf = row + shelf, 0, 0
            if row + rows > height:
                page, row, column, shelf = page + 1, 0, 0, 0
            places[i] = page, row, column
            column, shelf = column + columns, max(shelf, rows)
        return cls(places, page + 1, height, width)

    def shape(self, scale: int, channels: int) -> tuple[int, int, int, int]:
        """Returns the shape of the array of all pages, for images that are `scale` times as large."""
        return self.pages, self.height * scale, self.width * scale, channels

    def filled(self, planes: Planes | PixelCache, sizes: np.ndarray, scale: int, dtype: np.dtype) -> np.ndarray:
        """Returns the array of all pages, zero between the images.

        Args:
            planes: Images, at least `scale` times as large as `sizes`; what is more is cut off.
            sizes: The sizes of the atlas.
            scale: Size of these images relative to those of the atlas.
            dtype: Type of the array, which holds every value of the images.
        """
        array = np.zeros(self.shape(scale, planes.channels), dtype)
        for i, (page, row, column) in enumerate((self.places * (1, scale, scale)).tolist()):
            rows, columns = (int(side) * scale for side in sizes[i])
            array[page, row : row + rows, column : column + columns] = planes[i][:rows, :columns]
        return array

    def located(self, draws: np.ndarray) -> np.ndarray:
        """Returns the draws with page, row and column of each patch in the place of image, row and column.

        Args:
            draws: As `PatchSampler.draws` returns.
        """
        located = draws.copy()
        located[:, :3] = self.places[draws[:, 0]]
        located[:, 1:3] += draws[:, 1:3]
        return located


def of_sampler(sampler: PatchSampler) -> tuple[Atlas, np.ndarray]:
    """Returns the atlas of a sampler's low-resolution images, and their sizes."""
    sizes = sampler.cache.shapes // sampler.scale
    return Atlas.of(sizes), sizes
