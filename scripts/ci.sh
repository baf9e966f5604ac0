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
step android-test
echo
echo "== done in $((SECONDS - began)) s"
