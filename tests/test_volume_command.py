"""`python -m tfmisr.volume`: what it writes, says and refuses (V-01, V-03 to V-07, V-10, V-12)."""

import pathlib
import subprocess
import sys

import nibabel
import numpy as np
import pydicom
import pytest
from scipy import ndimage
from series_sources import grid_of, pattern, write_source

import tfmisr
from tfmisr import volume
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import SliceProfile, reading
from tfmisr.volumes import plane_training, self_check, self_training

pytestmark = pytest.mark.usefixtures("small")
GRID = grid_of((10, 24, 28), (5.0, 1.0, 1.0))


@pytest.fixture
def small(monkeypatch):
    """A network that is quick to build, where one is built."""

    def create():
        from tfmisr.volumes import plane_network

        return plane_network.create(4, 3)

    monkeypatch.setattr(plane_training, "_new_network", create)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    write_source(folder, pattern(GRID), GRID)
    return folder


@pytest.fixture(scope="module")
def nifti(tmp_path_factory):
    rng = np.random.default_rng(0)
    values = np.rint(900 * ndimage.gaussian_filter(rng.random((24, 28, 10)), (2, 2, 0.7))).astype(np.int16)
    path = tmp_path_factory.mktemp("nifti") / "a.nii.gz"
    affine = np.array([[-1.0, 0, 0, 10], [0, 1.0, 0, -20], [0, 0, 5.0, 30], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def test_v04_spline_of_a_series_covers_the_same_space(series, tmp_path, capsys):
    assert volume.main([str(series), "--output", str(tmp_path / "thin"), "--method", "spline"]) == 0
    said = capsys.readouterr().out
    assert "5 mm apart, 5 mm thick" in said and "10 slices at 5 mm to 50 at 1 mm" in said
    assert said.strip().splitlines()[-1].startswith("cubic spline: no network")
    found = reading.read([tmp_path / "thin"])
    own = found.volume.grid
    assert own.shape == (50, 24, 28) and own.spacing[0] == pytest.approx(1.0)
    np.testing.assert_allclose(own.position(-0.5), GRID.position(-0.5), atol=1e-6)
    np.testing.assert_allclose(own.position(49.5), GRID.position(9.5), atol=1e-6)
    index = [GRID.slice_coordinates(own)] + [np.zeros(50)] * 2
    expected = ndimage.map_coordinates(pattern(GRID)[:, 3:4, 5:6].astype(float), index, order=3, mode="reflect")
    np.testing.assert_allclose(found.volume.values[:, 3, 5], expected, atol=1.01)  # both were rounded


def test_v05_self_trained_nifti_says_what_the_self_check_found(nifti, tmp_path, monkeypatch, capsys):
    """The result is consistent after rounding, and one statement ends the output."""
    monkeypatch.setattr(self_training, "check", lambda *_: self_check.SelfCheck(20.0, 20.5, 21.0, 1))
    output = tmp_path / "thin.nii.gz"
    arguments = [
        str(nifti),
        "--output",
        str(output),
        "--steps",
        "2",
        "--slice_profile",
        "gaussian:5mm",
        "--spacing",
        "1",
    ]
    assert volume.main(arguments) == 0
    said = capsys.readouterr().out.strip().splitlines()
    assert said[-1].startswith("self-check on 1 held-out slice") and "(+1.00 dB over the spline)" in said[-1]
    assert "consistency" in said[-3] and "trained 2 steps" in said[-2]
    thin, thick = reading.read([output]).volume, reading.read([nifti]).volume
    averages = np.einsum("ij,jrc->irc", SliceProfile("gaussian", 5.0).matrix(thick.grid, thin.grid), thin.values)
    assert np.abs(averages - thick.values).max() < 0.75  # V-07, and rounding to integers afterwards


def test_v05_result_is_the_spline_where_the_self_check_fails(nifti, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(self_training, "check", lambda *_: self_check.SelfCheck(20.0, 20.5, 19.0, 1))
    common = [str(nifti), "--slice_profile", "gaussian:5mm", "--output"]
    volume.main([*common, str(tmp_path / "self.nii"), "--steps", "1"])
    assert "so the result is the cubic spline" in capsys.readouterr().out.strip().splitlines()[-1]
    volume.main([*common, str(tmp_path / "spline.nii"), "--method", "spline"])
    assert (tmp_path / "self.nii").read_bytes() == (tmp_path / "spline.nii").read_bytes()


def test_v03_profile_is_given_known_estimated_or_assumed(series, nifti, tmp_path):
    given = tfmisr.volume(series, tmp_path / "a", method="spline", slice_profile="rectangular:3mm")
    assert "slice profile rectangular:3mm: as given" in str(given)
    known = tfmisr.volume(series, tmp_path / "b", method="linear", spacing=2.5)
    assert "gaussian:5mm: its width is the Slice Thickness" in str(known)
    assert known.shape == (20, 24, 28) and known.spacing == 2.5
    unknown = tfmisr.volume(nifti, tmp_path / "c.nii", method="lanczos")
    assert "their thickness is unknown" in str(unknown) or "estimated from the spectra" in str(unknown)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--spacing", "thin"], "--spacing must be iso or a number"),
        (["--spacing", "6"], "expected a --spacing below the distance between slices, 5 mm. Received: 6 mm"),
        (["--minutes", "0"], "--minutes must be above 0"),
        (["--minutes", "1", "--steps", "3"], "--minutes or --steps"),
        (["--method", "spline", "--steps", "3"], "--steps is for --method self"),
        (["--method", "spline", "--model", "x.tflite"], "--model or --method"),
        (["--method", "spline", "--uncertainty", "x.nii"], "--uncertainty needs a network"),
        (["--slice_profile", "gauss"], "expected a slice profile such as gaussian:5mm"),
        (["--montage", "x.jpg"], "--montage must end in .png"),
        (["--memory", "0.00001"], "GiB for 1 float32 array of 50 x 24 x 28 voxels"),
        (["--model", "nowhere.tflite"], "nowhere.tflite"),
        (["--weights", "nowhere.keras", "--steps", "1"], "nowhere.keras"),
        (["--select", "EchoTime=3"], ""),
        (["--series", "9.9.9"], ""),
    ],
)
def test_v01_mistakes_are_one_line_and_nothing_is_written(series, tmp_path, flags, message):
    with pytest.raises(InputError) as raised:
        volume.main([str(series), "--output", str(tmp_path / "out"), *flags])
    assert message in str(raised.value) and "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_v01_outputs_that_cannot_be_written_are_refused_first(series, nifti, tmp_path):
    (tmp_path / "there").mkdir()
    for source, output, message in (
        (series, "there", "exists; choose a folder"),
        (series, "a.dcm", "folder or a .nii"),
        (series, "no/where", "does not exist; create it first"),
        (nifti, "folder", "end in .nii or .nii.gz for NIfTI"),
    ):
        with pytest.raises(InputError, match=message):
            volume.main([str(source), "--output", str(tmp_path / output), "--method", "spline"])
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_v01_series_that_was_derived_is_refused_before_the_training(series, tmp_path, monkeypatch):
    monkeypatch.setattr(plane_training.PlaneTraining, "run", lambda *_: pytest.fail("it was trained"))
    tfmisr.volume(series, tmp_path / "thin", method="spline", spacing=2.5)
    with pytest.raises(InputError):
        tfmisr.volume(tmp_path / "thin", tmp_path / "thinner", steps=1)
    assert not (tmp_path / "thinner").exists()


def test_v08_half_widths_beside_a_series_are_stated_in_it(series, tmp_path, monkeypatch):
    """The statement in Derivation Description is short; the one that is printed is complete."""
    monkeypatch.setattr(self_training, "check", lambda *_: self_check.SelfCheck(20.0, 20.5, 21.0, 1))
    done = tfmisr.volume(series, tmp_path / "thin", steps=1, uncertainty=tmp_path / "w.nii")
    assert "neither for it nor for another patient" in str(done)
    derived = pydicom.dcmread(tmp_path / "thin" / "0001.dcm")
    assert "no guarantee for the slice axis" in derived.DerivationDescription
    widths = nibabel.load(tmp_path / "w.nii")
    assert widths.get_data_dtype() == np.float32 and widths.shape == (28, 24, 50)
    assert (np.asarray(widths.dataobj) > 0).all()


def test_v05_a_failure_leaves_nothing_half_written(nifti, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise InputError("the training diverged")

    monkeypatch.setattr(plane_training.PlaneTraining, "run", broken)
    with pytest.raises(InputError, match="diverged"):
        volume.main([str(nifti), "--output", str(tmp_path / "a.nii"), "--steps", "1"])
    assert list(tmp_path.iterdir()) == []


def test_v09_interpolation_and_model_need_no_tensorflow(series, tmp_path):
    """`--method spline` in a process that refuses to import TensorFlow and Keras."""
    script = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'scipy'): sys.modules[name] = None\n"
        "from tfmisr import volume, volumes\n"
        "import tfmisr.volumes.restoring, tfmisr.volumes.results, tfmisr.edge.volumes.plane_model\n"
        f"sys.exit(volume.main([{str(series)!r}, '--output', {str(tmp_path / 'thin')!r}, '--method', 'spline']))"
    )
    root = pathlib.Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "thin").iterdir())) == 50


