"""LPIPS, FID and KID, their networks, and the files of the weights."""

import io
import json
import os
import pickle
import zipfile

import keras
import numpy as np
import pytest
from measured import features, tensor, waves
from scipy import linalg

from tfmisr import data, degradations, evaluate, metrics
from tfmisr.data import pipeline
from tfmisr.edge.errors import InputError
from tfmisr.inference import upscalers
from tfmisr.metrics import _features as networks
from tfmisr.metrics import _inception, _torch_file, _weights, lpips, sets

GRAY, RGB = (176, 208, 1, 0), (192, 176, 3, 2)
CHANNELS = {"lpips_alex": (64, 192, 384, 256, 256), "lpips_vgg": (64, 128, 256, 512, 512)}


def lpips_tensors(name):
    """Returns the tensors of the trunk and of the factors by PyTorch's names, as tests/measured.py makes them."""
    stages, channels, trunk = lpips._NETWORKS[name][0], 3, {}
    for _, convolutions in stages:
        for number, filters, kernel, _ in convolutions:
            weight, bias = f"features.{number}.weight", f"features.{number}.bias"
            trunk[weight] = tensor(weight, (filters, channels, kernel, kernel))
            trunk[bias], channels = tensor(bias, (filters,)), filters
    names = [f"lin{i}.model.1.weight" for i in range(5)]
    return trunk, {n: tensor(n, (1, c, 1, 1)) for n, c in zip(names, CHANNELS[name], strict=True)}


@pytest.fixture(scope="module")
def alex():
    return lpips.LPIPS("lpips_alex", *lpips_tensors("lpips_alex"))


# Made by tests/oracles/measures.py: lpips 0.1.4 on torch 2.13.0, float32, with the same _weights.
def test_lpips_alex_agrees_with_its_authors(alex):
    for case, expected in ((GRAY, 0.023641785606741905), (RGB, 0.025648772716522217)):
        true, pred = (image[:96, :80] for image in waves(*case))
        assert alex(true, pred, 255) == pytest.approx(expected, rel=1e-5)


def test_lpips_vgg_agrees_with_its_authors():
    vgg = lpips.LPIPS("lpips_vgg", *lpips_tensors("lpips_vgg"))
    true, pred = (image[:96, :80] for image in waves(*GRAY))
    assert vgg(true, pred, 255) == pytest.approx(0.028860023245215416, rel=1e-5)
    assert np.isnan(vgg(true[:15], pred[:15], 255))


def test_lpips_of_equal_images_is_zero_and_of_tiny_ones_undefined(alex):
    true, pred = (image[:64, :64] for image in waves(*GRAY))
    assert alex(true, true, 255) == 0
    assert alex(np.uint16(true) * 257, np.uint16(pred) * 257, 65535) == pytest.approx(alex(true, pred, 255), rel=1e-6)
    assert np.isfinite(alex(true[:31], pred[:31], 255))
    assert np.isnan(alex(true[:30], pred[:30], 255))
    assert np.isfinite(alex(0 * true, pred, 255))


def test_weights_of_another_network_are_refused():
    trunk, linear = lpips_tensors("lpips_alex")
    for wrong in ({}, {**trunk, "features.3.weight": np.zeros((128, 64, 3, 3), np.float32)}):
        with pytest.raises(InputError, match="expected weights of lpips_alex, found others"):
            lpips.LPIPS("lpips_alex", wrong, linear)
    with pytest.raises(InputError, match="factors of other features"):
        lpips.LPIPS("lpips_alex", trunk, linear | {"lin1.model.1.weight": linear["lin0.model.1.weight"]})


@pytest.mark.large
def test_weights_of_another_network_are_no_inception():
    with pytest.raises(InputError, match="expected weights of Inception v3"):
        _inception.Inception(lpips_tensors("lpips_alex")[0])


