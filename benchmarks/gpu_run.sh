#!/usr/bin/env bash
# Runs benchmarks/gpu.py from a pack of benchmarks/pack_gpu.py, on a machine with JAX and no network. Results under $OUT.
#
#   bash run.sh bench                          the benchmark, about 3 minutes
#   bash run.sh train best_x4 [--minutes 8]    a training; state-* files in a folder state/ beside this file are resumed
#   bash run.sh paper [--steps 20000]          the paper's CNN and GAN
#   bash run.sh quick                          tries all of it on a CPU
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export OUT=${OUT:-$PWD/gpu-results} KERAS_BACKEND=jax PYTHONUNBUFFERED=1
# The same paths in every call and on every machine: a run names its images and initial weights by them.
site=${TFMISR_GPU:-$HOME/tfmisr-gpu}
rm -rf "$site"
mkdir -p "$site"
trap 'rm -rf "$site"' EXIT
python3 -m pip install -q --no-index --no-deps --no-compile --disable-pip-version-check --target "$site" "$here"/wheels/*.whl
export PYTHONPATH=$site
cp -r "$here/pixels" "$here/initial" "$site/" # images are unpacked where they lie
gpu() { python3 "$here/gpu.py" --cache "$site/pixels" "$@"; }
resume=()
[ ! -d "$here/state" ] || resume=(--resume "$here/state")
# Runs stay outside $OUT, which gives back few files only.
train() { gpu --initial "$site/initial" --workdir "$site/runs" "${resume[@]}" --train "$@"; }

mode=${1:?expected bench, train, paper or quick}
shift
case $mode in
bench) gpu "$@" ;;
train) train "$@" ;;
paper) train paper_cnn paper_gan --steps 20000 "$@" ;;
quick)
    gpu --quick --networks fast_x4 --dtypes float32 --batches 0
    train fast_x4 --steps 20 --batch_size 2 "$@"
    ;;
*)
    echo "expected bench, train, paper or quick. Received: $mode" >&2
    exit 2
    ;;
esac
