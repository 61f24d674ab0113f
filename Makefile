PYTHON ?= python3
VENV ?= .venv
RUN ?= .
EXTRA ?= cpu# or gpu: FAISS for CUDA
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/ready
export PATH := $(BIN):$(PATH)
# Threads that wait spin for microseconds, then sleep: a third faster than at once on idle cores, a tenth slower on busy
# ones, where libgomp's own choice is five times slower (docs/log.md).
export GOMP_SPINCOUNT ?= 1000
FASHION_FILES := /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

in-git:
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "make $(MAKECMDGOALS): expected a git repository, which DVC" \
		"needs here, got none: git init, or python -m stages.new_run runs/mine for a run that needs none"; exit 2; }

demo: in-git $(READY)  ## the whole chain on scikit-learn's digits: nothing to download, under 3 minutes
	dvc repro
	@dvc metrics show data/evaluate/metrics.json
	@echo "the page: data/report/index.html"

fashion: $(READY)  ## the same chain on Fashion-MNIST's 60,000 images, in runs/fashion
	@test -f $(FASHION_FILES) || ! command -v apt-get >/dev/null || apt-get install -y dataset-fashion-mnist \
		|| echo "the package dataset-fashion-mnist did not install: ingest will try a download"
	python -m stages.new_run runs/fashion --preset presets/fashion-mnist/laptop.yaml
	cd runs/fashion && dvc repro && dvc metrics show data/evaluate/metrics.json
	@echo "the page: runs/fashion/data/report/index.html"

# Runs the chain of RUN. That it stops for labels is no failure, so the first of them are asked for before dvc goes on.
define GO_ON
	@cd "$(RUN)" && dvc repro graph select && python -m stages.ask && if test -f data/label/labels.csv; then \
		dvc repro && echo "the page: $(RUN)/data/report/index.html"; else \
		echo "Label the images with: make label$(OF_RUN)" && \
		echo "or open $(RUN)/data/label/page.html, save labels.csv into $(RUN)/data/annotations, then:" \
		"make images$(OF_RUN)"; fi
endef
OF_RUN = $(if $(filter-out runs/images,$(RUN)), RUN='$(RUN)')

# What is asked for is checked first: an environment takes minutes.
pictures-there:
	@test -d "$(IMAGES)" || test -z "$(IMAGES)" -a -d "$(RUN)/.dvc" || { echo "make images: expected" \
		"IMAGES=/a/folder/of/pictures, got '$(IMAGES)'$(if $(IMAGES),: no such folder)"; exit 2; }

budget-number:
	@test -z "$(BUDGET)" || echo "$(BUDGET)" | grep -qx '[1-9][0-9]*' || \
		{ echo "make $(MAKECMDGOALS): expected BUDGET=60, a number of labels, got '$(BUDGET)'"; exit 2; }

run-there:
	@test -d "$(RUN)/.dvc" || \
		{ echo "make $(MAKECMDGOALS): expected RUN=a/run, got '$(RUN)'; begin with make images"; exit 2; }
	$(if $(filter-out .,$(RUN)),@echo "paths are relative to $(RUN)")

images: RUN = runs/images
images: pictures-there budget-number $(READY)  ## your own pictures: IMAGES=/a/folder BUDGET=60 asks for 60 labels; then `make images` goes on with them
	@test -z "$(IMAGES)" || python -m stages.images "$(RUN)" --images "$(IMAGES)" \
		$(if $(BUDGET),--budget $(BUDGET)) $(if $(PRESET),--preset "$(PRESET)")
	@echo "paths are relative to $(RUN)"
	$(GO_ON)

label: RUN = runs/images
label: run-there $(READY)  ## label the images that RUN asks for, in a page that saves each label at once
	@cd "$(RUN)" && python -m stages.label --serve

round: RUN = runs/images
round: run-there budget-number $(READY)  ## keep the labels of RUN, choose BUDGET=40 images more, and go on
	@cd "$(RUN)" && python -m stages.next_round $(if $(BUDGET),--budget $(BUDGET))
	$(GO_ON)

replace: RUN = runs/images
replace: run-there $(READY)  ## other picks of RUN in place of those that you skipped
	@cd "$(RUN)" && python -m stages.replace_picks
	$(GO_ON)

compare: $(READY)  ## runs side by side: RUNS="runs/a runs/b runs/b@an-experiment"
	@test -n "$(RUNS)" || { echo 'make compare: expected RUNS="runs/a runs/b", got none'; exit 2; }
	@python -m stages.compare $(RUNS)

replicate: $(READY)  ## train and evaluate again under several seeds, over what RUN (a folder) has, as a rule this one
	@mkdir -p "$(RUN)/experiments/replicate" && for file in experiments/replicate/*.yaml; do \
		test -e "$(RUN)/$$file" || ! test -e $$file || cp $$file "$(RUN)/$$file"; done
	cd "$(RUN)" && dvc repro experiments/replicate/dvc.yaml
	@echo "mean, deviation, interval: $(RUN)/experiments/replicate/summary.csv"

study: run-there $(READY)  ## what each label is worth, where every image has an answer: selectors x methods x budgets x seeds; STUDY="--seeds 10" adds to it
	@cd "$(RUN)" && python -m stages.study $(STUDY)

transfer: run-there $(READY)  ## which backbone for your images: TRANSFER="--backbone packaged --backbone random:resnet18 --data RUN-OR-FOLDER"
	@cd "$(RUN)" && python -m stages.transfer $(TRANSFER)

small-data: run-there $(READY)  ## training methods on 50 images of each class: SMALL="--data RUN-OR-FOLDER --method finetune --per-class 20"
	@cd "$(RUN)" && python -m stages.small_data $(SMALL)

test: $(READY)  ## the tests that take seconds: under 5 minutes on 2 cores
	python -m pytest -n auto -m "not slow"

test-all: $(READY)  ## all tests, those of whole chains and several processes too: under 20 minutes on 2 cores
	python -m pytest -n auto

check: $(READY)  ## format, lint, types, import contracts, and that each test can be imported
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	@tests="$$(python -m pytest --collect-only)" || { echo "$$tests" | tail -20; exit 2; }

bench: $(READY)  ## speed beside floors, limits and the last runs (benchmarks/record.json); peers too: pip install '.[peers]'
	@failed=; for name in ingest reading embed training select; do \
		python -m benchmarks.$$name || failed="$$failed $$name"; done; \
		test -z "$$failed" || { echo "make bench: below a limit, or fallen:$$failed"; exit 2; }

setup: $(READY)  ## the environment alone

$(READY): pyproject.toml constraints.txt
	@echo "installing into $(VENV), which takes some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRA),timm,weights,heic,onnx,ray,test]'
	touch $(READY)

.PHONY: help demo fashion images label round replace compare replicate study transfer small-data test test-all check bench setup \
	pictures-there budget-number run-there in-git
