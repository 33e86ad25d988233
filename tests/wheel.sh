#!/usr/bin/env bash
# Builds the wheel, installs it into a clean environment and uses it from outside the checkout.
#
# An editable install hides what the wheel lacks: the checkout's folders are importable whether or not they
# are packed, and data files lie where the code looks for them. So this runs where the checkout is not.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
dev=$root/.venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

echo "== build"
"$dev" -m build --wheel --no-isolation --outdir dist "$root" >build.log 2>&1 || { cat build.log; exit 1; }

echo "== install into a clean environment"
# Without pip and the old setuptools that come with it: .venv's pip installs from outside.
"$dev" -m venv --without-pip clean
pip() { "$dev" -m pip --disable-pip-version-check --python clean/bin/python "$@"; }
pip install --quiet --no-deps --no-index dist/*.whl
# The dependencies are borrowed from .venv instead of fetching some 300 MB again. A path in a .pth file is
# only appended to sys.path: .pth files that lie *there* are not read, so .venv's editable gandiag stays
# unseen, and the next lines prove it. `pip check` then holds the wheel's own requirements against them.
"$dev" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
    >"$(clean/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/borrowed.pth"
clean/bin/python - "$work" <<'PY'
import sys
import gandiag
import gandiag_cli
for package in (gandiag, gandiag_cli):
    assert package.__file__.startswith(sys.argv[1]), f"{package.__file__} is not the wheel's"
PY
pip check

echo "== the command line"
mkdir outside && cd outside
cp -r "$root/tests" "$root/fixtures" "$root/pyproject.toml" .
../clean/bin/gandiag --help >/dev/null
../clean/bin/python -m gandiag_cli --version
../clean/bin/gandiag techniques
../clean/bin/gandiag analyze fixtures/modes-missing --json >diagnosis.json
../clean/bin/python - <<'PY'
import json
diagnosis = json.load(open("diagnosis.json"))
assert diagnosis["schema"] == "gandiag.diagnosis/1" and diagnosis["verdict"] == "collapsed", diagnosis["verdict"]
PY

echo "== the tests of the parts that read data files and run directories"
../clean/bin/python -m pytest -q -n "${WORKERS:-2}" -m "not slow" tests/rundir tests/report tests/cli