@pytest.fixture(scope="module")
def standard():
    """Inception with the weights of tests/measured.py."""
    network, names = _inception._network()
    tensors = {}
    for name in names:
        kernel = network.get_layer(name.replace(".", "_")).kernel.shape
        tensors[f"{name}.conv.weight"] = tensor(f"{name}.conv.weight", tuple(kernel[i] for i in (3, 2, 0, 1)))
        for end in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{name}.bn.{end}"] = tensor(f"{name}.bn.{end}", (kernel[-1],))
    return _inception.Inception(tensors)


def test_inception_agrees_with_torch_fidelity(standard):
    # Made by tests/oracles/measures.py: torch-fidelity 0.4.0 on torch 2.13.0, float32, with the same _weights.
    found = standard(waves(*RGB)[0] / 255)
    expected = [5.867655277252197, 0.449826180934906, 1.2920914888381958, 0.13864567875862122, 0.0]
    np.testing.assert_allclose(found[[0, 319, 320, 1000, 2047]], expected, rtol=2e-4)
    assert found.shape == (2048,)
    assert (found.mean(), found.std()) == pytest.approx((2.888052225112915, 3.9268264770507812), rel=1e-4)


def test_resizing_for_inception_by_hand():
    # Place i of 4 is at 2 i / 4 of two pixels: 0, 0.5, 1, and 1.5, which the edge holds at 1.
    found = _inception.resize(np.array([[0.0, 4.0], [8.0, 12.0]])[..., None], 4)[..., 0]
    assert found.tolist() == [[0, 2, 4, 4], [4, 6, 8, 8], [8, 10, 12, 12], [8, 10, 12, 12]]


# Made by tests/oracles/measures.py: torch-fidelity 0.4.0, which SciPy's sqrtm and torchmetrics 1.9.0 agree with to
# 1e-14; with fewer images than features to 1e-9 alone, since roots of eigenvalues that should be 0 are some 1e-8.
@pytest.mark.parametrize(
    "counts, size, expected, tolerance",
    [((40, 50), 8, 2.698129218785464, 1e-12), ((12, 10), 32, 31.498278166960, 1e-7)],
)
def test_frechet_distance_agrees_with_others(counts, size, expected, tolerance):
    true, pred = features(counts[0], size, 0.0, 1), features(counts[1], size, 0.3, 2)
    assert sets.frechet_distance(true, pred) == pytest.approx(expected, rel=tolerance)


def test_frechet_distance_of_fewer_images_than_features_is_that_in_their_span():
    # 7 features that lie in a plane of 3: an orthonormal basis of it keeps every distance.
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(7, 3)))[0]
    true, pred = features(5, 3, 0.0, 1), features(6, 3, 0.3, 2)
    expected = sets.frechet_distance(true, pred)
    assert sets.frechet_distance(true @ basis.T, pred @ basis.T) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_agrees_with_a_matrix_root():
    true, pred = features(90, 6, 0.0, 3), features(70, 6, 0.2, 4)
    covariances = [np.cov(x, rowvar=False) for x in (true, pred)]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((true.mean(0) - pred.mean(0)) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert sets.frechet_distance(true, pred) == pytest.approx(expected, rel=1e-10)


def test_distances_of_a_set_to_itself():
    true = features(20, 8, 0.0, 1)
    assert sets.frechet_distance(true, true) == pytest.approx(0, abs=1e-10)
    # Unbiased: what the diagonal would add is missing, so it is below 0.
    assert sets.kernel_distance(true, true)[0] < 0


@pytest.mark.parametrize("count, size, expected", [(40, 8, 1.45093280008469), (10, 32, 1.0458418122933821)])
def test_kernel_distance_agrees_with_others(count, size, expected):
    true, pred = features(40 if size == 8 else 12, size, 0.0, 1), features(50 if size == 8 else 10, size, 0.3, 2)
    found, deviation = sets.kernel_distance(true[:count], pred[:count])
    assert found == pytest.approx(expected, rel=1e-12) and np.isnan(deviation)


def test_kernel_distance_by_hand():
    # One feature, kernel (x y + 1)**3: within {0, 1}: 1 each way; within {1, 2}: 27; between: 1, 1, 8, 27
    found, _ = sets.kernel_distance(np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]]))
    assert found == pytest.approx(1 + 27 - 2 * 37 / 4)


