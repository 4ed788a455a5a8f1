"""The paper's CNN, interpreted as "ResNet with 18 layers": MSE, SGD 0.001 with momentum 0.9, batch 16.

The paper's 100 iterations are interpreted as epochs over ChestX-ray14; --steps shortens the run. The paper specifies
neither the scale (4 here), nor the degradation (antialiased bicubic), nor the patch size (24 LR pixels).
"""

CONFIG = {
    "dataset": "chest_xray14/512",
    "model": "resnet18",
    "scale": 4,
    "loss": "mse",
    "optimizer": "sgd",
    "learning_rate": 0.001,
    "momentum": 0.9,
    "schedule": "constant",
    "auto_warmup": False,  # the paper has none
    "batch_size": 16,
    "epochs": 100,
}
