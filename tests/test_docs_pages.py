"""What the pages of docs/ promise about each other: requirements can be found, pictures exist, nothing is remote."""

import re

import documents
import pytest

import tfmisr

ROOT = documents.ROOT


def test_every_dicom_requirement_that_code_or_tests_cite_is_in_the_conformance_statement():
    statement = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    sources = [path for folder in ("tfmisr", "tests") for path in (ROOT / folder).rglob("*.py")]
    cited = {number for path in sources for number in re.findall(r"\bD-[0-4][0-9]\b", path.read_text(encoding="utf-8"))}
    stated = set(re.findall(r'<span id="d-([0-4][0-9])"></span>D-\1 ', statement))
    assert len(cited) > 30
    assert sorted(number for number in cited if number[2:] not in stated) == []


@pytest.mark.parametrize("page", documents.PAGES, ids=documents.name)
def test_links_and_pictures_of_a_page_exist(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text)
    files = {(a or b).partition("#")[0] for a, b in targets if not re.match(r"https?:|#", a or b)}
    # MkDocs makes these of the parsers and of files in the root.
    generated = {"changelog.md", "contributing.md", "commands/index.md"}
    missing = [f for f in files if not (page.parent / f).exists() and f.removeprefix("../") not in generated]
    assert not missing


def test_the_site_loads_nothing_from_other_servers():
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings and "http" not in settings


def test_the_citation_names_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {tfmisr.__version__}\n" in citation
