#!/bin/sh
# Installs this bundle, or updates to it: sh install.sh [--trust PUBKEY] [--allow-downgrade] [PREFIX]
# PREFIX is ~/oddeven unless given. With --trust, this bundle and all later ones must be signed by a key of the file PUBKEY.
# Everything new is made and self-tested in a folder of its own; one rename then makes it the current one.
set -eu

fail() {
    echo "install.sh: $*" >&2
    if [ -e "${prefix:-}/current" ]; then echo "install.sh: $prefix is as it was." >&2; fi
    exit 1
}

point() { # point NAME TARGET: make the link PREFIX/NAME, or change it, in one step
    rm -f "$prefix/.$1.new"
    ln -s "$2" "$prefix/.$1.new"
    mv -T "$prefix/.$1.new" "$prefix/$1"
}

pubkey=
downgrade=
while [ $# -gt 0 ]; do
    case $1 in
        --trust) pubkey=$(realpath "${2:?--trust needs the file of a public key}") && shift ;;
        --allow-downgrade) downgrade=yes ;;
        -*) fail "There is no option $1." ;;
        *) break ;;
    esac
    shift
done
[ $# -le 1 ] || fail "There is one PREFIX, after the options, and not: $*"
prefix=${1:-$HOME/oddeven}
python=${PYTHON:-python3}
case $prefix in
    /*) ;;
    *) prefix=$(pwd)/$prefix ;;
esac
case $prefix in
    *[!A-Za-z0-9/._-]*) fail "PREFIX may hold letters, digits and / . _ - only, and is $prefix" ;;
esac
cd "$(dirname "$0")"
sha256sum --check --quiet SHA256SUMS || fail "The bundle is damaged; copy it to this machine again."
[ "$(find . ! -type d ! -name 'SHA256SUMS*' | wc -l)" = "$(wc -l <SHA256SUMS)" ] ||
    fail "The bundle is damaged: it has files that SHA256SUMS does not list; unpack it into an empty folder."

signers=$(mktemp)
trap 'rm -f "$signers"' EXIT
if [ -n "$pubkey" ]; then
    grep -E '^(sk-)?ssh-ed25519' "$pubkey" | sed 's/^/oddeven namespaces="oddeven" /' >"$signers"
    [ -s "$signers" ] || fail "$pubkey holds no Ed25519 public key of OpenSSH."
elif [ -e "$prefix/trusted" ]; then
    cat "$prefix/trusted" >"$signers"
fi
if [ -s "$signers" ]; then
    command -v ssh-keygen >/dev/null || fail "Signatures need ssh-keygen: sudo apt install openssh-client"
    [ -e SHA256SUMS.sig ] || fail "The bundle is unsigned, and this machine trusts a key: make it with oddeven bundle --sign."
    ssh-keygen -Y verify -f "$signers" -I oddeven -n oddeven -s SHA256SUMS.sig <SHA256SUMS ||
        fail "The signature is not by a trusted key."
else
    echo "The signature was not checked: no key is trusted; see --trust."
fi
release=$(cat RELEASE)
installed=$(cat "$prefix/current/RELEASE" 2>/dev/null || echo 0)
[ -n "$downgrade" ] || [ "$release" -ge "$installed" ] ||
    fail "Release $release is older than the installed $installed; to take it all the same, add --allow-downgrade."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "There is no Python: sudo apt install python3"
bits=$("$python" -c 'import struct; print(8 * struct.calcsize("P"))') # uname -m lies on a 32-bit system with a 64-bit kernel

mkdir -p "$prefix/versions" "$prefix/inbox" "$prefix/results" || fail "Cannot write to $prefix."
exec 9<"$prefix/versions" # a lock that ends with this process; a file system without locks is taken as it is
flock -n 9 || [ $? -ne 1 ] || fail "Another install.sh is at work on $prefix; wait until it has ended."
stage=$(mktemp -d "$prefix/versions/XXXXXXXX")
trap 'rm -rf "$stage" "$signers"' EXIT
trap 'exit 130' HUP INT TERM
chmod 755 "$stage"

# Debian's own Python packages are wanted where pip has no wheel (32 bits), and for a camera or pins.
site=
if [ "$bits" = 32 ] || "$python" -c 'import importlib.util as u; raise SystemExit(not any(map(u.find_spec, ("picamera2", "cv2", "gpiozero"))))'; then
    site=--system-site-packages
fi
# shellcheck disable=SC2086  # no word where it is empty
"$python" -m venv $site "$stage/venv" || fail "No virtual environment: sudo apt install python3-venv"

source=
set -- wheels/*.whl
if [ $# -gt 1 ]; then source="--no-index --find-links=wheels"; fi
pip() { # shellcheck disable=SC2086
    "$stage/venv/bin/python" -m pip install --quiet --disable-pip-version-check $source "$@" ||
        fail "pip could not install for Python $version, $bits bits; see above."
}
set -- wheels/oddeven-*.whl
if [ "$bits" = 64 ]; then
    extra='[mqtt]'
    if ! ls model/*.tflite >/dev/null 2>&1; then extra='[mqtt,onnx]'; fi
    pip "./$1$extra"
else
    "$python" -c 'import numpy, PIL' || fail "NumPy or Pillow is missing: sudo apt install python3-numpy python3-pil"
    pip 'click>=8.1' 'flatbuffers>=23.5' 'paho-mqtt>=2'
    if [ "$version" = 3.11 ]; then
        pip --no-deps 'tflite-runtime>=2.14'
    else
        "$python" -c 'import onnxruntime' ||
            fail "No TFLite engine exists for 32 bits and Python $version; for .onnx files: sudo apt install python3-onnxruntime"
    fi
    pip --no-deps "./$1" # last, or pip misses what its markers name by a 64-bit kernel
fi
serving=
if [ -e oddeven-serve.service ]; then
    serving=yes
    pip 'starlette>=0.40' 'uvicorn>=0.30' 'prometheus-client>=0.20'
fi

cp -R --no-preserve=mode model RELEASE wheels "$stage" # the wheels for a delta later; a bundle may be read-only
chosen=
for file in "$stage"/model/*.tflite "$stage"/model/*.onnx; do
    [ -e "$file" ] || continue
    code=0
    "$stage/venv/bin/oddeven" selftest "$file" || code=$?
    case $code in
        0) chosen=$file && break ;;
        3) ;; # no engine for this kind of file here
        *) fail "The model ${file##*/} failed its self-test (exit code $code)." ;;
    esac
