"""`python -m tfmisr.evaluate --volumes`: protocol, files and refusals on phantom volumes (V-13); folders of volumes."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest

from tfmisr import evaluate
from tfmisr.datasets.phantom_volume import phantom
from tfmisr.datasets.volume_folder import scan
from tfmisr.edge.errors import InputError
from tfmisr.edge.levels import IntensityScale
from tfmisr.edge.volumes import SliceProfile, Volume, VolumeGrid, planes, resampling, slice_profile
from tfmisr.evaluation import volume_results
from tfmisr.evaluation.volume_protocol import VolumeProtocol
from tfmisr.volumes import methods, scoring, thickening

nibabel = pytest.importorskip("nibabel")
SCALE = 0.35


def put(path, seed, spacing=2.0, modality="MR"):
    """Writes a phantom as NIfTI, whose x and y run the other way than DICOM's."""
    grid = phantom.grid(spacing, SCALE)
    values = phantom.phantom(grid, seed, "head", modality, SCALE, 2).values
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine[:, [2, 1, 0, 3]]
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.rint(values).astype(np.int16).transpose(2, 1, 0), affine), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    put(folder / "sub-1" / "a.nii.gz", 1)
    put(folder / "sub-1" / "b.nii.gz", 2)
    put(folder / "sub-2" / "a.nii", 3)
    return folder


