"""SRFeat: SRGAN with a second discriminator, on VGG19 features of an image.

Park et al., ECCV 2018,
https://openaccess.thecvf.com/content_ECCV_2018/papers/Seong-Jin_Park_SRFeat_Single_Image_ECCV_2018_paper.pdf, with
the authors' code, https://github.com/HyeongseokSon1/SRFeat: squared distance of VGG19's conv5_4 divided by 12.75, plus
0.001 times the adversarial loss of each discriminator; HR patches of 296 pixels.

It needs VGG19's weights, which Keras downloads (80 MB), or `--loss` and `--feature_network` with another network. It
starts from the same network trained with a pixel loss only (`--loss mse`), given with `--initial_weights RUN`.

Departures: the generator is SRResNet with 128 filters, without long skip connections from every block; the learning
rate is not divided by 10 after every second of five epochs.
"""

CONFIG = {
    "dataset": "chest_xray14/512",
    "model": "srresnet/num_filters=128",
    "discriminator": "srgan",
    "feature_discriminator": "srfeat",
    "feature_network": "perceptual(layers=conv5_4, activation=after)",
    "scale": 4,
    "loss": "0.00615*perceptual(layers=conv5_4, activation=after, distance=l2)",
    "adversarial_weight": 1e-3,
    "feature_adversarial_weight": 1e-3,
    "feature_matching_weight": 0.0,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "schedule": "constant",
    "auto_warmup": False,  # the paper has none
    "patch_size": 74,
    "batch_size": 9,
    "steps": 50_000,
}
