"""The arithmetic of benchmarks/scaling.py, by hand, and the page that shows it (part C of the design)."""

import importlib
import json
import pathlib
import re

import pytest

from tfmisr.edge.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parent.parent
COST = {"seconds": 0.36, "bytes_in": 1000, "bytes_out": 4000}


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("scaling")


def test_archive(scaling):
    """A million images of 0.36 s are 100 core hours, with an overhead of 1.25 125; on 25 cores 5 hours."""
    row = scaling.archive_row(COST, 1e6, 25, 1.25)
    assert row["core_hours"] == pytest.approx(125) and row["hours"] == pytest.approx(5)
    assert row["bytes_in"] == 1e9 and row["bytes_out"] == 4e9
    assert row["bytes_per_s"] == pytest.approx(5e9 / 18000) and row["requests_per_s"] == pytest.approx(2e6 / 18000)


def test_price_of_a_million_images(scaling):
    """125 core hours at 0.04; a million GETs at 4e-7 and PUTs at 5e-6; 4 GB for a month at 0.023."""
    prices = scaling.make_parser().parse_args(["--costs", "x"])
    found = scaling.price_per_million(COST, prices)
    assert found == pytest.approx({"cores": 5.0, "requests": 5.4, "storage": 0.092})


def test_one_scheduler_keeps_so_many_cores_busy(scaling):
    """At 1 ms a task it starts 1,000 tasks a second; an image of 0.36 s, with 1.25, keeps a core busy for 0.45 s."""
    assert scaling.scheduler_cores(COST, 1.25, 1.0) == pytest.approx(450)
    assert scaling.scheduler_cores(COST, 1.25, 1.0, images_per_task=10) == pytest.approx(4500)


def test_tables_go_between_the_marks_of_a_page(scaling, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Text\n\n" + "old".join(scaling._MARKS) + "\n\nMore.\n")
    scaling.put_into(page, "| new |\n")
    assert page.read_text() == "# Text\n\n" + "\n\n| new |\n\n".join(scaling._MARKS) + "\n\nMore.\n"
    page.write_text("# Text\n")
    with pytest.raises(InputError, match="expected the marks"):
        scaling.put_into(page, "")


def test_all_reduce(scaling):
    """Of 8 MB on 8 devices each sends 14 MB: 2 * 7 / 8 * 8; at 1 GB/s 14 ms, and 14 messages of 1 ms."""
    assert scaling.all_reduce_bytes(8e6, 8) == 14e6
    assert scaling.all_reduce_bytes(8e6, 1) == 0
    assert scaling.all_reduce_seconds(8e6, 8, 1e9, 1e-3) == pytest.approx(0.028)
    # 90 % of a step computes, 10 % communicates: nine times the all-reduce, here without latency 14 ms.
    assert scaling.smallest_step(8e6, 8, 1e9) == pytest.approx(9 * (0.014 + 14 * scaling.LATENCY))


def test_bytes_of_a_ring_are_those_of_its_two_phases(scaling):
    """Reduce-scatter and all-gather, counted message by message for devices that each hold an equal part."""
    devices, size = 4, 12.0
    sent = 0.0
    for _ in ("reduce-scatter", "all-gather"):
        for _ in range(devices - 1):
            sent += size / devices
    assert scaling.all_reduce_bytes(size, devices) == sent


def test_parameters_are_those_of_the_networks(scaling):
    """The bytes of gradients follow from the networks that are built."""
    from tfmisr import config, models
    from tfmisr.models import discriminators

    for name, parameters in scaling.PARAMETERS.items():
        fields = config.preset(name)
        counted = models.create(fields["model"], fields["scale"], 1).count_params()
        if fields.get("discriminator"):
            counted += discriminators.create(fields["discriminator"], 1).count_params()
        assert counted == parameters


def test_the_page_shows_what_the_script_computes(scaling, capsys):
    """Nobody does it by hand: the tables of docs/scaling.md are the script's, from docs/scaling.json."""
    assert scaling.main(["--costs", str(ROOT / "docs" / "scaling.json")]) == 0
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(printed) > 15
    assert [line for line in printed if line not in page] == []
    costs = json.loads((ROOT / "docs" / "scaling.json").read_text(encoding="utf-8"))
    assert costs["date"] in page and re.search(r"[Nn]o GPU was tried", page)


@pytest.mark.parametrize("flags", [["--images", "0"], ["--images", "nan"], ["--cores", "0"]])
def test_impossible_numbers_are_refused(scaling, flags):
    with pytest.raises(InputError, match="at least 1"):
        scaling.main(["--costs", str(ROOT / "docs" / "scaling.json"), *flags])
