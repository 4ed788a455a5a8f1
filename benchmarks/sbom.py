"""Software bill of materials (CycloneDX 1.6, ECMA-424) of an environment in which tfmisr is installed, for devices.

Runs `cyclonedx-py environment` of cyclonedx-bom (Apache-2.0; a tool, in another environment than the one that is
described), then makes tfmisr the main component, adds the shipped models with their SHA-256, removes paths of this
machine, and checks the licenses: none may be missing, and none may be of the GPL family. Exit status 1 otherwise.

    python3 -m venv tools && tools/bin/pip install cyclonedx-bom
    tools/bin/python benchmarks/sbom.py --python device/bin/python --output sbom.json
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

# What the metadata of a package does not say, from the LICENSE file of its distribution.
KNOWN = {"protobuf": "BSD-3-Clause"}
_COPYLEFT = re.compile(r"\b[AL]?GPL|GNU .*General Public", re.IGNORECASE)
_INSTALLER = ("pip", "setuptools", "wheel", "uv")  # of the environment, and not needed on a device
_MODELS = (
    "import json, tfmisr; from tfmisr.edge import shipped; print(json.dumps([tfmisr.__version__, shipped.sums()]))"
)


def licenses(component: dict) -> list[str]:
    """Returns the identifiers, names or expressions of a component's licenses."""
    entries = component.get("licenses") or []
    texts = [e.get("expression") or e.get("license", {}).get("id") or e.get("license", {}).get("name") for e in entries]
    return [text for text in texts if text]


def completed(bom: dict, version: str, models: dict[str, str]) -> dict:
    """Returns a bill of materials of tfmisr.

    Args:
        bom: What `cyclonedx-py environment` writes.
        version: That of tfmisr.
        models: SHA-256 of the shipped models by name.
    """
    components = [_public(c) for c in bom["components"] if c["name"] not in _INSTALLER]
    (main,) = (component for component in components if component["name"] == "tfmisr")
    for component in components:
        if not licenses(component) and component["name"] in KNOWN:
            component["licenses"] = [{"license": {"id": KNOWN[component["name"]]}}]
    files = [_model(name, digest, version) for name, digest in models.items()]
    listed = [component for component in components if component is not main] + files
    references = {component["bom-ref"] for component in (main, *listed)}
    dependencies = [d for d in bom["dependencies"] if d["ref"] in references]
    metadata = bom["metadata"] | {"component": main | {"type": "application"}}
    return bom | {"metadata": metadata, "components": listed, "dependencies": dependencies}


def _public(component):
    """Returns a component without references to files of this machine."""
    references = [r for r in component.get("externalReferences", ()) if not r["url"].startswith("file:")]
    kept = {key: value for key, value in component.items() if key != "externalReferences"}
    return kept | ({"externalReferences": references} if references else {})


def _model(name, digest, version):
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{name}",
        "name": name,
        "version": version,
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }


def problems(bom: dict) -> list[str]:
    """Returns one line for each component without a license, or with one of the GPL family."""
    lines = []
    for component in (bom["metadata"]["component"], *bom["components"]):
        found = licenses(component)
        if not found:
            lines.append(f"{component['name']}: no license is stated")
        lines += [f"{component['name']}: {text}" for text in found if _COPYLEFT.search(text)]
    return lines


def table(bom: dict) -> str:
    """Returns the components in Markdown."""
    rows = [f"| {c['name']} | {c.get('version', '')} | {', '.join(licenses(c))} |" for c in bom["components"]]
    return "\n".join(["| component | version | license |", "|---|---|---|", *rows])


def _validation_error(text: str) -> str | None:
    """Returns why a text does not follow CycloneDX's schema, `None` if it does."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return None if error is None else str(error)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see `--help`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, metavar="PROGRAM", help="Python of the environment to describe")
    parser.add_argument("--output", required=True, metavar="FILE", help="JSON file to write")
    arguments = parser.parse_args(argv)
    command = [sys.executable, "-m", "cyclonedx_py", "environment", arguments.python, "--output-reproducible"]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        parser.error(f"cyclonedx-py failed (pip install cyclonedx-bom): {made.stderr.strip().splitlines()[-1]}")
    asked = subprocess.run([arguments.python, "-I", "-c", _MODELS], capture_output=True, text=True)
    if asked.returncode:
        parser.error(f"expected tfmisr in the environment of {arguments.python}: {asked.stderr.splitlines()[-1]}")
    bom = completed(json.loads(made.stdout), *json.loads(asked.stdout))
    text = json.dumps(bom, indent=2) + "\n"
    if error := _validation_error(text):
        parser.error(f"the bill of materials does not follow CycloneDX 1.6: {error}")
    pathlib.Path(arguments.output).write_text(text, encoding="utf-8")
    print(table(bom))
    for line in problems(bom):
        print(f"license: {line}", file=sys.stderr)
    return int(bool(problems(bom)))


if __name__ == "__main__":
    sys.exit(main())
