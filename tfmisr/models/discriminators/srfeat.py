"""SRFeat's discriminator of features: SRGAN's, on the features that a fixed network extracts from an image.

Park et al., SRFeat: Single Image Super-Resolution with Feature Discrimination, ECCV 2018,
https://openaccess.thecvf.com/content_ECCV_2018/papers/Seong-Jin_Park_SRFeat_Single_Image_ECCV_2018_paper.pdf. The
features are those of VGG19's last convolution, divided by 12.75 as in the authors' code
(https://github.com/HyeongseokSon1/SRFeat).

Departures: as in `srgan`. For `--feature_discriminator srfeat`; its input must be features, not pixels.
"""

import keras

from tfmisr.models.discriminators import srgan


def build(channels: int = 512, num_filters: int = 64, num_units: int = 1024) -> keras.Model:
    """Returns the discriminator; see `tfmisr.models.discriminators.create`.

    Args:
        channels: Channels of the features.
        num_filters: Filters of the first pair of convolutions; each next pair has twice as many.
        num_units: Units of the dense layer before the last.
    """
    features = keras.Input((None, None, channels), name="features")
    x = keras.layers.Rescaling(1 / 12.75, name="rescaling")(features)
    return keras.Model(features, srgan.convolutions(x, num_filters, num_units), name="srfeat")
