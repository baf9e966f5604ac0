#!/usr/bin/env bash
# Print the Python to build the environment with: 3.11 where there is one, because tflite-runtime
# 2.14.0 (what most devices run) has no wheel above it.
set -euo pipefail
for name in ${PYTHON:-} python3.11 python3 python; do
    # The name may be a shim that answers "not installed", so it is really run.
    if "$name" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        command -v "$name"
        exit 0
    fi
done
echo "edgeward needs Python >= 3.11 with the venv module; found none of python3.11, python3, python." >&2
echo "  how to fix: install it (Debian: apt-get install python3 python3-venv), or make PYTHON=/path/to/python" >&2
exit 2
