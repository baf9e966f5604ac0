#!/usr/bin/env bash
# Install what tests/android and the Android package need: Java and Debian's Android tools with
# apt-get (as root, or with sudo), the rest with Maven into the cache. Done again, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(bash scripts/python.sh)
packages=$("$python" scripts/android/toolchain.py missing)
if [ -n "$packages" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "These packages of Debian are missing, and there is no apt-get: $packages" >&2
        exit 2
    fi
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    echo "installing $packages"
    "${root[@]}" apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi
"$python" scripts/android/toolchain.py
