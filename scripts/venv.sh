#!/usr/bin/env bash
# Make the virtual environment that make uses: scripts/venv.sh FOLDER EXTRAS. Done again only when
# pyproject.toml or constraints.txt changed. The exact set of versions is for Python 3.11.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
extras=$2
stamp="$folder/edgeward.stamp"
want="$extras $(cat pyproject.toml constraints.txt scripts/venv.sh | sha256sum)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && "$folder/bin/python" -c 'import edgeward.runtime' 2>/dev/null; then
    exit 0
fi
python=$(bash scripts/python.sh)
echo "making $folder with $("$python" --version), extras $extras"
if ! "$folder/bin/python" -c '' 2>/dev/null; then
    rm -rf "$folder"
    "$python" -m venv "$folder"
fi
constraints=()
if "$folder/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    constraints=(-c constraints.txt)
fi
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "${constraints[@]}" --editable ".[$extras]"
"$folder/bin/python" -m pip check
printf '%s' "$want" > "$stamp"
