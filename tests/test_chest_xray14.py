import functools
import io
import os
import pathlib
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tfmisr import data
from tfmisr.datasets.chest_xray14 import archive, sampling
from tfmisr.datasets.chest_xray14 import chest_xray14_dataset_builder as xray
from tfmisr.edge.errors import InputError

# By `printf 00000028 | sha256sum`: the first 12 digits modulo 10,000 are 9,345; of 1 and 2, below 9,000.
VALIDATION = "00000028"
TRAIN_VAL = ["00000001_000", "00000001_001", "00000002_000", f"{VALIDATION}_000", f"{VALIDATION}_001"]
TEST = ["00000003_000", "00000011_004"]
ALL = sorted(TRAIN_VAL + TEST)


@functools.cache
def png(level=100, side=1024, mode="L"):
    """A PNG of one gray level."""
    file = io.BytesIO()
    Image.new("L", (side, side), level).convert(mode).save(file, "PNG", compress_level=1)
    return file.getvalue()


def levels(ids, **kwargs):
    """Each id to a PNG of its own gray level."""
    return {name: png(10 + 10 * i, **kwargs) for i, name in enumerate(ids)}


def write_lists(folder, train_val=TRAIN_VAL, test=TEST):
    folder.mkdir(parents=True, exist_ok=True)
    for file, ids in (("train_val_list.txt", train_val), ("test_list.txt", test)):
        (folder / file).write_text("\n".join(f"{name}.png" for name in ids))
    return folder


def write_images(folder, images):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in images.items():
        (folder / f"{name}.png").write_bytes(content)


def write_tarball(path, images):
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.addfile(directory("images"))
        for name, content in images.items():
            tar.addfile(*member(f"images/{name}.png", content))


def directory(name):
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info


