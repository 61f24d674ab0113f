#!/usr/bin/env bash
# All figures of one GPU in one call, meant for 10 minutes and not yet run on one: the tests that need a GPU, steps beside
# the time in which it is busy, ResNet-50, selection from 1.28 million vectors, the Fashion-MNIST chain (target: 60 s).
# `make setup EXTRA=gpu` first; TINY=1 runs the same with small sizes on any machine, to see that it works.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" GOMP_SPINCOUNT=0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
python -m pytest -q -n 0 tests/test_step_cost.py tests/vectors/test_clustering.py || failed=1
python -m benchmarks.gpu ${TINY:+--tiny} || failed=1
if test -n "${TINY:-}"; then
    python -m stages.new_run "$folder/run" --set pretrain.steps=5
else
    python -m stages.new_run "$folder/run" --preset presets/fashion-mnist/laptop.yaml
fi || exit 1
begun=$(date +%s)
(cd "$folder/run" && dvc repro > chain.log 2>&1) || { tail -20 "$folder/run/chain.log"; failed=1; }
echo "the chain: $(($(date +%s) - begun)) s"
cat "$folder/run/data/evaluate/metrics.json" || failed=1
exit $failed