def test_v01_no_input_and_no_other_result_is_replaced(nifti, tmp_path):
    """The acquired volume is data that cannot be made again."""
    source, link = tmp_path / "a.nii.gz", tmp_path / "link.nii.gz"
    source.write_bytes(nifti.read_bytes())
    link.symlink_to(source)
    for given, output, more in (
        (source, source, []),
        (link, source, []),
        (source, link, []),
        (source, tmp_path / "b.nii", ["--uncertainty", str(source)]),
    ):
        with pytest.raises(InputError, match="is the input, which is never replaced"):
            volume.main([str(given), "--output", str(output), "--steps", "1", *more])
    with pytest.raises(InputError, match="a name of its own for each result. Received: .*b.nii twice"):
        both = str(tmp_path / "b.nii")
        volume.main([str(source), "--output", both, "--steps", "1", "--uncertainty", both])
    assert source.read_bytes() == nifti.read_bytes() and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("consistency", [True, False])
def test_v07_clipping_after_the_correction_is_said_to_break_it(nifti, tmp_path, monkeypatch, consistency):
    """Bright and black voxels at the limits of 8 bits: the slices that were written average to others."""
    monkeypatch.setattr(self_training, "check", lambda *_: self_check.SelfCheck(20.0, 20.5, 21.0, 1))
    values = np.clip(3.0 * nibabel.load(nifti).get_fdata() - 1200, 0, 255).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(values, nibabel.load(nifti).affine), tmp_path / "byte.nii")
    flags = {"steps": 1, "slice_profile": "gaussian:5mm", "spacing": 1, "consistency": consistency}
    done = tfmisr.volume(tmp_path / "byte.nii", tmp_path / "thin.nii", **flags)
    (remark,) = (remark for remark in done.remarks if "clipped to the range of the data type" in remark)
    assert ("the consistency was measured before that, and does not hold around them" in remark) == consistency
    thin, thick = (reading.read([tmp_path / name]).volume for name in ("thin.nii", "byte.nii"))
    averages = np.einsum("ij,jrc->irc", SliceProfile("gaussian", 5.0).matrix(thick.grid, thin.grid), thin.values)
    assert np.abs(averages - thick.values).max() > 2  # more than rounding