def member(name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, io.BytesIO(content)


def halves(images):
    names = sorted(images)
    return [{n: images[n] for n in part} for part in (names[:3], names[3:])]


def lay_out(layout, root, images):
    """Writes an archive in one of the layouts that people have; returns the folders to give."""
    write_lists(root)
    first, second = halves(images)
    if layout == "images":
        write_images(root / "images", images)
    elif layout == "the images' own folder":
        write_images(root / "images", images)
        return [root / "images"]
    elif layout == "flat":
        write_images(root, images)
    elif layout == "kaggle":
        write_images(root / "images_001" / "images", first)
        write_images(root / "images_002" / "images", second)
    elif layout == "kaggle, one folder down":
        return [lay_out("kaggle", root / "archive", images)[0].parent]
    elif layout == "two folders":
        write_images(root / "images", first)
        write_images(root.parent / "more", second)
        return [root.parent / "more", root]
    elif layout == "folder of links":
        write_images(root.parent / "elsewhere", images)
        (root / "images").symlink_to(root.parent / "elsewhere")
    else:
        names = {"tarballs": "images_{:03d}.tar.gz", "tarballs by NIH's script": "images_{:02d}.tar.gz"}
        write_tarball(root / names[layout].format(1), first)
        write_tarball(root / names[layout].format(12), second)
    return [root]


LAYOUTS = [
    "images",
    "the images' own folder",
    "flat",
    "kaggle",
    "kaggle, one folder down",
    "two folders",
    "folder of links",
    "tarballs",
    "tarballs by NIH's script",
]


def contents(found, ids):
    """Each id to the bytes that the archive gives for it."""
    read = {}
    for tarball, _, group in found.groups(ids):
        inside = archive.read_tarball(tarball, dict(group)) if tarball else ((n, "", path) for n, path in group)
        read |= {name: source for name, _, source in inside}
    return {n: s if isinstance(s, bytes) else archive._read_bounded(s) for n, s in read.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_images(layout, tmp_path):
    images = levels(ALL)
    found = archive.Archive(lay_out(layout, tmp_path / "x", images))
    assert found.found("train_val") == TRAIN_VAL
    assert found.found("test") == TEST
    assert contents(found, ALL) == images


def test_a_partial_copy_says_how_many_of_the_listed_images_it_found(tmp_path):
    write_lists(tmp_path)
    write_images(tmp_path / "images", levels(["00000001_001", "00000011_004", "00000099_000"]))
    report = archive.Archive([tmp_path]).report()
    assert report.startswith("found 1 of 5 listed train_val images and 1 of 2 test images; ")
    assert "in neither list, left out: 1" in report


def test_lists_that_are_not_the_official_ones_are_mentioned(tmp_path):
    assert "the lists are not NIH's" in archive.Archive(lay_out("flat", tmp_path, levels(ALL))).report()


def test_an_image_in_two_folders_is_taken_from_the_first_and_counted(tmp_path):
    write_lists(tmp_path / "a")
    write_images(tmp_path / "a", {"00000001_000": png(1)})
    write_images(tmp_path / "b", {"00000001_000": png(2), "00000001_001": png(3)})
    found = archive.Archive([tmp_path / "b", tmp_path / "a"])
    assert contents(found, TRAIN_VAL) == {"00000001_000": png(2), "00000001_001": png(3)}
    assert "in more than one folder, read from the first: 1" in found.report()


def test_an_unpacked_image_comes_before_its_tarball(tmp_path):
    write_lists(tmp_path)
    write_images(tmp_path / "images", {"00000001_000": png(1)})
    write_tarball(tmp_path / "images_001.tar.gz", {"00000001_000": png(2), "00000001_001": png(3)})
    found = archive.Archive([tmp_path])
    assert contents(found, TRAIN_VAL) == {"00000001_000": png(1), "00000001_001": png(3)}
    assert "in more than one folder, read from the first: 1" in found.report()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=f"found none at {tmp_path}/no; check --manual_dir"):
        archive.Archive([tmp_path / "no"])


def test_a_folder_without_images_says_what_was_expected(tmp_path):
    with pytest.raises(InputError, match=r"no image of ChestX-ray14 in .*expected images/00000001_000.png"):
        archive.Archive([write_lists(tmp_path)])


@pytest.mark.parametrize("file", ["train_val_list.txt", "test_list.txt"])
def test_a_missing_list_is_named(file, tmp_path):
    folder = lay_out("images", tmp_path / "x", levels(ALL))[0]
    (folder / file).unlink()
    with pytest.raises(InputError, match=f"found 7 images .*not the official {file}.*put it there"):
        archive.Archive([folder])


def test_a_line_that_is_no_image_is_named(tmp_path):
    folder = lay_out("images", tmp_path / "x", levels(ALL))[0]
    (folder / "test_list.txt").write_text("00000003_000.png\n<html>\n")
    with pytest.raises(InputError, match="line 2 of .*test_list.txt .*Received: '<html>'"):
        archive.Archive([folder])


def test_lists_with_windows_line_ends_are_the_same_lists(tmp_path):
    folder = lay_out("images", tmp_path / "x", levels(ALL))[0]
    before = archive.Archive([folder]).fingerprint()
    for file in archive.LISTS.values():
        lines = (folder / file).read_text().splitlines()
        (folder / file).write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, ""]).encode())
    assert archive.Archive([folder]).fingerprint() == before


def test_lists_that_share_a_patient_are_refused(tmp_path):
    folder = lay_out("images", tmp_path / "x", levels(ALL))[0]
    write_lists(folder, TRAIN_VAL, [*TEST, "00000002_005"])
    with pytest.raises(InputError, match=r"must not share patients, and share 1 \(00000002"):
        archive.Archive([folder])


def test_the_fingerprint_follows_the_images_and_the_lists_and_not_the_place(tmp_path):
    images = levels(ALL)
    here = lay_out("images", tmp_path / "here", images)
    there = lay_out("kaggle", tmp_path / "there", images)
    first = archive.Archive(here).fingerprint()
    assert archive.Archive(there).fingerprint() == first
    assert len(first) == 12 and int(first, 16) >= 0
    write_images(here[0] / "images", {ALL[0]: png(side=512)})
    other_image = archive.Archive(here).fingerprint()
    write_lists(there[0], TRAIN_VAL[:-1], TEST)
    assert len({first, other_image, archive.Archive(there).fingerprint()}) == 3