@pytest.fixture(scope="module")
def scored(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("scored")
    evaluate.main(["linear", "lanczos", "--volumes", str(folder), "--ratio", "3", "--output", str(output)])
    return output


def content(output):
    return json.loads((output / "metrics.json").read_text())


def rows_of(output):
    return list(csv.DictReader((output / "per_volume.csv").read_text().splitlines()))


def refused(arguments, match):
    with pytest.raises(InputError, match=match):
        evaluate.run(evaluate._parser().parse_args(list(map(str, arguments))))


def test_the_files_of_an_evaluation_v13(scored):
    found = content(scored)
    assert set(found) == {"protocol", "notes", "models"}
    assert list(found["models"]) == ["spline", "linear", "lanczos"]  # the reference is always there
    protocol = found["protocol"]
    assert (protocol["kind"], protocol["volumes"], protocol["ratio"]) == ("volumes", 3, 3.0)
    assert "gaussian" in protocol["slice_profile"] and len(protocol["hash"]) == 12
    rows = rows_of(scored)
    assert [row["volume"] for row in rows] == [f"volume_{k:03d}" for k in (0, 0, 0, 1, 1, 1, 2, 2, 2)]
    assert {row["protocol"] for row in rows} == {protocol["hash"]}
    assert [row["patient"] for row in rows[::3]] == ["0", "0", "1"]  # two of one sub-folder
    assert (scored / "montage.png").read_bytes().startswith(b"\x89PNG")
    table = (scored / "table.md").read_text()
    assert f"Protocol `{protocol['hash']}`" in table and "edge FWHM [mm] (truth" in table
    assert "sub-1" not in table + json.dumps(found)


def test_means_and_paired_differences_by_hand_v13(scored):
    rows = rows_of(scored)
    by_method = {m: [float(r["psnr_foreground"]) for r in rows if r["method"] == m] for m in ("spline", "linear")}
    linear = content(scored)["models"]["linear"]
    assert linear["psnr_foreground"] == pytest.approx(np.mean(by_method["linear"]))
    gains = np.subtract(by_method["linear"], by_method["spline"])
    assert linear["psnr_foreground_gain"] == pytest.approx(gains.mean())
    # Over two patients a bootstrap draws either one twice, or both.
    means = sorted([gains[:2].mean(), gains[2]])
    interval = [linear["psnr_foreground_gain_low"], linear["psnr_foreground_gain_high"]]
    assert interval == pytest.approx(means)
    assert content(scored)["models"]["spline"]["psnr_foreground_gain"] == 0


def test_the_spline_is_scored_as_by_hand_v13(folder, scored):
    """Thickened by an own Gaussian sum, interpolated by SciPy's cubic spline of the same boundary, scored by hand."""
    from scipy import ndimage

    image = nibabel.load(folder / "sub-2" / "a.nii")
    thin = np.asarray(image.dataobj, np.float64).transpose(2, 1, 0)
    count = len(thin) // 3
    first = (len(thin) - 3 * count) / 2  # the thick slices lie in the middle
    centers = first + 1 + 3 * np.arange(count)
    edges = np.arange(len(thin) + 1) - 0.5
    integral = np.vectorize(math.erf)((edges - centers[:, None]) / (3 / 2.354820045 * math.sqrt(2)))
    weights = np.diff(integral, axis=1)
    thick = np.tensordot(weights / weights.sum(axis=1, keepdims=True), thin, 1)
    inside = [k for k in range(len(thin)) if first - 0.5 <= k <= len(thin) - first - 0.5]
    places = (np.array(inside) - centers[0]) / 3
    z, y, x = np.meshgrid(places, np.arange(thin.shape[1]), np.arange(thin.shape[2]), indexing="ij")
    restored = ndimage.map_coordinates(thick, [z, y, x], order=3, mode="reflect")
    low, high = np.percentile(thin[inside], (0.1, 99.9))
    expected = 10 * np.log10((high - low) ** 2 / np.mean((restored - thin[inside]) ** 2))
    rows = [r for r in rows_of(scored) if r["method"] == "spline"]
    assert float(rows[2]["psnr"]) == pytest.approx(expected, abs=0.01)


def test_results_of_another_protocol_are_refused_and_of_the_same_merged_v13(folder, scored, tmp_path):
    common = ["spline", "--volumes", folder, "--output", tmp_path, "--merge", scored]
    refused([*common, "--ratio", 2], "another protocol: ratio is 3.0 there and 2.0 here")
    refused([*common, "--ratio", 3, "--slice_profile", "rectangular"], "another protocol: slice_profile")
    refused([*common, "--ratio", 3, "--threshold", 300], "another protocol: threshold")
    refused(["spline", "--volumes", folder / "sub-1", "--ratio", 3, "--merge", scored], "another protocol: volumes")
    altered = content(scored)
    altered["models"]["spline"]["training"] = "5 steps, seed 0"
    (tmp_path / "metrics.json").write_text(json.dumps(altered))
    refused([*common, tmp_path, "--ratio", 3], "another method named spline")
    evaluate.run(evaluate._parser().parse_args(list(map(str, [*common, "--ratio", 3]))))
    merged = content(tmp_path)
    assert set(merged["models"]) == {"spline", "linear", "lanczos"}
    assert merged["models"]["linear"] == content(scored)["models"]["linear"]


def test_what_does_not_fit_is_refused_v13(folder, tmp_path):
    common = ["--volumes", folder, "--output", tmp_path / "out"]
    refused(["bicubic", *common], "a method is one of spline, lanczos, linear, self, smore")
    refused(["spline", *common, "--ratio", 1], "--ratio must be above 1")
    refused(["spline", *common, "--ratio", "nan"], "--ratio must be above 1")
    refused(["spline", *common, "--slice_profile", "gauss"], "the slice profile")
    refused(["spline", *common, "--slice_profile", "gaussian:5mm", "--gap", 1], "not both")
    refused(["spline", *common, "--gap", 20], "--gap must be below the distance between slices, 8 mm")
    refused(["spline", *common, "--scale", 2], "--scale is for images")
    refused(["spline", *common, "--measures", "psnr"], "--measures is for images")
    refused(["spline", *common, "--split", "train"], "--split is for images")
    refused(["spline", *common, "--processes", 2], "--processes is for images")
    refused(["spline", *common, "--seed", -1], "seed must be in")
    refused(["spline", *common, "--steps", 0], "--steps must be above 0")
    refused(["spline", "--volumes", tmp_path / "none"], "found none at")
    refused(["bicubic", "--ratio", 2], "--ratio is for volumes")
    assert not (tmp_path / "out").exists()


def test_a_volume_of_one_value_is_refused_v13(tmp_path):
    image = nibabel.Nifti1Image(np.ones((20, 20, 12), np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "flat.nii")
    refused(["spline", "--volumes", tmp_path, "--ratio", 2, "--output", tmp_path / "out"], "all voxels have one value")
    assert not (tmp_path / "out").exists()


def test_a_truth_that_is_not_thin_is_noted_v13(tmp_path):
    put(tmp_path / "a.nii", 4, (4.0, 2.0, 2.0))
    outcome = evaluate.run(
        evaluate._parser().parse_args(["spline", "--volumes", str(tmp_path), "--ratio", "2", "--output", str(tmp_path)])
    )
    assert "slices 4 mm apart and pixels of 2 mm" in outcome.metrics["notes"][0]
    assert outcome.summary["spline"]["psnr_foreground_low"] is None  # no interval from one patient
    assert str(outcome).count("spline") >= 1 and outcome.table().splitlines()[0].startswith("method")


@pytest.mark.parametrize(
    ("flags", "fwhm"),
    [
        ((2.5, "gaussian", None), 5.0),
        ((2.5, "rectangular", 1.0), 4.0),
        ((2, "gaussian", -2.0), 6.0),
        ((2, "gaussian:3mm", None), 3.0),
    ],
)
def test_profile_and_gap_give_the_width_v13(flags, fwhm):
    thin = Volume(np.ones((20, 4, 4), np.float32), phantom_grid(20), 2.0, "MR")
    thick, profile, grid, inside = thickening.Thickening.of(*flags).apply(thin)
    assert profile == SliceProfile(flags[1].partition(":")[0], fwhm)
    assert thick.slice_thickness == fwhm
    assert thick.grid.spacing[0] == 2.0 * flags[0]
    np.testing.assert_allclose(grid.position(0), thin.grid.position(inside.start))


def phantom_grid(slices):
    return VolumeGrid((slices, 4, 4), (2.0, 1.0, 1.0), (0.0, 0.0, -30.0), phantom.grid().directions)


@pytest.mark.parametrize(
    ("slices", "ratio", "expected"), [(12, 3, (0, 12)), (13, 3, (0, 12)), (14, 3, (1, 13)), (10, 2.5, (0, 10))]
)
def test_the_thin_slices_within_the_thick_ones_are_scored_v13(slices, ratio, expected):
    thin = phantom_grid(slices)
    inside = thickening.within(slice_profile.thick_grid(thin, 2.0 * ratio), thin)
    assert inside.stop - inside.start in (expected[1] - expected[0], slices)
    if slices % ratio == 0 or slices == 14:
        assert (inside.start, inside.stop) == expected


def test_a_plane_network_of_a_file_is_applied_and_made_consistent_v13(monkeypatch, tmp_path):
    """A double of the network that adds nothing: the spline, corrected to give the thick slices."""
    from tfmisr.edge.volumes import plane_model

    found = []

    class Nothing:
        card = {"weights_sha256": "ab" * 32}
        scale = plane_model.PlaneModel.scale

        def __init__(self, path, threads=1):
            self.asked = []

        def mismatches(self, volume, grid, profile, scale):
            assert (volume.grid.spacing[0], grid.spacing[0], profile.fwhm) == (8.0, 4.0, 8.0)
            assert (scale.shift, scale.max_val) == (-1024, 4095)
            return found

        def __call__(self, batch):
            return batch

    monkeypatch.setattr(plane_model, "PlaneModel", Nothing)
    (tmp_path / "net.tflite").write_bytes(b"")
    thin = phantom.phantom(phantom.grid(4.0, SCALE), 1, scale=SCALE)
    thick, profile, grid, _ = thickening.Thickening(2.0).apply(thin)
    method = methods.load(str(tmp_path / "net.tflite"), methods.Effort(1))
    values = method.restore(thick, profile, grid, IntensityScale(-1024, 4095))
    assert (method.name, method.description) == ("net", "weights abababababab")
    averaged = profile.matrix(thick.grid, grid) @ values.reshape(len(values), -1)
    np.testing.assert_allclose(averaged, thick.values.reshape(len(averaged), -1), atol=0.5)
    spline = resampling.resample(thick, grid, "spline").values
    np.testing.assert_allclose(planes.upsample(thick, grid, Nothing("")).values, spline, atol=0.05)
    found.append("slices 2 to 6 times the new spacing apart. Received: 7")
    with pytest.raises(InputError, match="net is for other volumes: .* 7; leave it out of this evaluation"):
        method.restore(thick, profile, grid, IntensityScale(-1024, 4095))


@pytest.mark.parametrize(
    "dtype,kind,limits",
    [
        (np.int16, "MR", (0.0, 255.0)),  # thin slices up to 300 would have 511
        (np.float32, "MR", (100.0, 200.0)),  # the limits of the thick slices
        (np.int16, "CT", (-1024.0, 3071.0)),
    ],
)
def test_no_method_sees_the_scale_of_the_truth_v13(dtype, kind, limits, monkeypatch, tmp_path):
    """Each thick slice is the mean of two thin ones; a thin slice of 300 is brighter than that."""
    values = np.full((8, 16, 16), 100, dtype)
    values[4, 4:8], values[5, 4:8] = 300, 100
    affine, seen = np.diag([1.0, 1.0, 1.5, 1.0]), []
    nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), affine), tmp_path / "a.nii")
    if kind == "CT":
        read = scoring.reading.read
        ct = IntensityScale(-1024, 4095)
        monkeypatch.setattr(scoring.reading, "read", lambda *given: dataclasses.replace(read(*given), scale=ct))
    spline = methods.load("spline", methods.Effort(1))

    def restore(*given):
        seen.append(given[-1].from_unit(np.array([0.0, 1.0])))
        return spline.restore(*given)

    case = scoring._Case(scan.volumes([tmp_path])[0], "volume_000", 0, None)
    case.score([methods.Method("method", restore)], thickening.Thickening(2.0, "rectangular"))
    np.testing.assert_allclose(seen, [limits], atol=1e-3)


