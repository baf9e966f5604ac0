#!/usr/bin/env bash
# What CI runs, in order; stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."
began=$SECONDS
step() {
    echo
    echo "== make $1 ($((SECONDS - began)) s)"
    make "$1"
}
# pytest reports no test as exit 5; that is a failure here, and stays one.
step test
step slow
step demo
# What stands in for devices comes from apt and Maven. On a machine without a way to them the rest
# still counts, and this says what was not proven.
if bash scripts/android/setup.sh; then
    step android-test
else
    echo "NOT PROVEN HERE: make android-test, for want of its packages"
fi
if .venv/bin/python -m scripts.devices.setup; then
    step device-test
else
    echo "NOT PROVEN HERE: make device-test, for want of its packages"
fi
echo
echo "== done in $((SECONDS - began)) s"