def test_subsets_are_drawn_by_the_seed_and_have_the_mean_of_the_whole():
    true, pred = features(60, 4, 0.0, 1), features(60, 4, 0.2, 2)
    first, again, other = (sets.kernel_distance(true, pred, 200, 30, seed) for seed in (0, 0, 1))
    assert first == again != other
    whole, _ = sets.kernel_distance(true, pred)
    assert first[0] == pytest.approx(whole, abs=4 * first[1] / np.sqrt(200))


def test_one_image_has_no_distance():
    with pytest.raises(ValueError, match="two images or more"):
        sets.frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))


def test_network_of_ones_own_by_hand(tmp_path):
    doubled = keras.layers.Conv2D(2, 1, use_bias=False, name="a")
    network = keras.Sequential([keras.Input((None, None, 1)), doubled])
    network.set_weights([np.array([1.0, 2.0]).reshape(1, 1, 1, 2)])
    network.save(tmp_path / "own.keras")
    image = np.array([[0, 255], [255, 51]], np.uint8)[..., None]  # mean 0.55
    found = networks.from_file(tmp_path / "own.keras")
    np.testing.assert_allclose(found(image, 255), [0.55, 1.1], rtol=1e-6)
    np.testing.assert_allclose(networks.from_file(tmp_path / "own.keras", "signed")(image, 255), [0.1, 0.2], rtol=1e-5)
    assert "2 features, unit, images as they are" in found.description
    assert _weights.sha256_of(tmp_path / "own.keras")[:12] in found.description
    with pytest.raises(InputError, match=r"1 channel. Received: 3"):
        found(np.zeros((4, 4, 3), np.uint8), 255)


def test_network_of_one_size_and_three_channels_sees_gray_images_resized(tmp_path):
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    network.save(tmp_path / "own.keras")
    found = networks.from_file(tmp_path / "own.keras")
    assert (found.channels, found.count) == (3, 192)
    np.testing.assert_allclose(found(np.full((16, 24, 1), 100, np.uint16), 200), np.full(192, 0.5), rtol=1e-6)


def test_network_may_be_given_by_its_runs_folder(tmp_path):
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]).save(tmp_path / "model.keras")
    by_file = networks.from_file(tmp_path / "model.keras")
    assert networks.from_file(tmp_path).description == by_file.description


def test_network_that_gives_no_vector_is_refused(tmp_path):
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Reshape((8, 8))])
    network.save(tmp_path / "own.keras")
    with pytest.raises(InputError, match="one image to one vector or map"):
        networks.from_file(tmp_path / "own.keras")


def test_failed_download_of_weights_is_one_line(tmp_path, monkeypatch):
    from tfmisr.data import download

    def refuse(url, path):
        raise InputError("download.pytorch.org cannot be reached")

    monkeypatch.setattr(download, "download", refuse)
    with pytest.raises(InputError, match="put it at .*alexnet-owt-7be5be79.pth or into the folder of --weights_dir"):
        metrics.get("lpips_alex").load(tmp_path)


def test_weights_of_another_sum_are_refused(tmp_path):
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"others")
    with pytest.raises(InputError, match="must have the published SHA-256 sum 397923af. Received: "):
        metrics.get("lpips_vgg").load(tmp_path)


def program(
    shape=(2, 3), strides=(3, 1), offset=0, storage="torch\nFloatStorage", function="_rebuild_tensor_v2", count=6
):
    """Returns the pickle, written by hand, of one tensor called `w`."""

    def number(n):
        return b"K" + bytes([n])  # BININT1

    def text(t):
        return b"X" + len(t).to_bytes(4, "little") + t.encode()  # BINUNICODE

    reference = b"(" + text("storage") + f"c{storage}\n".encode() + text("0") + text("cpu") + number(count) + b"tQ"
    arguments = reference + number(offset)
    for numbers in (shape, strides):
        arguments += b"(" + b"".join(map(number, numbers)) + b"t"
    tensor_ = f"ctorch._utils\n{function}\n".encode() + b"(" + arguments + b"\x89}tR"
    return b"\x80\x02}" + text("w") + tensor_ + b"s."