done
[ -n "$chosen" ] || fail "The bundle holds no model that an engine here reads; bundle an artifact folder, which has .onnx too."

echo "$chosen" >"$stage/MODEL" # in a file, for its name may mean something to sh
cat >"$stage/oddeven" <<END
#!/bin/sh
ODDEVEN_MODEL=\${ODDEVEN_MODEL:-\$(cat "$stage/MODEL")}
export ODDEVEN_MODEL
exec "$stage/venv/bin/oddeven" "\$@"
END
chmod 755 "$stage/oddeven"
for unit in oddeven-*.service; do
    sed -e "s|@PREFIX@|$prefix|g" -e "s|@USER@|$(id -un)|" "$unit" >"$stage/$unit"
done
if [ "$serving" ]; then
    mkdir -p "$prefix/collected"
    if ! [ -e "$prefix/serve.env" ]; then # the token stays the same over updates
        (umask 077 && "$python" -c 'import secrets; print("ODDEVEN_TOKEN=" + secrets.token_urlsafe(16))' >"$stage/serve.env")
        mv "$stage/serve.env" "$prefix/serve.env"
    fi
fi

if [ -n "$pubkey" ]; then
    cp "$signers" "$prefix/.trusted.new"
    mv "$prefix/.trusted.new" "$prefix/trusted"
fi
sync
if [ -L "$prefix/current" ]; then point previous "$(readlink "$prefix/current")"; fi
point current "versions/${stage##*/}"
trap 'rm -f "$signers"' EXIT
point oddeven current/oddeven
trial=$(cat "$prefix/trial" 2>/dev/null || true) # what oddeven update would go back to
for old in "$prefix"/versions/*; do
    if ! [ "$old" -ef "$prefix/current" ] && ! [ "$old" -ef "$prefix/previous" ] && ! [ "$old" -ef "$prefix/$trial" ]; then
        rm -rf "$old"
    fi
done

echo "Ready: ${chosen##*/}. To classify an image:"
echo "  $prefix/oddeven predict photo.jpg"
if [ "$serving" ]; then
    echo "To serve the page on port 8000, now and after each start:"
    echo "  sudo cp $prefix/current/oddeven-serve.service /etc/systemd/system/ && sudo systemctl enable --now oddeven-serve"
    echo "Its address, with the token:  journalctl -u oddeven-serve | grep token="
fi