def test_a_measure_that_is_undefined_for_one_method_is_left_out_for_all():
    rows = [
        {"volume": v, "patient": p, "method": m, "psnr": value, "edge_fwhm_truth": 1.0}
        for v, p, m, value in (
            ("a", 0, "spline", 20.0),
            ("a", 0, "x", math.inf),
            ("b", 1, "spline", 30.0),
            ("b", 1, "x", 33.0),
        )
    ]
    summary = volume_results.summarize(rows, {"spline": "", "x": "5 steps"})
    assert (summary["spline"]["psnr"], summary["x"]["psnr"], summary["x"]["psnr_gain"]) == (30.0, 33.0, 3.0)
    assert summary["x"]["psnr_n"] == 1 and summary["x"]["training"] == "5 steps"


def test_the_hash_depends_on_each_field_v13():
    base = {"volumes": 1, "volumes_sha256": "a", "ratio": 2.0, "slice_profile": "p"}
    other = {
        "volumes": 2,
        "volumes_sha256": "b",
        "ratio": 2.5,
        "slice_profile": "q",
        "threshold": "300",
        "values": "v",
        "measures": "m",
    }
    hashes = {VolumeProtocol(**{**base, key: value}).hash for key, value in other.items()} | {
        VolumeProtocol(**base).hash
    }
    assert len(hashes) == len(other) + 1


def test_two_methods_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="different names"):
        volume_results.require_methods(["spline", "net", "net"])
