# Sourced by quickstart and runtests: which Debian packages quantd is built and tested with, and how they get there.
BUILD_PACKAGES="build-essential autoconf automake pkg-config libmicrohttpd-dev libgnutls28-dev zlib1g-dev libjansson-dev libjpeg62-turbo-dev
libpng-dev libprotobuf-c-dev protobuf-c-compiler libonnx-dev nettle-dev libinih-dev check curl"
TEST_PACKAGES="python3 openssl python3-jsonschema python3-pil python3-yaml libsimde-dev libonnx-testdata chromium"

# Installs those of its arguments that are missing; says which.
install_packages() {
    missing=
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    echo "installing Debian packages:$missing"
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
