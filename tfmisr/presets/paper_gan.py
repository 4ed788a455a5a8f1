"""The paper's GAN: a generator of six residual blocks, a discriminator of four convolutions, feature matching.

Adam with learning rate 0.0002 and betas (0.5, 0.999), batch 16; the 200 iterations are interpreted as epochs. The
paper gives no loss weights; these keep the adversarial terms small compared to the pixel loss, as SRGAN does.
"""

CONFIG = {
    "dataset": "chest_xray14/512",
    "model": "resnet6",
    "discriminator": "dcgan",
    "scale": 4,
    "loss": "mae",
    "optimizer": "adam",
    "learning_rate": 0.0002,
    "beta_1": 0.5,
    "beta_2": 0.999,
    "schedule": "constant",
    "auto_warmup": False,  # the paper has none
    "batch_size": 16,
    "epochs": 200,
}
