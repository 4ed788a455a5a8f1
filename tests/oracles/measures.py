"""Prints the numbers that tests/test_metrics_*.py expect; run in tests/, in an environment of its own.

piq 0.8.0, lpips 0.1.4, torch-fidelity 0.4.0, torchmetrics 1.9.0, torch 2.13.0 (Python 3.11). Networks
have the weights of tests/measured.py in place of published ones.
"""

import pathlib
import sys

import numpy as np
import scipy.linalg
import torch

# torchvision's wheel is one for GPUs; what it misses there is not needed here.
for missing in ("nms", "qnms"):
    torch.library.define(f"torchvision::{missing}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import lpips  # noqa: E402
import piq  # noqa: E402
import torch_fidelity.metric_fid as fidelity_fid  # noqa: E402
import torch_fidelity.metric_kid as fidelity_kid  # noqa: E402
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # noqa: E402
from torchmetrics.image.fid import _compute_fid  # noqa: E402
from torchmetrics.image.kid import poly_mmd  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from measured import features, tensor, waves  # noqa: E402

CASES = {"gray": (176, 208, 1, 0), "odd": (177, 163, 1, 1), "rgb": (192, 176, 3, 2)}
# The authors' three digits in place of piq's colour matrix.
LUMA = np.array([0.299, 0.587, 0.114])


def batch(image):
    return torch.from_numpy(np.moveaxis(image, 2, 0)[None].astype(np.float64))


def luma(image):
    image = image.astype(np.float64)
    return batch((image @ LUMA)[..., None] if image.shape[2] == 3 else image)


for name, case in CASES.items():
    true, pred = waves(*case)
    print(name, "vif", float(piq.vif_p(luma(pred), luma(true), data_range=255)))
    print(name, "gmsd", float(piq.gmsd(luma(pred), luma(true), data_range=255)))

for net in ("alex", "vgg"):
    network = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    with torch.no_grad():
        for module_name, values in network.state_dict().items():
            if module_name.startswith("net."):
                # lpips cuts the network into slices, whose layers keep their numbers.
                values.copy_(torch.from_numpy(tensor("features." + module_name.split(".", 2)[2], tuple(values.shape))))
            elif module_name.startswith("lin") and "lins" not in module_name:
                values.copy_(torch.from_numpy(tensor(module_name, tuple(values.shape))))
        for name in ("gray", "rgb"):
            true, pred = (batch(image[:96, :80]).float() / 255 for image in waves(*CASES[name]))
            pair = (image.expand(-1, 3, -1, -1) for image in (true, pred))
            print(name, f"lpips_{net}", float(network(*pair, normalize=True)))

# Its constructor loads weights; the shapes are known once the network is there.
torch.load, torch.nn.Module.load_state_dict = (lambda *a, **k: {}), (lambda *a, **k: None)
network = FeatureExtractorInceptionV3("inception", ["2048"], "none")
with torch.no_grad():
    for name, values in network.state_dict().items():
        if values.ndim and not name.startswith("fc"):
            values.copy_(torch.from_numpy(tensor(name, tuple(values.shape))))
    (found,) = network(torch.from_numpy(np.moveaxis(waves(*CASES["rgb"])[0], 2, 0)[None].copy()))
found = found.numpy()[0]
print("inception", [float(x) for x in found[[0, 319, 320, 1000, 2047]]], float(found.mean()), float(found.std()))

for count, other, size in ((40, 50, 8), (12, 10, 32)):
    true, pred = features(count, size, 0.0, 1), features(other, size, 0.3, 2)
    statistics = [fidelity_fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (true, pred)]
    root = scipy.linalg.sqrtm(statistics[0]["sigma"] @ statistics[1]["sigma"])
    difference = statistics[0]["mu"] - statistics[1]["mu"]
    total = difference @ difference + sum(np.trace(s["sigma"]) for s in statistics) - 2 * np.trace(root).real
    print(count, other, size, "fid sqrtm", total)
    print(count, other, size, "fid torch-fidelity", fidelity_fid.fid_statistics_to_metric(*statistics, False))
    tensors = [torch.from_numpy(s[key]) for s in statistics for key in ("mu", "sigma")]
    print(count, other, size, "fid torchmetrics", float(_compute_fid(*tensors)))
    equal = min(count, other)
    pair = (true[:equal], pred[:equal])
    print(equal, size, "kid torchmetrics", float(poly_mmd(*map(torch.from_numpy, pair))))
    kernels = [(a @ b.T / size + 1) ** 3 for a, b in (pair[:1] * 2, pair, pair[1:] * 2)]
    print(equal, size, "kid torch-fidelity", fidelity_kid.mmd2(*kernels))