@pytest.mark.parametrize("layout", ["images", "tar.gz", "tar"])
def test_the_fingerprint_follows_contents_of_the_same_names_and_sizes(layout, tmp_path):
    prints = []
    for level in (100, 101):
        folder = tmp_path / str(level)
        write_lists(folder)
        if layout == "images":
            write_images(folder / "images", {ALL[0]: png(level=level)})
        else:  # the last byte is one of gzip's checksum, or of any block of a tarball
            (folder / f"images_001.{layout}").write_bytes(bytes(9000) + bytes([level]))
        found = archive.Archive([folder])
        prints.append((found.earlier_fingerprint(), found.fingerprint()))
    assert prints[0][0] == prints[1][0] and prints[0][1] != prints[1][1]


def test_samples_of_a_large_tarball_are_spread_over_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "SAMPLED", 4)
    path = tmp_path / "images_001.tar"
    path.write_bytes(bytes(100_000))
    first = list(sampling.samples([], [str(path)]))
    assert [len(sample) for sample in first] == [4096] * 4
    path.write_bytes(bytes(75_001) + b"x" + bytes(24_998))
    assert [a == b for a, b in zip(first, sampling.samples([], [str(path)]), strict=True)] == [True, True, True, False]


def test_a_dataset_that_an_earlier_release_prepared_is_used(tmp_path):
    folders = lay_out("images", tmp_path / "here", levels(ALL))
    made = {"manual_dirs": folders, "data_dir": str(tmp_path / "data")}
    found = archive.Archive(folders)
    assert pathlib.Path(xray.Builder(**made).data_path).parent.name == found.fingerprint()
    path = pathlib.Path(xray.Builder(**made).data_path)
    (path.parent.with_name(found.earlier_fingerprint()) / path.name).mkdir(parents=True)
    assert pathlib.Path(xray.Builder(**made).data_path).parent.name == found.earlier_fingerprint()


def test_an_incomplete_tarball_is_named(tmp_path):
    write_lists(tmp_path)
    write_tarball(tmp_path / "whole.gz", levels(ALL))
    cut = (tmp_path / "whole.gz").read_bytes()[:-4000]
    (tmp_path / "images_007.tar.gz").write_bytes(cut)
    with pytest.raises(InputError, match=r"images_007.tar.gz is broken or incomplete .*download it again"):
        archive.Archive([tmp_path]).report()


def test_members_of_a_tarball_are_read_in_place_and_never_extracted(tmp_path):
    write_lists(tmp_path / "x")
    (tmp_path / "secret").write_bytes(png(7))
    link = tarfile.TarInfo("images/00000002_000.png")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
    with tarfile.open(tmp_path / "x" / "images_001.tar.gz", "w:gz") as tar:
        tar.addfile(link)
        tar.addfile(*member("../../00000001_000.png", png(1)))
        tar.addfile(*member("/00000001_001.png", png(2)))
        tar.addfile(*member("../evil.sh", b"evil"))
    before = sorted(tmp_path.rglob("*"))
    found = archive.Archive([tmp_path / "x"])
    assert contents(found, ALL) == {"00000001_000": png(1), "00000001_001": png(2)}
    assert sorted(tmp_path.rglob("*")) == before


def test_no_more_than_a_bounded_size_is_read_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", 1 << 20)
    write_lists(tmp_path)
    write_images(tmp_path, {ALL[0]: bytes(2 << 20)})
    write_tarball(tmp_path / "images_001.tar.gz", {ALL[1]: bytes(2 << 20)})
    read = contents(archive.Archive([tmp_path]), ALL)
    assert [len(read[name]) for name in ALL[:2]] == [(1 << 20) + 1] * 2
    with pytest.raises(archive.BrokenImage, match="larger than 1 MiB"):
        archive.decode(read[ALL[0]], (1024,))


