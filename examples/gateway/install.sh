#!/bin/sh
# Installs the gateway into an environment of its own: install.sh TARGET SOURCE [PYTHON]
# SOURCE: a checkout of tfmisr, whose requirements come from the package index; or a folder of wheels that wheelhouse.py
# has made (wheelhouse/x86_64), which needs no network.
set -eu
if [ $# -lt 2 ]; then
    echo "expected TARGET SOURCE [PYTHON]: a folder to install into, and a checkout or a folder of wheels" >&2
    exit 2
fi
target=$1 python=${3:-python3}
source=$(cd "$2" && pwd) # absolute: pip would take a bare name for a package of the index
extras=dicom,gateway,sign
"$python" -m venv "$target"
if [ -f "$source/pyproject.toml" ]; then
    "$target/bin/pip" install --quiet --no-cache-dir "$source[$extras]"
else
    # No setting of pip may add an index or wheels from elsewhere.
    PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS='' \
        "$target/bin/pip" install --quiet --no-cache-dir --no-index --find-links "$source" "tfmisr[$extras]"
fi
"$target/bin/python" -m tfmisr.gateway conformance >/dev/null # all of the extra can be imported
