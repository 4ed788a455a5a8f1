"""The paper's GAN: six residual blocks against four convolutional layers, with feature matching.

Adam with learning rate 0.0002 and betas (0.5, 0.999), batch 16; the 200 iterations are read as epochs. The paper
gives no weights of the losses; these keep the adversarial terms small beside the pixel loss, as SRGAN does.
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
    "auto_warmup": False,  # none is named there
    "batch_size": 16,
    "epochs": 200,
}