def test_halving_is_the_integer_mean_of_2x2_pixels_with_halves_upwards():
    # Sums 0, 1, 2, 3 / 5, 6, 7, 1020 of 4 pixels: means 0, 0.25, 0.5, 0.75 / 1.25, 1.5, 1.75, 255.
    pixels = [
        [0, 0, 1, 0, 1, 0, 1, 1],
        [0, 0, 0, 0, 0, 1, 0, 1],
        [1, 1, 2, 1, 1, 2, 255, 255],
        [1, 2, 1, 2, 2, 2, 255, 255],
    ]
    halved = archive.halve(np.array(pixels, np.uint8))
    assert halved.dtype == np.uint8
    assert halved.tolist() == [[0, 0, 1, 1], [1, 2, 2, 255]]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_gray_png_of_any_mode_gives_its_gray_pixels(mode):
    assert np.array_equal(archive.decode(png(77, mode=mode), (1024,)), np.full((1024, 1024), 77))


def color_png(pixel):
    file = io.BytesIO()
    image = Image.new("RGBA", (512, 512), (9, 9, 9, 255))
    image.putpixel((500, 500), pixel)
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def flipped(content):
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def header_of(width, height):
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(100)


BROKEN = {
    "cut in the middle": (png(5, 512)[:-300], "[Tt]runcated"),
    "cut before its end mark": (png(5, 512)[:-12], "truncated"),
    "one bit wrong": (flipped(png(5, 512)), "checksum|broken"),
    "empty": (b"", r"not a PNG \(0 bytes\)"),
    "a web page": (b"<html>" * 100, "not a PNG"),
    "a huge header": (header_of(100_000, 100_000), "100000x100000 pixels"),
    "another size": (png(5, 256), "256x256 pixels, not 512x512 or 1024x1024"),
    "16 bit": (png(5, 512, "I;16"), "mode I;16, not 8-bit gray"),
    "in color": (color_png((9, 9, 10, 255)), "in color"),
    "see-through": (color_png((9, 9, 9, 254)), "not opaque"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_image_is_told_with_its_reason(kind):
    content, reason = BROKEN[kind]
    with pytest.raises(archive.BrokenImage, match=reason):
        archive.decode(content, (512, 1024))


def make_part(folder, images, side=512, threads=2):
    """Prepares images, all of the train split, as a worker does; returns pairs of PNG and entry."""
    write_images(folder, images)
    listed = [[name, "train", str(folder / f"{name}.png")] for name in images]
    return list(xray.make_part({"side": side, "tarball": "", "images": listed}, threads))


def tallied(made, total):
    """Counts the entries of one part in a tally of `total` images."""
    xray.Tally(total).add([entry for _, entry in made])


def test_one_broken_image_in_two_hundred_is_named_counted_and_skipped(tmp_path, capsys):
    images = {f"{i:08d}_000": png(5, 512) for i in range(200)}
    images["00000123_000"] = png(5, 512)[:-300]
    made = make_part(tmp_path, images)
    assert [entry["key"] for data, entry in made if data] == [name for name in images if name != "00000123_000"]
    tallied(made, 200)
    said = capsys.readouterr().err
    assert f"skipped as broken (1): {tmp_path}/00000123_000.png: " in said
    assert "skipped 1 of 200 images as broken" in said


def test_one_per_cent_of_broken_images_is_borne_and_more_is_an_error(tmp_path, capsys):
    images = {f"{i:08d}_000": png(5, 512) for i in range(20)}
    images["00000004_000"] = images["00000009_000"] = b"broken"
    made = make_part(tmp_path, images)
    assert sum(data is not None for data, _ in made) == 18
    tallied(made, 200)
    with pytest.raises(InputError, match=r"1 % of 199 images .*Received: 2 so far.*/00000009_000.png"):
        tallied(made, 199)


def test_a_split_of_broken_images_alone_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(xray.Tally, "skip", lambda *args: None)
    images = levels(ALL, side=512) | dict.fromkeys(TEST, b"broken")
    with pytest.raises(InputError, match="all 2 images of a split are broken"):
        build("512", lay_out("flat", tmp_path / "x", images), tmp_path)


def test_an_example_holds_pixels_and_public_numbers_alone(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "PATIENT^NAME")
    file = io.BytesIO()
    Image.new("L", (1024, 1024)).save(file, "PNG", pnginfo=text, compress_level=1)
    ((data, entry),) = make_part(tmp_path, {"00000042_007": file.getvalue()}, side=1024)
    assert entry == {"split": "train", "key": "00000042_007", "patient": 42}
    assert b"PATIENT" in file.getvalue() and b"PATIENT" not in data
    assert data.count(b"tEXt") == 0


@pytest.mark.parametrize("threads", [1, 7])
def test_images_of_a_part_come_in_its_order_however_many_threads(threads, tmp_path):
    images = {f"{i:08d}_000": png(i, 512) for i in range(60)}
    assert [entry["key"] for _, entry in make_part(tmp_path, images, threads=threads)] == sorted(images)


def build(config, folders, tmp_path):
    return data.load(f"chest_xray14/{config}", str(tmp_path / "tfds"), folders)


def test_folders_may_come_as_one_string_as_in_a_path_variable(tmp_path):
    folders = lay_out("two folders", tmp_path / "x", levels(ALL, side=512))
    text = os.pathsep.join(map(str, folders))
    assert xray.Builder(manual_dirs=text).fingerprint() == archive.Archive(folders).fingerprint()


def test_the_512_configuration_is_the_first():
    assert list(xray.Builder.builder_configs) == ["512", "1024"]


@pytest.mark.parametrize("layout", ["images", "tarballs"])
def test_a_prepared_dataset_has_the_official_test_split_and_patients_in_one_split_each(layout, tmp_path):
    source = build("512", lay_out(layout, tmp_path / "x", levels(ALL)), tmp_path)
    splits = {split: {e["id"]: e for e in source.examples(split)} for split in source.splits}
    assert sorted(splits["test"]) == TEST
    assert sorted(splits["validation"]) == [f"{VALIDATION}_000", f"{VALIDATION}_001"]
    assert sorted(splits["train"]) == ["00000001_000", "00000001_001", "00000002_000"]
    patients = [{e["patient"] for e in split.values()} for split in splits.values()]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 5
    for split in splits.values():
        for name, example in split.items():
            assert np.array_equal(example["hr"], np.full((512, 512, 1), 10 + 10 * ALL.index(name)))


def test_native_size_keeps_every_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 1024), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    folders = lay_out("flat", tmp_path / "x", {n: file.getvalue() for n in TRAIN_VAL[:1]})
    (example,) = build("1024", folders, tmp_path).examples("train")
    assert np.array_equal(example["hr"][..., 0], pixels)


def test_shrunk_copies_are_taken_as_they_are_by_512_and_refused_by_name_by_1024(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    folders = lay_out("flat", tmp_path / "x", {"00000001_001": file.getvalue()})
    (example,) = build("512", folders, tmp_path).examples("train")
    assert np.array_equal(example["hr"][..., 0], pixels)
    with pytest.raises(InputError, match=r"Received: 512x512 in .*00000001_001.png; .*use chest_xray14/512"):
        build("1024", folders, tmp_path)


def test_a_copy_without_test_images_has_no_test_split_and_says_so(tmp_path):
    folders = lay_out("flat", tmp_path / "x", levels(TRAIN_VAL))
    source = build("512", folders, tmp_path)
    assert source.splits == ["train", "validation"]
    with pytest.raises(InputError, match="split must be one of train, validation.*Received: split=test"):
        list(source.examples("test"))


def test_no_listed_image_at_all_is_an_error(tmp_path):
    folders = lay_out("flat", tmp_path / "x", levels(["00000099_000"]))
    with pytest.raises(InputError, match="no listed image was found"):
        build("512", folders, tmp_path)


def test_the_free_space_is_checked_before_anything_is_written(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(xray, "require_free_space", lambda folder, needed: asked.append(needed))
    build("512", lay_out("flat", tmp_path / "x", levels(ALL, side=512)), tmp_path)
    assert asked == [2 * 7 * 115_000]  # parts and the dataset made of them


def test_preparing_says_how_much_of_the_archive_is_there(tmp_path, capsys):
    build("512", lay_out("flat", tmp_path / "x", levels(ALL[:4], side=512)), tmp_path)
    assert "found 3 of 5 listed train_val images and 1 of 2 test images" in capsys.readouterr().err


def test_images_added_later_make_another_dataset_and_leave_every_patient_in_its_split(tmp_path):
    images = levels(ALL, side=512)
    folders = lay_out("flat", tmp_path / "x", {n: images[n] for n in TRAIN_VAL[::2] + TEST[:1]})
    before = build("512", folders, tmp_path)
    lay_out("flat", tmp_path / "x", images)
    after = build("512", folders, tmp_path)
    assert before.folder != after.folder
    for split in before.splits:
        assert {e["id"] for e in before.examples(split)} < {e["id"] for e in after.examples(split)}


def test_without_an_archive_the_message_says_where_one_comes_from(tmp_path):
    with pytest.raises(InputError, match="--manual_dir, or download it .45 GB. with python -m tfmisr.prepare"):
        build("512", (), tmp_path)


def real_ids(folder):
    return {path.stem for path in (folder / "images").iterdir()}


def test_the_shared_folders_together_give_all_their_images(shared_data):
    folders = [shared_data / "ChestX-ray14", shared_data / "ChestX-ray14-512"]
    found = archive.Archive(folders)
    there = {*found.found("train_val"), *found.found("test")}
    assert there == real_ids(folders[0]) | real_ids(folders[1])
    assert found.report() == ("found 521 of 86,524 listed train_val images and 57 of 25,596 test images")


def mode_of(path):
    with Image.open(path) as image:
        return image.mode


@pytest.fixture(scope="module")
def real_archive(shared_data, tmp_path_factory):
    """A few images of the real archive, among them the RGBA ones."""
    folder = write_lists(tmp_path_factory.mktemp("real") / "x")
    for file in archive.LISTS.values():
        (folder / file).write_bytes((shared_data / "ChestX-ray14" / file).read_bytes())
    for i, path in enumerate(sorted((shared_data / "ChestX-ray14" / "images").iterdir())):
        if i % 12 == 0 or mode_of(path) == "RGBA":
            (folder / path.name).symlink_to(path)
    return folder


def gray_of(folder, name):
    with Image.open(folder / f"{name}.png") as image:
        return np.asarray(image.convert("RGB"))[..., 0]


def test_real_images_also_those_in_rgba_are_reduced_by_their_2x2_mean(real_archive, tmp_path):
    source = build("512", [real_archive], tmp_path)
    found = [e for split in source.splits for e in source.examples(split)]
    assert sum(mode_of(real_archive / f"{e['id']}.png") == "RGBA" for e in found) == 3
    for example in found:
        blocks = gray_of(real_archive, example["id"]).astype(np.float64).reshape(512, 2, 512, 2)
        assert np.array_equal(example["hr"][..., 0], np.floor(blocks.mean((1, 3)) + 0.5))


def test_real_images_keep_every_pixel_at_native_size(real_archive, tmp_path):
    source = build("1024", [real_archive], tmp_path)
    for example in source.examples("test"):
        assert np.array_equal(example["hr"][..., 0], gray_of(real_archive, example["id"]))


def test_the_real_shrunk_folder_is_refused_by_name_at_native_size(shared_data, tmp_path):
    with pytest.raises(InputError, match="512x512 in .*ChestX-ray14-512/images/00000061_015.png"):
        build("1024", [shared_data / "ChestX-ray14-512"], tmp_path)


def test_the_official_split_is_kept_and_a_tenth_of_the_patients_validates(shared_data):
    found = archive.Archive([shared_data / "ChestX-ray14"])
    patients = {name[:8] for name in found.listed["train_val"]}
    validation = [p for p in patients if data.split_of(p, xray.VALIDATION_PERCENT) == "validation"]
    assert (len(found.listed["train_val"]), len(found.listed["test"])) == (86_524, 25_596)
    assert len(validation) / len(patients) == pytest.approx(0.1, abs=0.005)
    assert not patients & {name[:8] for name in found.listed["test"]}


def test_the_description_the_citation_and_the_tags_lie_beside_the_builder(tmp_path):
    info = xray.Builder(data_dir=str(tmp_path)).info
    assert info.description.startswith("112,120 frontal chest X-rays")
    assert "3462--3471" in info.citation
    assert "ml.task.image-super-resolution" in xray.Builder.get_metadata().tags