def saved(path, tensors):
    """Writes float32 tensors as `torch.save` does, each with values of its own."""
    entries = []
    for key, (name, values) in enumerate(tensors.items()):
        numbers = [b"J" + n.to_bytes(4, "little") for n in (values.size, 0, *values.shape)]
        strides = [b"J" + (n // 4).to_bytes(4, "little") for n in values.strides]
        words = [b"X" + len(t).to_bytes(4, "little") + t.encode() for t in (name, "storage", str(key), "cpu")]
        reference = b"(" + words[1] + b"ctorch\nFloatStorage\n" + words[2] + words[3] + numbers[0] + b"tQ"
        shape, steps = b"(" + b"".join(numbers[2:]) + b"t", b"(" + b"".join(strides) + b"t"
        arguments = reference + numbers[1] + shape + steps
        entries.append(words[0] + b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"\x89}tRs")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", b"\x80\x02}" + b"".join(entries) + b".")
        for key, values in enumerate(tensors.values()):
            file.writestr(f"x/data/{key}", values.tobytes())


def test_command_measures_lpips_with_weights_from_a_folder(tmp_path, tiny_source, monkeypatch, alex):
    trunk, linear = lpips_tensors("lpips_alex")
    for name, tensors in (("alexnet-owt-7be5be79.pth", trunk), ("lpips-v0.1-alex.pth", linear)):
        saved(tmp_path / name, tensors)
        monkeypatch.setitem(_weights.PUBLISHED, name, _weights._File("", _weights.sha256_of(tmp_path / name)))
    monkeypatch.setattr(data, "load_for", lambda *args: tiny_source)
    flags = ["--measures", "psnr,lpips_alex", "--weights_dir", str(tmp_path), "--output", str(tmp_path / "out")]
    evaluate.main(["bicubic", "--scale", "2", *flags])
    read = json.loads((tmp_path / "out" / "metrics.json").read_text())
    degradation = degradations.make(2)
    pairs = pipeline.pairs(pipeline.cache_of(tiny_source, "test"), 2, degradation)
    images = [(hr, upscalers.load("bicubic")(lr, 2, 255)) for *_, lr, hr in pairs]
    expected = np.mean([alex(hr[2:-2, 2:-2], sr[2:-2, 2:-2], 255) for hr, sr in images])
    assert read["models"]["bicubic"]["lpips_alex"] == pytest.approx(expected, rel=1e-6)
    assert "LPIPS v0.1 AlexNet" in read["protocol"]["measures"]


def archive(path, content, data, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("x/data.pkl", content)
        file.writestr("x/data/0", data)
    return path


VALUES = np.arange(6, dtype="<f4")


def test_torch_file_by_hand(tmp_path):
    found = _torch_file.read(archive(tmp_path / "a.pth", program(), VALUES.tobytes()))
    assert list(found) == ["w"]
    np.testing.assert_array_equal(found["w"], [[0, 1, 2], [3, 4, 5]])
    part = program(shape=(2,), strides=(1,), offset=3)
    np.testing.assert_array_equal(_torch_file.read(archive(tmp_path / "b.pth", part, VALUES.tobytes()))["w"], [3, 4])


def test_old_torch_file_by_hand(tmp_path):
    head = b"".join(pickle.dumps(item, 2) for item in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    # An old reference has one field more, which is None where the storage is no view of another.
    body = program().replace(b"K\x06tQ", b"K\x06NtQ")
    content = head + body + pickle.dumps(["0"], 2) + (6).to_bytes(8, "little") + VALUES.tobytes()
    (tmp_path / "old.pth").write_bytes(content)
    np.testing.assert_array_equal(_torch_file.read(tmp_path / "old.pth")["w"], [[0, 1, 2], [3, 4, 5]])
    (tmp_path / "cut.pth").write_bytes(content[:-3])
    with pytest.raises(InputError, match="fewer or more values than declared"):
        _torch_file.read(tmp_path / "cut.pth")


@pytest.mark.parametrize("count", [2**31 - 1, 2**62])
def test_count_beyond_the_file_is_refused_before_it_is_read(tmp_path, count):
    number = b"\x8a\x08" + count.to_bytes(8, "little")  # LONG1
    for old in (False, True):
        body = program().replace(b"K\x06tQ", number + (b"NtQ" if old else b"tQ"))
        head = b"".join(pickle.dumps(item, 2) for item in (0x1950A86A20F9469CFC6C, 1001, {}))
        path = archive(tmp_path / "a.pth", body, VALUES.tobytes())
        if old:
            path.write_bytes(head + body + pickle.dumps(["0"], 2) + count.to_bytes(8, "little") + VALUES.tobytes())
        with pytest.raises(InputError, match="more values than the file has bytes for"):
            _torch_file.read(path)


def test_many_tensors_that_share_their_values_are_refused(tmp_path):
    """A file of some kilobytes would otherwise fill the memory; a few tied weights are usual."""
    one = program()[3:-2]  # name and tensor, without the dictionary
    for copies, refused in ((4, False), (5, True)):
        named = b"".join(one.replace(b"\x01\0\0\0w", b"\x02\0\0\0w" + bytes([65 + i])) + b"s" for i in range(copies))
        path = archive(tmp_path / "a.pth", b"\x80\x02}" + named + b".", VALUES.tobytes())
        if refused:
            with pytest.raises(InputError, match="many tensors that share their values"):
                _torch_file.read(path)
        else:
            assert len(_torch_file.read(path)) == copies


def test_file_that_would_run_something_runs_nothing(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harmed"),)

    with pytest.raises(InputError, match="a call of posix mkdir"):
        _torch_file.read(archive(tmp_path / "a.pth", pickle.dumps({"w": Harmful()}, 2), b""))
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "content, message",
    [
        (program(offset=1), "a tensor beyond its values"),
        (program(shape=(200, 200), strides=(200, 1)), "a tensor beyond its values"),
        (program(strides=(1, 2)), "do not lie in order"),
        (program(strides=(0, 0)), "do not lie in order"),
        (program(storage="torch\nComplexFloatStorage"), "values of an unknown kind"),
        (program(storage="os\nFloatStorage"), "values of an unknown kind"),
        (program(function="_rebuild_sparse_tensor"), "a call of torch._utils _rebuild_sparse_tensor"),
        (program(count=5), "fewer or more values than declared"),
        (program(count=7), "fewer or more values than declared"),
        (program()[:-1], "found ValueError"),
        (pickle.dumps([1, 2], 2), "no dictionary"),
        (pickle.dumps({"w": 3}, 2), "something other than tensors"),
        (pickle.dumps(io.StringIO(), 4), "found "),
        (b"", "found "),
    ],
)
def test_file_of_anything_but_tensors_is_refused_in_one_line(tmp_path, content, message):
    with pytest.raises(InputError) as error:
        _torch_file.read(archive(tmp_path / "a.pth", content, VALUES.tobytes()))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_compressed_archive_and_no_archive_are_refused(tmp_path):
    packed = archive(tmp_path / "a.pth", program(), VALUES.tobytes(), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="another kind of archive"):
        _torch_file.read(packed)
    for content in (b"", b"PK\x03\x04", b"\x80\x02K\x01.", b"text"):
        (tmp_path / "b.pth").write_bytes(content)
        with pytest.raises(InputError, match="expected a file of PyTorch tensors"):
            _torch_file.read(tmp_path / "b.pth")
    with pytest.raises(InputError, match="found none at"):
        _torch_file.read(tmp_path / "nowhere.pth")
