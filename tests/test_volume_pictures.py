"""Pictures of volumes: orientation, one scale in mm, error maps, and the page that scrolls (V-16)."""

import base64
import hashlib
import io
import json
import re
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from tfmisr.datasets.phantom_volume import phantom
from tfmisr.edge.errors import InputError
from tfmisr.edge.volumes import Volume, VolumeGrid, page, resampling
from tfmisr.edge.volumes.views import views
from tfmisr.evaluation import volume_montage, volume_planes
from tfmisr.volumes.thickening import Thickening

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")


def negative(axis):
    return tuple(-value for value in axis)


def grid_of(directions, shape=(5, 6, 7), spacing=(3.0, 1.0, 2.0)):
    return VolumeGrid(shape, spacing, (0.0, 0.0, 0.0), directions)


def patient_values(grid):
    """Returns x + 100 y + 10000 z of each voxel center."""
    indices = np.array(np.meshgrid(*map(np.arange, grid.shape), indexing="ij")).reshape(3, -1)
    places = (grid.affine @ np.vstack([indices, np.ones(indices.shape[1])]))[:3]
    return (np.array([1, 100, 10000]) @ places).reshape(grid.shape)


@pytest.mark.parametrize(
    "directions",
    [(Z, Y, X), (Z, negative(Y), negative(X)), (negative(Z), Y, negative(X)), (X, negative(Z), Y), (Y, negative(Z), X)],
    ids=["axial", "nifti", "head first", "sagittal", "coronal"],
)
def test_planes_are_shown_in_the_radiological_convention_v16(directions):
    grid = grid_of(directions)
    values = patient_values(grid)
    found = views(grid)
    assert list(found) == ["axial", "coronal", "sagittal"]
    # What grows downwards and to the right, in units of the patient axes: x and y; head up.
    expected = {"axial": (100, 1, "RLAP"), "coronal": (-10000, 1, "RLHF"), "sagittal": (-10000, 100, "APHF")}
    for name, view in found.items():
        plane = view.plane(values, 2)
        down, right, letters = expected[name]
        assert np.allclose(np.diff(plane, axis=0), down * view.spacing[0])
        assert np.allclose(np.diff(plane, axis=1), right * view.spacing[1])
        assert "".join(view.letters) == letters


def test_an_oblique_grid_has_each_plane_once_v16():
    angle = np.deg2rad(40)
    turned = ((0, np.sin(angle), np.cos(angle)), (0, np.cos(angle), -np.sin(angle)), X)
    assert sorted(view.axis for view in views(grid_of(turned)).values()) == [0, 1, 2]


@pytest.fixture(scope="module")
def case():
    thin = phantom.phantom(phantom.grid(4.0, 0.6), 1, "head", "MR", 0.6, 2)
    thick, _, grid, inside = Thickening(3.0).apply(thin)
    results = {name: resampling.resample(thick, grid, name).values for name in ("spline", "linear")}
    return thick, results, grid, thin.values[inside]


def drawn(planes):
    figure = volume_montage.montage(planes)
    return figure, {axes.get_label(): axes for axes in figure.axes}


def test_all_panes_of_a_montage_have_one_scale_in_mm_v16(case):
    thick, results, grid, truth = case
    planes = volume_planes.collect(thick, results, grid, truth)
    figure, axes = drawn(planes)
    assert f"axial {volume_planes.SOURCE}" in axes and "coronal truth" in axes and "sagittal error linear" in axes
    scales = []
    for panel in planes.panels:
        for label in (volume_planes.SOURCE, "spline", "truth", "error spline"):
            box = axes[f"{panel.view.name} {label}"].get_window_extent()
            scales += [box.height / panel.size[0], box.width / panel.size[1]]
            left, right, bottom, top = axes[f"{panel.view.name} {label}"].images[0].get_extent()
            pixels = axes[f"{panel.view.name} {label}"].images[0].get_array().shape
            name = label.removeprefix("error ")
            assert (bottom - top) / pixels[0] == pytest.approx(panel.spacing[name][0])
            assert (right - left) / pixels[1] == pytest.approx(panel.spacing[name][1])
    assert max(scales) / min(scales) < 1.02  # rounded to whole dots
    assert figure.get_size_inches()[0] * figure.dpi <= 1700


def test_error_maps_share_one_color_bar_and_are_absolute_differences_v16(case):
    thick, results, grid, truth = case
    planes = volume_planes.collect(thick, results, grid, truth)
    _, axes = drawn(planes)
    norms = {id(a.images[0].norm) for label, a in axes.items() if " error " in label}
    assert len(norms) == 1 and "color bar" in axes
    panel = planes.panels[1]
    shown = axes["coronal error linear"].images[0].get_array()
    np.testing.assert_array_equal(shown, np.abs(panel.images["linear"] - panel.images["truth"]))


def test_without_a_truth_the_difference_from_the_first_method_is_shown_v16(case):
    thick, results, grid, _ = case
    planes = volume_planes.collect(thick, results, grid)
    labels = set(drawn(planes)[1])
    assert "axial error linear" in labels and not labels & {"axial error spline", "axial truth"}
    panel = planes.panels[0]
    np.testing.assert_array_equal(
        planes.error("linear", panel), np.abs(panel.images["linear"] - panel.images["spline"])
    )


def test_a_result_on_another_grid_is_refused(case):
    thick, results, grid, _ = case
    with pytest.raises(ValueError, match="expected results of shape"):
        volume_planes.collect(thick, {"spline": results["spline"][1:]}, grid)


