#!/usr/bin/env bash
# Installs the system packages that a step needs, or says exactly what is missing.
#   setup.sh build   compilers and headers for RocksDB and librdkafka
#   setup.sh kafka   Java and Maven, for the tests that run a real Kafka
#   setup.sh demo    a tool that opens a port
set -euo pipefail

missing=()
need() { # need PACKAGE TEST...: the Debian package, and a command that succeeds when it is there
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
have() { command -v "$1"; }
# Cargo takes what another clone left in a shared target directory for its own when its sources are older: file times are
# all it looks at. So a directory that another clone used last is emptied of our own crates; RocksDB stays.
claim_target() {
    local target=${CARGO_TARGET_DIR:-target} members
    local mark=$target/.clone
    if [ -d "$target" ] && [ "$(cat "$mark" 2>/dev/null)" != "$PWD" ]; then
        members=$(sed -n 's/^name = "\(tripline[a-z-]*\)"$/\1/p' Cargo.lock)
        # shellcheck disable=SC2086 # One option a crate.
        cargo clean --quiet --release --locked $(printf -- '--package %s ' $members)
    fi
    mkdir -p "$target"
    echo "$PWD" >"$mark"
}
header() { echo "#include <$1>" | cc -E -; }
any_of() { # any_of PATTERN...: whether some file fits one of them
    local pattern
    for pattern in "$@"; do
        compgen -G "$pattern" && return
    done
    return 1
}
# The C library that bindgen loads, not libclang-cpp, which compilers bring along without it; and the compiler's own headers,
# which the library's package does not depend on.
libclang() {
    local at libraries=() headers=()
    [ -n "${LIBCLANG_PATH:-}" ] && return
    for at in '/usr/lib/llvm-*/lib' '/usr/lib/*' /usr/lib64 /usr/lib '/usr/local/lib*'; do
        libraries+=("$at/libclang.so*" "$at/libclang-[0-9]*.so*")
        headers+=("$at/clang/*/include/stddef.h")
    done
    any_of "${libraries[@]}" && any_of "${headers[@]}"
}
# Whether a version (1.91.0) is at least another one.
at_least() { printf '%s\n%s\n' "$2" "$1" | sort -V -C; }
java_17() { # 1.8 calls itself so; later ones 11, 17, 21.
    local version
    version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9.]*\).*/\1/p')
    [ -z "$version" ] || at_least "$version" 17
}

case "${1:-build}" in
build)
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    if ! have cargo >/dev/null; then
        echo "setup: cargo is missing: install Rust $wanted or later (your distribution's rustup, or your own way)" >&2
        exit 2
    fi
    # An old one does not get as far as to say so.
    version=$(cargo --version | cut -d ' ' -f 2)
    if ! at_least "$version" "$wanted"; then
        echo "setup: cargo $version is too old: install Rust $wanted or later (such as by rustup)" >&2
        exit 2
    fi
    need gcc have cc
    need g++ have c++
    need make have make
    need pkg-config have pkg-config
    need libclang-dev libclang
    need libssl-dev header openssl/ssl.h
    need zlib1g-dev header zlib.h
    claim_target
    ;;
kafka)
    if [ -z "${TRIPLINE_TEST_KAFKA:-}" ]; then
        need default-jre-headless have java
        need maven have mvn
        if have java >/dev/null && ! java_17; then
            echo "setup: \`java\` is older than 17, which Kafka needs: install a newer one (openjdk-17-jre-headless or later), or" >&2
            echo "setup: set TRIPLINE_TEST_KAFKA=host:port to a broker that you have" >&2
            exit 2
        fi
    fi
    ;;
demo)
    have nc >/dev/null || have perl >/dev/null || need netcat-openbsd have nc
    ;;
*)
    echo "setup: unknown step '$1': expected build, kafka or demo" >&2
    exit 2
    ;;
esac

[ ${#missing[@]} -eq 0 ] && exit 0
echo "setup: missing system packages: ${missing[*]}" >&2
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    have sudo >/dev/null && as_root=(sudo)
    if [ ${#as_root[@]} -eq 0 ]; then
        echo "setup: install them as root: apt-get install ${missing[*]} (names on other systems may differ)" >&2
        exit 2
    fi
fi
if ! have apt-get >/dev/null; then
    echo "setup: this system has no apt-get; install what provides: ${missing[*]}" >&2
    exit 2
fi
echo "setup: installing them with apt-get" >&2
# By env, since sudo hands no variables on.
apt_get() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >&2; }
apt_get update
apt_get install -y --no-install-recommends "${missing[@]}"
