#!/usr/bin/env bash
# Makes the programs of a real Mesos 1.11.0 (master, agent) below FOLDER and prints the folder that
# holds them; once per content of these files: later calls print the folder and do nothing else.
#   build.sh FOLDER
# The Debian packages it needs are in packages.txt; what it takes from PyPI is pinned by checksums.
set -euo pipefail
umask 022
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
key=$(cd "$here" && cat build.sh patch.py tool.cpp executor.py fetcher.py | sha256sum | cut -c1-16)
built=$(cd "$1" && pwd)/$key
exec 9>"$built.lock"
flock 9
if [ -d "$built" ]; then echo "$built"; exit; fi

work=$(mktemp -d "$built.XXXXXX")
trap 'rm -rf "$work"' EXIT
fail() { echo "build.sh: $*" >&2; exit 1; }
step() { "$@" >>"$work/log" 2>&1 || { tail -5 "$work/log" >&2; fail "failed: $*"; }; }
lib=$work/lib python=$(command -v python3)
pip=("$python" -m pip --disable-pip-version-check)
mkdir -p "$lib/openssl10" "$work/tmp"

# take REQUIREMENT SHA256 [FLAG...]: one wheel, of this content and no other
take() {
  echo "$1 --hash=sha256:$2" >"$work/wanted"
  step "${pip[@]}" download -q --no-deps --require-hashes -r "$work/wanted" -d "$work/taken" --only-binary :all: "${@:3}"
}
take pip==24.0 ba0d021a166865d2265246961bec0152ff124de910c5cc39f1156ce3fa7c69dc
take psycopg2-binary==2.7.5 a6d32c37f714c3f34158f3fa659f3a8f2658d5f53c4297d45579b9677cc4d852 \
  --python-version 3.6 --implementation cp --abi cp36m --platform manylinux1_x86_64

# The Mesos package's version is written in a way that pip reads up to 24.0 only, and the package is
# a bare tree, which pip unpacks and then complains about: hence its own folder, and "true".
step "${pip[@]}" install -q --root-user-action=ignore --no-deps --no-index --target "$work/pip" "$work"/taken/pip-*.whl
TMPDIR=$work/tmp PYTHONPATH=$work/pip "${pip[@]}" download --no-clean --no-deps --pre --no-binary :all: \
  -d "$work/taken" 'mesos-scheduler===1.11.0.linux-x86_64' >"$work/log" 2>&1 || true
object=$(find "$work/tmp" -name _scheduler.so | head -1)
[ -n "$object" ] || { tail -5 "$work/log" >&2; fail "the Mesos package did not arrive"; }
echo "84d7ee9af27e912636b139de40257df1ee4f56c201de6bba834278aa1e8fd64c  $object" | sha256sum -c --quiet

# OpenSSL 1.0.2, which this Mesos speaks TLS by: the one inside an old wheel.
step "$python" -m zipfile -e "$work"/taken/psycopg2_binary-*.whl "$work/wheel"
cp "$work"/wheel/psycopg2/.libs/* "$lib/openssl10/"
for name in ssl crypto; do
  (cd "$lib/openssl10" && ln -s lib$name-*.so* lib$name.so)
done

step "$python" "$here/patch.py" "$object" "$lib/libmesos-all.so" "$work"
step strip --strip-unneeded "$lib/libmesos-all.so"
for name in crypto ssl; do
  step gcc -w -O1 -fno-builtin -shared -fPIC -o "$lib/lib$name.so.1.0.0" "$work/$name.c" \
    -Wl,--version-script="$work/$name.map" -Wl,-soname,lib$name.so.1.0.0 -ldl
done
step g++ -w -O1 -o "$lib/mesos-tool" "$here/tool.cpp" -L"$lib" -l:libmesos-all.so \
  -Wl,--allow-shlib-undefined -Wl,--disable-new-dtags -Wl,-rpath,'$ORIGIN:$ORIGIN/openssl10'
for name in master agent containerizer; do ln -s mesos-tool "$lib/mesos-$name"; done
# The agent starts these by their names; Mesos's own environment may have no python3 on its path.
install_script() { { echo "#!$python"; cat "$here/$1"; } >"$lib/$2"; chmod 755 "$lib/$2"; }
install_script executor.py mesos-executor
install_script executor.py mesos-default-executor
install_script fetcher.py mesos-fetcher
mv "$lib" "$built"
echo "$built"
