# Two commands do everything on a machine with Python and make: `make demo` and `make test`.
.PHONY: help demo test check fast slow floors ci venv format clean android apk android-test devices device-test
.DEFAULT_GOAL := help
VENV ?= .venv
BIN := $(VENV)/bin

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

venv: ## the virtual environment .venv with everything in it
	@bash scripts/venv.sh $(VENV) dev

demo: venv ## train mnist_cnn, convert it to int8, measure and run it: ends with a table
	@$(BIN)/python scripts/demo.py

test: check fast ## lint, types and the fast tests

check: venv ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fast: venv
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/android --durations 10

slow: venv ## the tests that take minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'slow and not device' --ignore tests/android --durations 10

BUNDLE ?= demo-output/bundles/mnist_cnn

android: venv ## write BUNDLE into the assets of the Android app
	$(BIN)/python -m edgeward.convert.bundle.android $(BUNDLE) android_demo/app/src/main/assets

apk: venv ## build and verify the Android package with BUNDLE (installs Debian's tools)
	@bash scripts/android/setup.sh
	$(BIN)/python scripts/android/build_apk.py $(BUNDLE)

android-test: venv ## the app's logic against Python, and the package
	@bash scripts/android/setup.sh
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow or not slow" tests/android

floors: venv ## train every recipe in full and check the accuracy it promises (about 20 minutes)
	$(BIN)/python -m pytest -m floor

ci: ## what CI runs: make test, the slow tests, the demo
	bash scripts/ci.sh

devices: venv ## prove the bundles on emulated ARM, other kernels, Android's library and TFLM: ends with a table
	-@bash scripts/android/setup.sh
	$(BIN)/python -m scripts.devices.run --write

device-test: venv ## two small bundles on every device, and damage found there
	$(BIN)/python -m pytest -n 2 -m device tests/device

format: venv ## format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and everything made
	rm -rf .venv build dist runs bundles demo-output *.egg-info
