"""The reading page in a real browser: a whole study by keyboard, every pixel, and what a reader must not lose."""

import io
import shutil
import time

import dicom_sources
import numpy as np
import PIL.Image
import pytest
from reader_study_helpers import build, kill, process, served, values

from tfmisr.reader_study import building, study_file, verification, windowing
from tfmisr.reader_study.store import Store

webdriver = pytest.importorskip("selenium.webdriver")
pytest.importorskip("uvicorn")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.large,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="no chromium and chromedriver; apt-get install chromium-driver"
    ),
]


class Page:
    """A reader's browser of 1280 x 800 pixels."""

    def __init__(self, ratio=1):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb"):
            options.add_argument(flag)
        options.add_argument("--hide-scrollbars")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
        self.size(1280, 800, ratio)

    def size(self, width, height, ratio=1):
        metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def until(self, condition):
        return WebDriverWait(self.driver, 30, 0.05).until(lambda driver: condition())

    def open(self, url, token, renderer="canvas"):
        self.driver.get(f"{url}/?renderer={renderer}#{token}")
        self.until(lambda: self.shown("welcome") or self.shown("reading") or self.shown("message"))

    def offline(self, is_so):
        conditions = {"offline": is_so, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def shown(self, name):
        return self.driver.find_element(By.ID, name).is_displayed()

    def text(self, name):
        return self.driver.find_element(By.ID, name).text

    def press(self, *keys):
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def begin(self):
        """Goes through the first two pages by keyboard, as far as they come."""
        self.until(lambda: self.shown("welcome") or self.shown("reading"))
        if self.shown("welcome"):
            self.press(Keys.ENTER)
            self.until(lambda: self.shown("display"))
            for key in (Keys.SPACE, Keys.TAB, Keys.SPACE, Keys.TAB, Keys.ARROW_RIGHT, Keys.TAB, Keys.SPACE, Keys.ENTER):
                self.press(key)
        self.until(lambda: self.shown("reading"))

    def answer(self, *digits):
        """Answers the image on the screen, and a note about it, and waits for the next one."""
        before = self.text("count"), self.text("block")
        self.press(*digits, Keys.ENTER)
        if before[1] == "Training":
            self.until(lambda: self.shown("note"))
            self.press(Keys.ENTER)
        self.until(lambda: self.shown("message") or (self.text("count"), self.text("block")) != before)

    def panes(self):
        """Returns the pixels of each pane as they are on the screen."""
        time.sleep(0.3)
        screen = np.asarray(PIL.Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB"))
        found = []
        for canvas in self.driver.find_elements(By.TAG_NAME, "canvas"):
            box = self.driver.execute_script("return arguments[0].getBoundingClientRect().toJSON()", canvas)
            top, bottom, left, right = (round(box[key]) for key in ("top", "bottom", "left", "right"))
            pane = screen[top:bottom, left:right]
            assert np.ptp(pane[60:], axis=-1).max() == 0  # below the label nothing has a colour
            found.append(pane[..., 0])
        return found

    def complaints(self):
        return [e for e in self.driver.get_log("browser") if e["level"] == "SEVERE" or e["source"] == "security"]


@pytest.fixture
def new_page():
    pages = []

    def make(*args):
        pages.append(Page(*args))
        return pages[-1]

    yield make
    for page in pages:
        page.driver.quit()


@pytest.fixture
def page(new_page):
    return new_page()


def dicom_study(folder, *sources, **changes):
    source = folder / "source"
    source.mkdir()
    for number, ds in enumerate(sources):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        ds.save_as(source / f"{number}.dcm", enforce_file_format=True)
    said = values(source, cases=1, training=0) | {"order": {"repeats": 0.0, "min_distance": 1}} | changes
    said["cases"] = {"files": ["*.dcm"], "count": len(sources), "training": 0}
    return building.build(study_file.from_dict(said, "test", source), folder / "study")


def found_at(pane, expected):
    """Returns where an image stands in a pane pixel for pixel, or `None`."""
    height, width = expected.shape
    top, left = (pane.shape[0] - height) // 2, (pane.shape[1] - width) // 2
    for y in range(top - 1, top + 3):
        for x in range(left - 1, left + 3):
            if np.array_equal(pane[y : y + height, x : x + width], expected):
                return y, x
    return None


def expected_screen(study, trial, window):
    shown = study.presentation(trial.case)
    numbers = study.pixels(trial.case, trial.arms[0]).astype(np.float64)
    padding = (numbers >= shown.padding[0]) & (numbers <= shown.padding[1]) if shown.padding else None
    stored = (numbers + shown.offset) * shown.slope + shown.intercept
    return windowing.to_screen(stored, window, shown.inverted, padding)


#
@pytest.mark.parametrize("renderer", ["canvas", "webgl2"])
def test_every_pixel_is_windowed_as_numpy_does_it(renderer, page, tmp_path):
    noise = np.random.default_rng(0).integers(0, 4096, (120, 160)).astype(np.uint16)
    wide = np.random.default_rng(1).integers(-32768, 32768, (120, 160)).astype(np.int16)
    wide[:30, :40] = dicom_sources.PADDING
    kinds = {"WindowCenter": "1500.5", "WindowWidth": "900"}
    study = dicom_study(
        tmp_path,
        dicom_sources.ct(
            wide, RescaleSlope="0.5", RescaleIntercept="-10", Modality="MR", **kinds, VOILUTFunction="LINEAR"
        ),
        dicom_sources.ct(
            wide, PixelPaddingValue=dicom_sources.PADDING, Modality="MR", **kinds, VOILUTFunction="SIGMOID"
        ),
        dicom_sources.ct(noise, BitsStored=12, Modality="CR", **kinds, VOILUTFunction="LINEAR_EXACT"),
        dicom_sources.ct(noise, BitsStored=12, Modality="CR", PhotometricInterpretation="MONOCHROME1", **kinds),
    )
    with Store(study) as store, served(store) as url:
        page.open(url, store.add_reader("anna"), renderer)
        page.begin()
        assert store.displays(1)[0]["renderer"] == renderer and store.displays(1)[0]["windowing_exact"]
        for trial in store.trials(1)[:8]:
            page.press("o")
            assert (
                found_at(page.panes()[0], expected_screen(study, trial, study.presentation(trial.case).window))
                is not None
            )
            page.press("w", "w", "w", "d", "d")
            changed = page.panes()[0]
            page.answer("4", "3")
            *_, kept = list(store.commits(1))[-1]
            window = windowing.Window(
                kept["window_center"], kept["window_width"], study.presentation(trial.case).window.function
            )
            assert window != study.presentation(trial.case).window
            assert found_at(changed, expected_screen(study, trial, window)) is not None
        assert len({trial.case for trial in store.trials(1)[:8]}) == 4
    assert page.complaints() == []


#
def test_nearest_magnification_shows_each_pixel_as_a_square_in_both_renderers(new_page, tmp_path):
    noise = np.random.default_rng(0).integers(0, 4096, (64, 96)).astype(np.uint16)
    kinds = {"BitsStored": 12, "Modality": "CR", "WindowCenter": 2048, "WindowWidth": 4096}
    sources = [dicom_sources.ct(noise, **kinds) for _ in range(2)]
    study = dicom_study(tmp_path, *sources, display={"interpolation": "nearest"})
    pictures = []
    with Store(study) as store, served(store) as url:
        token = store.add_reader("anna")
        for renderer in ("canvas", "webgl2"):
            page = new_page()
            page.open(url, token, renderer)
            page.begin()
            page.press("o", "+")
            pictures.append(page.panes()[0])
        trial = store.waiting(1)[0]
    small = expected_screen(study, trial, study.presentation(trial.case).window)
    place = (np.arange(120) + 0.5) / 1.25  # 96 pixels are 120 on the screen, 64 are 80
    expected = small[place[:80].astype(int)][:, place.astype(int)]
    assert np.unique(expected).size > 100
    assert found_at(pictures[0], expected) is not None
    # 32-bit and 64-bit arithmetic may part at the edge between two pixels, where both are equally near.
    assert (pictures[0] != pictures[1]).mean() < 1e-3


#
def test_smooth_magnification_is_bilinear_at_full_depth_in_both_renderers(new_page, tmp_path):
    pixels = dicom_sources.smooth(48, 64, 0, 4000, np.uint16)
    kinds = {"BitsStored": 12, "Modality": "CR", "WindowCenter": 2000, "WindowWidth": 60}
    study = dicom_study(tmp_path, dicom_sources.ct(pixels, **kinds), dicom_sources.ct(pixels, **kinds))
    pictures = []
    with Store(study) as store, served(store) as url:
        token = store.add_reader("anna")
        for renderer in ("canvas", "webgl2"):
            page = new_page()
            page.open(url, token, renderer)
            page.begin()
            page.press("f")
            pictures.append(page.panes()[0].astype(int))
        trial = store.waiting(1)[0]
    numbers = study.pixels(trial.case, trial.arms[0]).astype(np.float64)
    height, width = pictures[0].shape
    scale = min(height / 48, width / 64)
    left, top = int(width / 2 - 32 * scale + 0.5), int(height / 2 - 24 * scale + 0.5)
    rows = np.clip((np.arange(top + 20, top + 600) + 0.5 - top) / scale - 0.5, 0, 47)
    columns = np.clip((np.arange(left + 20, left + 800) + 0.5 - left) / scale - 0.5, 0, 63)
    ndimage = pytest.importorskip("scipy.ndimage")
    smooth = ndimage.map_coordinates(numbers, np.meshgrid(rows, columns, indexing="ij"), order=1)
    expected = windowing.to_screen(np.floor(smooth + 0.5), windowing.Window(2000, 60)).astype(int)
    # A window of 60 levels would show 256 / 60 = 4 shades a level: windowing before smoothing gives steps of that size.
    for picture in pictures:
        difference = np.abs(picture[top + 20 : top + 600, left + 20 : left + 800] - expected)
        assert difference.max() <= 5 and (difference > 0).mean() < 0.02


#
def test_whole_study_by_keyboard_with_reload_and_another_browser(new_page, tmp_path):
    study = build(tmp_path, preference={"text": "Which?", "pairs": [["armadillo", "caracal"]]})
    with Store(study) as store, served(store) as url:
        token = store.add_reader("anna")
        page = new_page()
        page.open(url, token)
        page.begin()
        assert page.text("block") == "Training"
        page.press("4", Keys.ENTER)
        page.until(lambda: page.text("hint") == "Please answer this question first.")
        assert store.last(1) is None
        page.press("2", Keys.ENTER)
        page.until(lambda: page.shown("note"))
        assert "How quality? 4, four" in page.text("note") and "How usefulness? 2, two" in page.text("note")
        page.driver.refresh()
        page.begin()
        expected = [{"quality": 4, "usefulness": 2}]
        for number, trial in list(enumerate(store.trials(1)))[1:]:
            assert page.text("count") == f"{number + 1} of {len(store.trials(1))}"
            if len(trial.arms) == 2:
                page.answer("3")
                expected.append({"preference": "right"})
            else:
                digits = str(1 + number % 5), str(1 + (number + 2) % 5)
                # The second question first: Tab goes to it, and after it the one without an answer comes.
                page.answer(*((Keys.TAB, digits[1], digits[0]) if number == 6 else digits))
                expected.append({"quality": int(digits[0]), "usefulness": int(digits[1])})
            if number == 4:
                page.driver.refresh()
                page.begin()
            if number == 9:
                page.driver.quit()
                page = new_page()
                page.open(url, token)
                page.begin()
        assert page.text("message").startswith("All done")
        kept = [values["answers"] for _, _, values in store.commits(1)]
        assert kept == expected
        assert verification.integrity_errors(store) == []
        assert page.complaints() == []


#
def test_panes_stay_together_under_wheel_and_drag(page, tmp_path):
    study = build(tmp_path, size=(128, 128), display={"panes": ["truth", "rated"]})
    with Store(study) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.begin()
        while store.waiting(1)[0].arms != ("caracal",):
            page.answer("4", "3")
        holder = page.driver.find_element(By.ID, "panes")
        before = page.panes()
        chain = webdriver.ActionChains(page.driver)
        chain.move_to_element_with_offset(holder, -150, 60).click_and_hold().move_by_offset(60, 45).release()
        chain.scroll_from_origin(webdriver.common.actions.wheel_input.ScrollOrigin.from_element(holder), 0, -200)
        chain.key_down(Keys.SHIFT).click_and_hold().move_by_offset(-25, 30).release().key_up(Keys.SHIFT).perform()
        after = page.panes()
        widths = min(pane.shape[1] for pane in before + after)
        for one, other in (before, after):
            # The labels apart, the reference and the image itself are the same pixels.
            assert np.array_equal(one[60:, :widths], other[60:, :widths])
        assert not np.array_equal(before[0], after[0])
        status = page.text("status")
        page.press("r")
        assert page.text("status") != status
        assert np.array_equal(page.panes()[0], before[0])


#
@pytest.mark.parametrize("width,height,ratio", [(1366, 768, 1), (1280, 720, 1.5), (3840, 2160, 1), (1920, 1080, 2)])
def test_canvas_has_physical_screen_pixels_and_the_layout_fits_the_window(width, height, ratio, page, tmp_path):
    study = build(tmp_path, display={"panes": ["lr", "rated"]})
    page.size(width, height, ratio)
    with Store(study) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.begin()
        time.sleep(0.3)
        for canvas in page.driver.find_elements(By.TAG_NAME, "canvas"):
            box = page.driver.execute_script("return arguments[0].getBoundingClientRect().toJSON()", canvas)
            assert abs(int(canvas.get_attribute("width")) - box["width"] * ratio) <= 1
            assert abs(int(canvas.get_attribute("height")) - box["height"] * ratio) <= 1
        for name in ("answers", "save", "status"):
            box = page.driver.find_element(By.ID, name).rect
            assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height


#
def test_focus_is_always_seen_and_text_has_contrast(page, tmp_path):
    study = build(tmp_path)
    with Store(study) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.begin()
        script = """
            const at = document.activeElement;
            const seen = [at, at.closest('label'), at.closest('fieldset')].filter(Boolean);
            return seen.some((e) => getComputedStyle(e).outlineStyle === 'solid');
        """
        for _ in range(12):  # two questions, the button, three fields of the window, six tools
            assert page.driver.execute_script(script)
            page.press(Keys.TAB)
        for name in ("#block", "#status", "#answers legend", "#answers span"):
            element = page.driver.find_element(By.CSS_SELECTOR, name)
            text = [int(c) for c in element.value_of_css_property("color").split("(")[1].split(",")[:3] if c.strip()]
            assert contrast(text, (0x14, 0x16, 0x1A)) >= 4.5  # WCAG 2, AA


def contrast(first, second):
    def luminance(colour):
        parts = [c / 255 for c in colour]
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return np.dot((0.2126, 0.7152, 0.0722), parts)

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


#
def test_time_in_another_tab_is_idle(page, tmp_path):
    with Store(build(tmp_path)) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.begin()
        here = page.driver.current_window_handle
        page.driver.switch_to.new_window("tab")
        time.sleep(1.5)
        page.driver.switch_to.window(here)
        page.answer("4", "3")
        *_, kept = next(store.commits(1))
        assert kept["idle_ms"] >= 1000
        assert kept["shown_at"] < kept["first_input_at"] <= kept["committed_at"]
        assert kept["too_fast"] == (kept["active_ms"] < 2000)


CLOCK = """
const done = arguments[0];
import("/page/clock.js").then(({Clock}) => {
  let time = 1000;
  performance.now = () => time;
  const clock = new Clock();
  // 100 s without input, while the page keeps a draft every few seconds.
  for (; time < 101000; time += 2500) clock.snapshot();
  const kept = {...clock.snapshot()};
  kept.elapsed_ms += 7000; // as draft.js adds the time since
  time = 5;
  clock.start(kept);
  time = 3005;
  done([clock.snapshot(), clock.read()]);
});
"""


#
def test_kept_times_have_the_idle_time_of_a_page_without_input(page, tmp_path):
    with Store(build(tmp_path)) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        snapshot, read = page.driver.execute_async_script(CLOCK)
        # Of 100 s without input 60 s are reading; of 110 s until the answer another 3 s.
        assert snapshot == {"elapsed_ms": 110000, "active_ms": 63000, "first_ms": None}
        assert read == {"elapsed_ms": 110000, "first_input_ms": 110000, "idle_ms": 47000}


#
def test_last_answer_can_be_revised_if_allowed(page, tmp_path):
    with Store(build(tmp_path, training=0, reading={"allow_back": True})) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.begin()
        page.answer("4", "3")
        page.press(Keys.BACKSPACE)
        page.until(lambda: "changing your last answer" in page.text("hint"))
        page.press("5", "5")
        page.press(Keys.ENTER)
        page.until(lambda: page.text("hint") == "" and page.text("count").startswith("2 of"))
        assert store.answers(store.trials(1)[0]) == {"quality": 5, "usefulness": 5}


#
def test_second_window_is_shown_the_stored_answer_instead_of_replacing_it(new_page, tmp_path):
    with Store(build(tmp_path, training=0, reading={"allow_back": True})) as store, served(store) as url:
        token, old, new = store.add_reader("anna"), new_page(), new_page()
        for page in (old, new):
            page.open(url, token)
            page.begin()
        new.answer("5", "4")
        old.press("1", "2", Keys.ENTER)
        old.until(lambda: old.shown("note"))
        assert "Not saved" in old.text("note")
        assert "How quality? 5, five" in old.text("note") and "How usefulness? 4, four" in old.text("note")
        trial = store.trials(1)[0]
        assert store.stored(trial) == {"version": 1, "answers": {"quality": 5, "usefulness": 4}}
        old.press(Keys.ENTER)
        old.until(lambda: "changing your last answer" in old.text("hint"))
        chosen = old.driver.find_elements(By.CSS_SELECTOR, "#answers label:has(:checked)")
        assert [option.text.split()[-1] for option in chosen] == ["five", "four"]
        old.press("3", Keys.ENTER)
        old.until(lambda: store.stored(trial)["version"] == 2)
        old.until(lambda: old.text("count").startswith("2 of"))
        new.answer("2", "2")
        assert [found["answers"]["quality"] for _, _, found in store.commits(1)] == [3, 2]
        assert verification.integrity_errors(store) == []


def warns(page):
    """Returns whether the page asks before it is left."""
    script = "const event = new Event('beforeunload', {cancelable: true}); return !window.dispatchEvent(event)"
    return page.driver.execute_script(script)


#
def test_reload_keeps_answers_window_and_time_and_leaving_with_unsaved_answers_is_asked_about(page, tmp_path):
    with Store(build(tmp_path, training=0, reading={"allow_back": True})) as store, served(store) as url:
        begun = time.monotonic()
        page.open(url, store.add_reader("anna"))
        page.begin()
        assert not warns(page)
        page.press("w", "w", "4")
        assert warns(page)
        center = page.driver.find_element(By.CSS_SELECTOR, ".window input").get_attribute("value")
        time.sleep(1.5)
        page.driver.get("about:blank")
        time.sleep(1.5)
        page.driver.get(url)
        page.until(lambda: "were kept" in page.text("hint"))
        assert warns(page)
        assert page.driver.find_element(By.CSS_SELECTOR, ".window input").get_attribute("value") == center
        page.answer("3")
        longest = 1000 * (time.monotonic() - begun)
        assert not warns(page)
        trial, _, kept = next(store.commits(1))
        assert kept["answers"] == {"quality": 4, "usefulness": 3}
        assert kept["active_ms"] >= 1500 and kept["idle_ms"] >= 1500
        assert kept["active_ms"] + kept["idle_ms"] <= longest
        # The time that the next image has had is not lost on the way back to the last one.
        time.sleep(1.5)
        page.press(Keys.BACKSPACE)
        page.until(lambda: "changing your last answer" in page.text("hint"))
        page.press("5")
        assert warns(page)
        page.driver.refresh()
        page.until(lambda: "were kept" in page.text("hint") and page.text("count").startswith("1 of"))
        page.press(Keys.ENTER)
        page.until(lambda: page.text("count").startswith("2 of"))
        assert store.stored(trial) == {"version": 2, "answers": {"quality": 5, "usefulness": 3}}
        page.answer("1", "1")
        assert list(store.commits(1))[1][2]["active_ms"] >= 1500
        keys = page.driver.execute_script("return Object.keys(sessionStorage)")
        assert sum(key.startswith("draft:") for key in keys) == 1  # of the image on the screen


#
def test_zoom_starts_at_1_to_1_if_it_fits_and_presets_and_typed_windows_are_stored(page, tmp_path):
    # 400 x 500 fits the pane, 300 x 2000 does not.
    sources = [dicom_sources.smooth(height, width, -900, 1200) for height, width in ((400, 500), (300, 2000))]
    kinds = {"WindowCenter": [40, 300], "WindowWidth": [400, 1500], "RescaleIntercept": 0}
    study = dicom_study(tmp_path, *(dicom_sources.ct(pixels, **kinds) for pixels in sources))
    with Store(study) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.begin()
        kept = {}
        for _ in range(6):
            trial = store.waiting(1)[0]
            shown = study.presentation(trial.case)
            pane = page.driver.find_element(By.TAG_NAME, "canvas")
            fits = shown.width == 500
            scale = 1 if fits else int(pane.get_attribute("width")) / 2000
            assert page.text("status").startswith("1:1" if fits else f"{100 * scale:.0f} %")
            if fits:
                assert found_at(page.panes()[0], expected_screen(study, trial, shown.window)) is not None
            before = len(kept)
            if before == 0:  # the next window: the second one of the header
                page.press("p")
                expected = (300, 1500)
            elif before == 1:
                choice = page.driver.find_element(By.CSS_SELECTOR, ".window select")
                choice.find_elements(By.TAG_NAME, "option")[2].click()
                expected = (-600, 1500)
                assert choice.get_attribute("value") == "lung"
                page.driver.find_element(By.CSS_SELECTOR, "#answers input").send_keys(Keys.NULL)
            else:
                center, width = page.driver.find_elements(By.CSS_SELECTOR, ".window input")
                center.click()
                everything = Keys.CONTROL + "a" + Keys.NULL
                page.press(everything, "-51,5", Keys.TAB, everything, "300", Keys.ENTER)
                expected = (-51.5, 300)
            if before == 3:
                width.click()
                page.press(everything, "-7", Keys.ENTER)
                page.until(lambda: "width above 0" in page.text("hint"))
                assert width.get_attribute("value") == "300"
            if before == 4:
                page.press("o", "+")
                scale = 1.25
            page.answer("4", "3")
            kept[trial.position] = list(store.commits(1))[-1][2]
            found = kept[trial.position]
            assert (found["window_center"], found["window_width"]) == expected
            assert found["answers"] == {"quality": 4, "usefulness": 3}
            assert found["zoom"] == pytest.approx(scale) and found["interpolation"] == "smooth"


#
@pytest.mark.parametrize("width,height", [(1366, 600), (1024, 400), (700, 500), (1024, 250)])
def test_save_is_visible_and_works_at_any_window_size(width, height, page, tmp_path):
    with Store(build(tmp_path, training=0)) as store, served(store) as url:
        page.size(width, height)
        page.open(url, store.add_reader("anna"))
        page.begin()
        page.press("4", "3")
        save = page.driver.find_element(By.ID, "save")
        box = page.driver.execute_script("return arguments[0].getBoundingClientRect().toJSON()", save)
        assert box["top"] >= 0 and box["left"] >= 0 and box["bottom"] <= height and box["right"] <= width
        middle = (box["left"] + box["right"]) / 2, (box["top"] + box["bottom"]) / 2
        script = "return arguments[0].contains(document.elementFromPoint(arguments[1], arguments[2]))"
        assert page.driver.execute_script(script, save, *middle)
        save.click()
        page.until(lambda: page.text("count").startswith("2 of"))


#
def test_text_is_larger_on_larger_screens(page, tmp_path):
    with Store(build(tmp_path, training=0)) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.begin()
        sizes = []
        for size in ((1366, 768), (1920, 1080), (3840, 2160), (3440, 1440)):
            page.size(*size)
            text = page.driver.find_element(By.CSS_SELECTOR, "#answers span").value_of_css_property("font-size")
            sizes.append(float(text.removesuffix("px")))
        # A screen of twice the pixels has text of twice the pixels; a wide one is as high as one of 2560 x 1440.
        assert sizes[0] >= 13.5 and sizes[2] == pytest.approx(2 * sizes[1], rel=0.02)
        assert sizes[3] == pytest.approx(sizes[1] * 1440 / 1080, rel=0.06)


#
def test_save_is_inactive_while_the_server_cannot_be_reached(page, tmp_path):
    with Store(build(tmp_path, training=0)) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.begin()
        save = page.driver.find_element(By.ID, "save")
        assert save.is_enabled()
        page.press("4", "3")
        page.offline(True)
        page.until(lambda: not save.is_enabled())
        assert "No connection" in save.text and "Your answer is not lost" in page.text("hint")
        page.press(Keys.ENTER)
        page.offline(False)
        page.until(save.is_enabled)
        assert save.text.startswith("Save") and store.last(1) is None
        page.press(Keys.ENTER)
        page.until(lambda: page.text("count").startswith("2 of"))


#
def test_killed_server_loses_no_answer_and_the_page_continues(page, tmp_path):
    study = build(tmp_path, training=0)
    with Store(study) as store:
        token = store.add_reader("anna")
    with process(study.folder) as (url, server):
        port = url.rpartition(":")[2]
        page.open(url, token)
        page.begin()
        page.answer("4", "3")
        page.answer("2", "1")
        kill(server)
        page.press("5", "4", Keys.ENTER)
        page.until(lambda: "Your answer is not lost" in page.text("hint"))
        # Nothing can be changed while the answer is on its way: it would be on the screen, but not in what was sent.
        assert not page.driver.find_element(By.ID, "save").is_enabled()
        options = page.driver.find_elements(By.CSS_SELECTOR, "#answers label")
        webdriver.ActionChains(page.driver).click(options[0]).perform()
        page.press("2")
        checked = page.driver.find_elements(By.CSS_SELECTOR, "#answers label:has(:checked)")
        assert [option.text.split()[-1] for option in checked] == ["five", "four"]
    with process(study.folder, "--port", port):
        page.until(lambda: page.text("count").startswith("4 of"))
    with Store(study) as store:
        kept = [found["answers"] for _, _, found in store.commits(1)]
        assert kept == [{"quality": q, "usefulness": u} for q, u in ((4, 3), (2, 1), (5, 4))]
        assert verification.integrity_errors(store) == []


#
def test_two_readers_at_once_in_two_browsers(new_page, tmp_path):
    with Store(build(tmp_path, training=0)) as store, served(store) as url:
        pages = [new_page(), new_page()]
        for page, name in zip(pages, ("anna", "ben"), strict=True):
            page.open(url, store.add_reader(name))
            page.begin()
        for number in range(3):
            pages[0].answer("1", "2")
            pages[1].answer("5", "4")
            assert pages[1].text("count").startswith(f"{number + 2} of")
        kept = [[found["answers"]["quality"] for _, _, found in store.commits(reader)] for reader in (1, 2)]
        assert kept == [[1, 1, 1], [5, 5, 5]]


#
def test_browser_contacts_this_server_only_and_removes_the_token_from_the_address(page, tmp_path):
    with Store(build(tmp_path)) as store, served(store) as url:
        token = store.add_reader("anna")
        page.open(url, token)
        page.begin()
        page.answer("4", "3")
        names = page.driver.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
        assert names and all(name.startswith(url) and token not in name for name in names)
        assert token not in page.driver.current_url
        script = (
            "const found = performance.getEntriesByType('resource').filter((e) => e.name.includes('/image/'));"
            "return found.map((e) => e.transferSize)"
        )
        # The next image is fetched before it is asked for.
        page.until(lambda: len(page.driver.execute_script(script)) >= 3)
        assert len(set(page.driver.execute_script(script))) == 1
        html = page.driver.page_source
        assert not any(word in html for word in ("armadillo", "buffalo", "caracal", "case-0"))


#
def test_coordinator_sees_progress_and_wrong_links_see_nothing(page, tmp_path):
    with Store(build(tmp_path)) as store, served(store) as url:
        store.add_reader("anna")
        page.driver.get(f"{url}/admin#{store.new_admin()}")
        page.until(lambda: page.shown("progress"))
        assert "anna 0 of 17 0 not checked yet" in page.text("progress")
        page.open(url, "wrong" * 8)
        assert "no longer valid" in page.text("message")


#
def test_coordinator_page_continues_when_the_server_is_back(page, tmp_path):
    with Store(build(tmp_path)) as store, served(store) as url:
        page.driver.get(f"{url}/admin#{store.new_admin()}")
        page.until(lambda: page.shown("progress"))
        page.offline(True)
        page.until(lambda: "does not respond" in page.text("message"))
        assert not page.shown("progress")
        page.offline(False)
        page.until(lambda: page.shown("progress") and not page.shown("message"))


#
def test_long_instructions_start_at_the_top(page, tmp_path):
    with Store(build(tmp_path, instructions="Look.\n\n" * 60)) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.until(lambda: page.driver.execute_script("return document.activeElement.textContent") == "Continue")
        assert page.driver.execute_script("return [scrollY, document.body.scrollHeight > innerHeight]") == [0, True]
        page.begin()
        assert page.shown("reading")


# Draws two panes of so many pixels a side with the page's own viewer, and times what a reader does.
REDRAW = """
const [side, wanted, done] = arguments;
import("/page/viewer.js").then(({Viewer}) => {
  const holder = document.body.appendChild(document.createElement("div"));
  holder.className = "probe";
  holder.style.cssText = `inset: 0 auto auto 0; width: ${2 * side}px; height: ${side}px`;
  const viewer = new Viewer(holder, wanted);
  const data = Uint16Array.from({length: 512 * 512}, (_, i) => (i * 40503) & 65535);
  const window = {center: 32768, width: 65536, function: "LINEAR"};
  const shown = {height: 512, width: 512, offset: 0, slope: 1, intercept: 0, inverted: false, padding: null, window};
  viewer.show([{role: "left", data}, {role: "right", data}], shown, true);
  viewer.fit();
  const times = (change) => Array.from({length: 40}, (_, i) => {
    const begun = performance.now();
    change(i % 2 ? 3 : -3);
    viewer.drawNow();
    for (const {renderer} of viewer.panes) renderer.read(1, 1);
    return performance.now() - begun;
  }).sort((a, b) => a - b);
  done({
    sizes: viewer.panes.map(({canvas}) => [canvas.width, canvas.height]),
    window: times((step) => viewer.changeWindow(step, 0)),
    move: times((step) => viewer.move(step, 0)),
  });
});
"""


#
@pytest.mark.parametrize("side", [512, 1600])
def test_two_panes_are_redrawn_within_a_frame(side, page, tmp_path):
    page.size(3840, 2160)
    with Store(build(tmp_path)) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        found = page.driver.execute_async_script(REDRAW, side, "canvas")
    assert found["sizes"] == [[side, side]] * 2
    for name in ("window", "move"):
        fastest, median = found[name][0], found[name][20]
        print(f"two panes of {side} x {side}, canvas, {name}: median {median:.1f} ms, fastest {fastest:.1f} ms")
        # The fastest of 40, since other programs run beside a test; 512 x 512 is what is promised.
        assert side > 512 or fastest < 16


#
def test_redraw_time_of_the_readers_display_is_stored(page, tmp_path):
    with Store(build(tmp_path)) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.begin()
        assert store.displays(1)[0]["redraw_ms"] > 0


def test_lost_webgl_context_is_replaced_by_the_2d_canvas(page, tmp_path):
    with Store(build(tmp_path)) as store, served(store) as url:
        page.open(url, store.add_reader("anna"), "webgl2")
        page.begin()
        page.press("o")
        before = page.panes()[0]
        script = (
            "document.querySelector('canvas').getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()"
        )
        page.driver.execute_script(script)
        time.sleep(0.5)
        assert np.array_equal(page.panes()[0], before) and before.max() > 100
        page.answer("4", "3")


def test_break_is_proposed_after_its_time_and_answers_go_on(page, tmp_path):
    reading = {"break_minutes": 0.02}
    with Store(build(tmp_path, training=0, reading=reading)) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.begin()
        time.sleep(1.3)
        page.press("4", "3", Keys.ENTER)
        page.until(lambda: page.shown("note"))
        assert "Time for a break" in page.text("note") and len(list(store.commits(1))) == 1
        page.press("1", Keys.ENTER)  # a digit answers nothing behind the note
        page.until(lambda: page.text("count").startswith("2 of"))
        page.answer("2", "2")
        assert len(list(store.commits(1))) == 2


def test_finished_study_stays_finished_after_a_reload(page, tmp_path):
    study = build(tmp_path, cases=2, training=0, order={"repeats": 0.0, "min_distance": 2})
    with Store(study) as store, served(store) as url:
        page.open(url, store.add_reader("anna"))
        page.begin()
        for _ in range(6):
            page.answer("4", "3")
        assert page.text("message").startswith("All done")
        page.driver.refresh()
        page.until(lambda: page.shown("message"))
        assert page.text("message").startswith("All done")
