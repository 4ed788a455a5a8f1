"""The notebooks of docs/notebooks: stored outputs and the API that they use; with --run_large they are executed.

`python tests/test_notebooks.py` executes them and stores the new outputs.
"""

import ast
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import pytest

import tfmisr

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
LARGEST = 300_000  # bytes
PUBLIC = {"tfmisr", "tfmisr.edge", "tfmisr.datasets.chest_phantom"}  # modules that are imported from
MACHINE_PATH = re.compile(r"/(?:home|tmp|root|work|Users|private|var)/|[A-Z]:\\")
# What TensorFlow prints when it starts, on standard error.
START_UP = re.compile(r"^(?:WARNING: All log messages before absl|[IWE]\d{4} |\d{4}-\d\d-\d\d ).*\n", re.MULTILINE)
EXECUTE = """
import sys
import nbclient
import nbformat

path, folder = sys.argv[1:]
notebook = nbformat.read(path, 4)
nbformat.validate(notebook)
place = {"metadata": {"path": folder}}
try:
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
finally:
    nbformat.write(notebook, path)
"""


def read(path: pathlib.Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(notebook) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text_of(cell) -> str:
    """Returns what a cell shows as text."""
    parts = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        parts += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    return "\n".join("".join(part) for part in parts)


def check_outputs(notebook) -> None:
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "executed once, in order"
    for cell in cells:
        assert not [output for output in cell["outputs"] if output["output_type"] == "error"], text_of(cell)
        assert not MACHINE_PATH.search(text_of(cell)), text_of(cell)


def execute(path: pathlib.Path, folder: pathlib.Path) -> dict:
    """Returns a notebook executed in `folder`/work, in processes of its own that see no files of Jupyter's user."""
    copy = folder / path.name
    copy.write_bytes(path.read_bytes())
    (folder / "work").mkdir()
    search = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": search, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    environment.pop("MPLBACKEND", None)  # Jupyter's shows figures
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "TFDS_DATA_DIR"):
        environment[name] = str(folder / name.lower())
    command = [sys.executable, "-c", EXECUTE, copy, folder / "work"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return read(copy)


def without_start_up(notebook) -> dict:
    """Returns a notebook without the lines that TensorFlow prints when it starts, and without times of execution."""
    notebook["metadata"] = {key: notebook["metadata"][key] for key in ("kernelspec",)}
    for cell in notebook["cells"]:
        cell["metadata"] = {}
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            if output.get("name") == "stderr":
                output["text"] = START_UP.sub("", "".join(output["text"])).splitlines(keepends=True)
        cell["outputs"] = [output for output in cell["outputs"] if output.get("text") != []]
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_complete_small_and_of_no_machine(path):
    notebook = read(path)
    assert (notebook["nbformat"], path.stat().st_size < LARGEST) == (4, True)
    assert notebook["cells"][0]["cell_type"] == "markdown" and len(code_cells(notebook)) > 5
    check_outputs(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_the_public_api_is_used(path):
    for cell in code_cells(read(path)):
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            match node:
                case ast.Import(names):
                    modules = [alias.name for alias in names if alias.name.startswith("tfmisr")]
                    assert set(modules) <= {"tfmisr"}
                case ast.ImportFrom(module) if module.startswith("tfmisr"):
                    assert module in PUBLIC
                case ast.Attribute(ast.Name("tfmisr"), attribute):
                    assert attribute in tfmisr.__all__
                case ast.Attribute(_, attribute) | ast.alias(attribute):
                    assert not attribute.startswith("_")


@pytest.mark.large
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    for name in ("nbclient", "ipykernel"):
        pytest.importorskip(name)
    executed = without_start_up(execute(path, tmp_path))
    check_outputs(executed)
    stored = read(path)
    assert [cell["source"] for cell in executed["cells"]] == [cell["source"] for cell in stored["cells"]]
    for new, old in zip(code_cells(executed), code_cells(stored), strict=True):
        kinds = [{(o["output_type"], *o.get("data", ())) for o in cell["outputs"]} for cell in (new, old)]
        assert kinds[0] == kinds[1], text_of(new)


if __name__ == "__main__":
    for notebook_path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as temporary:
            stored_notebook = without_start_up(execute(notebook_path, pathlib.Path(temporary)))
        text = json.dumps(stored_notebook, indent=1, ensure_ascii=False, sort_keys=True)
        notebook_path.write_text(f"{text}\n", encoding="utf-8")