# -- The page -------------------------------------------------------------------------------------------------------


def data_of(text):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_holds_every_voxel_in_one_gray_range_v16(tmp_path, case):
    _, results, grid, _ = case
    page.save(tmp_path / "page.html", results, grid, "a phantom")
    data = data_of((tmp_path / "page.html").read_text("utf-8"))
    assert data["shape"] == list(grid.shape)
    assert [volume["name"] for volume in data["volumes"]] == ["spline", "linear"]
    low, high = np.percentile(results["linear"], (0.5, 99.5))
    for volume in data["volumes"]:
        images = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in volume["images"]]
        stored = np.concatenate([np.asarray(image) for image in images]).reshape(grid.shape)
        expected = np.clip((results[volume["name"]].astype(float) - low) / (high - low), 0, 1) * 255
        assert np.abs(stored - expected).max() <= 0.51


def test_the_page_loads_nothing_and_allows_only_its_own_script_and_style_v16(tmp_path, case):
    _, results, grid, _ = case
    page.save(tmp_path / "page.html", results, grid, "T1 <script>alert(1)</script> & co", note="<b>")
    text = (tmp_path / "page.html").read_text("utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    assert (rules["base-uri"], rules["form-action"]) == ("'none'", "'none'")
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        inner = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert not re.search(r"https?://|src=|@import|url\(", text.replace("data:image", ""))
    assert "<script>alert" not in text and "T1 &lt;script&gt;" in text and "&lt;b&gt;" in text


def test_the_size_of_a_page_is_bounded_by_block_means_v16(monkeypatch, tmp_path):
    monkeypatch.setattr(page, "MAX_VOXELS", 100)
    values = np.arange(5 * 8 * 7, dtype=np.float32).reshape(5, 8, 7)
    grid = grid_of((Z, Y, X), values.shape)
    page.save(tmp_path / "page.html", {"a": values}, grid, "small")
    text = (tmp_path / "page.html").read_text("utf-8")
    data = data_of(text)
    assert data["shape"] == [3, 4, 4] and "Means of 2 x 2 x 2 voxels" in text
    assert data["views"][0]["spacing"] == [2.0, 4.0]  # axial: rows 1 mm, columns 2 mm
    means = page._block_means(values, 2)
    assert means[0, 0, 0] == values[:2, :2, :2].mean() and means[2, 3, 3] == values[4:, 6:, 6:].mean()


def test_what_a_page_cannot_show_is_refused(tmp_path, case):
    _, results, grid, _ = case
    with pytest.raises(InputError, match="one to 4 volumes"):
        page.save(tmp_path / "page.html", {}, grid, "none")
    with pytest.raises(InputError, match="expected volumes of shape"):
        page.save(tmp_path / "page.html", {"a": results["spline"][1:]}, grid, "other")
    assert not list(tmp_path.iterdir())


@pytest.mark.large
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver; apt-get install chromium-driver")
def test_a_browser_shows_the_planes_by_keyboard_and_by_slider_v16(tmp_path, case):
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    _, results, grid, _ = case
    page.save(tmp_path / "page.html", results, grid, "a phantom")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        driver.get((tmp_path / "page.html").as_uri())
        end = time.monotonic() + 30
        while "Reading" in driver.find_element(By.ID, "status").text and time.monotonic() < end:
            time.sleep(0.05)
        body = driver.find_element(By.TAG_NAME, "body")

        def shown(*keys):
            for key in keys:
                body.send_keys(key)
            return driver.find_element(By.ID, "status").text

        start = grid.shape[0] // 2 + 1
        assert shown() == f"linear, axial slice {start} of {grid.shape[0]}"
        assert shown(Keys.ARROW_UP) == f"linear, axial slice {start + 1} of {grid.shape[0]}"
        assert shown("t", "s", Keys.HOME) == f"spline, sagittal slice 1 of {grid.shape[2]}"
        assert shown(Keys.ARROW_DOWN) == f"spline, sagittal slice 1 of {grid.shape[2]}"  # the end
        slider = driver.find_element(By.ID, "place")
        slider.send_keys(Keys.ARROW_RIGHT)
        assert shown() == f"spline, sagittal slice 2 of {grid.shape[2]}"
        canvas = driver.find_element(By.ID, "picture")
        assert canvas.get_attribute("aria-label") == shown()
        view = views(grid)["sagittal"]
        height, width = view.size(grid.shape)
        assert canvas.size["width"] / canvas.size["height"] == pytest.approx(width / height, rel=0.01)
        pixels = driver.execute_script(
            "const c = document.getElementById('picture');"
            "return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
        )
        low, high = np.percentile(results["linear"], (0.5, 99.5))
        expected = np.clip((view.plane(results["spline"], 1).astype(float) - low) / (high - low), 0, 1) * 255
        assert np.abs(np.reshape(pixels, (*expected.shape, 4))[..., 0] - expected).max() <= 0.51
        assert driver.get_log("browser") == []  # no violation of the policy
    finally:
        driver.quit()


def test_values_of_one_gray_level_are_drawn(tmp_path):
    grid = grid_of((Z, Y, X))
    flat = np.full(grid.shape, 3.0, np.float32)
    source = Volume(flat, grid, 3.0, "CT")
    volume_montage.save(tmp_path / "flat.png", source, {"spline": flat}, grid, flat, title="flat", unit="HU")
    page.save(tmp_path / "flat.html", {"spline": flat}, grid, "flat")
    assert (tmp_path / "flat.png").exists() and (tmp_path / "flat.html").exists()
