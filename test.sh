#!/usr/bin/env bash
# Installs what the tests need (Debian packages, by sudo when you are not root) and runs them all.
#   ./test.sh              everything
#   ./test.sh adopt        only tests whose name contains "adopt"
set -euo pipefail
cd "$(dirname "$0")"

# program:package
needs=(cc:gcc python3:python3 curl:curl openssl:openssl h2load:nghttp2-client dig:bind9-dnsutils setsid:util-linux unshare:util-linux
  mount:mount setpriv:util-linux ip:iproute2 nsenter:util-linux pgrep:procps nsd:nsd knotd:knot
  unbound:unbound nghttpd:nghttp2-server named-checkzone:bind9-utils musl-gcc:musl-tools
  haproxy:haproxy nginx:nginx-light logrotate:logrotate)
missing=()
for need in "${needs[@]}"; do
  command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
# What the real Mesos of the stories needs, libraries among it; what gRPC and WebSocket clients need.
for package in python3-grpcio python3-websockets $(cat tests/support/mesos/packages.txt); do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
done
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
if [ "${#missing[@]}" -gt 0 ]; then
  echo "installing ${missing[*]}"
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
[ "$(id -u)" = 0 ] || echo "stories with a real Mesos and with resolvers of their own need root (network and process namespaces); without it they fail" >&2
command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.95 or later from https://rustup.rs" >&2; exit 1; }

# Stories start many processes with many connections each.
ulimit -n "$(ulimit -Hn)"
# The stories run the release binary, so it is built before any of them starts.
cargo build --release --workspace
tests/support/mesos/build.sh "${CARGO_TARGET_DIR:-target}/mesos" >/dev/null
cargo test --release --workspace --no-fail-fast -- "$@"
