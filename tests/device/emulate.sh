#!/usr/bin/env bash
# Run a command in a Raspberry Pi's own userland, on any Linux machine: no mounts, no chroot, no root rights.
#
#   tests/device/emulate.sh [--suite bookworm|trixie] [--arch arm64|armhf] [--cpu CPU] [--engines SET] [--wheel FILE]
#                             -- COMMAND...
#
# COMMAND is `oddeven ARGS` or `python ARGS`. CPU is cortex-a53 (Pi 3), cortex-a72 (Pi 4), cortex-a76 (Pi 5) or, the
# only one for armhf, cortex-a7 (Pi 2: what runs on it runs on every later one). SET is `default`, or `tflite` for
# tflite-runtime, which needs a NumPy of its own. oddeven is this checkout's runtime, or FILE.
#
# Debian's packages and PyPI's wheels are kept in ${XDG_CACHE_HOME:-~/.cache}/oddeven/emulate; remove it at will.
# Exit codes: the command's; 2 wrong use; 3 a tool is missing; 4 the userland cannot be built.
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "$0")" && pwd)
pins=$here/../../constraints.txt
cache=${XDG_CACHE_HOME:-$HOME/.cache}/oddeven/emulate
suite=bookworm arch=arm64 cpu='' engines=default wheel=''

fail() {
    echo "emulate.sh: $2" >&2
    exit "$1"
}

while [ $# -gt 0 ] && [ "$1" != -- ]; do
    [ $# -gt 1 ] || fail 2 "$1 needs a value, and the command comes behind --."
    case $1 in
    --suite) suite=$2 ;;
    --arch) arch=$2 ;;
    --cpu) cpu=$2 ;;
    --engines) engines=$2 ;;
    --wheel) wheel=$(realpath "$2") ;;
    *) fail 2 "there is no option $1; known are --suite, --arch, --cpu, --engines and --wheel." ;;
    esac
    shift 2
done
[ $# -gt 1 ] || fail 2 "no command; write it behind --, for instance: -- oddeven selftest"
shift

case $suite in
bookworm) python=3.11 ;;
trixie) python=3.13 ;;
*) fail 2 "there is no suite $suite; known are bookworm and trixie." ;;
esac
debian=python3,libstdc++6,libgcc-s1
case $suite-$arch-$engines in
*-arm64-default) wheels="--constraint $pins numpy pillow click ai-edge-litert onnxruntime" ;;
bookworm-arm64-tflite) wheels='numpy<2 pillow click tflite-runtime==2.14.0' ;;
bookworm-armhf-*) wheels='--no-deps click tflite-runtime==2.14.0' debian+=,python3-numpy,python3-pil ;;
trixie-armhf-default) wheels='--no-deps click' debian+=,python3-numpy,python3-pil,python3-onnxruntime ;;
*) fail 2 "there are no engines $engines for $suite on $arch; known are default and, on bookworm, tflite." ;;
esac
case $arch in
arm64) qemu=qemu-aarch64-static machine=aarch64 triplet=aarch64-linux-gnu cpu=${cpu:-cortex-a72} ;;
armhf) qemu=qemu-arm-static machine=armv7l triplet=arm-linux-gnueabihf cpu=${cpu:-cortex-a7} ;;
esac
case $arch-$cpu in # the part's number, and what Linux calls its instructions
arm64-cortex-a53) part=0xd03 features='fp asimd evtstrm crc32 cpuid' ;;
arm64-cortex-a72) part=0xd08 features='fp asimd evtstrm crc32 cpuid' ;;
arm64-cortex-a76) part=0xd0b features='fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc asimddp' ;;
armhf-cortex-a7) part=0xc07 features='half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae' ;;
*) fail 2 "there is no $cpu for $arch; known are cortex-a53, cortex-a72 and cortex-a76 for arm64, cortex-a7 for armhf." ;;
esac

for tool in mmdebstrap "$qemu" flock python3; do
    command -v "$tool" >/dev/null || fail 3 \
        "$tool is not installed: apt-get install mmdebstrap qemu-user-static debian-archive-keyring util-linux python3-pip"
done

# cached NAME FUNCTION: the folder NAME of the cache, filled by FUNCTION once, one process at a time, whole or not at all.
cached() {
    local folder=$cache/$1
    mkdir -p "$cache"
    (
        flock 9
        [ ! -d "$folder" ] || exit 0
        rm -rf "$folder".part
        mkdir "$folder".part
        echo "emulate.sh: building $folder" >&2
        "$2" "$folder".part >"$folder.log" 2>&1 & # errexit would not hold in it on the left of ||
        wait $! || fail 4 "cannot build $folder: $(tail -n 3 "$folder.log")"
        mv "$folder".part "$folder"
    ) 9>"$folder.lock"
    echo "$folder"
}

userland() {
    local mirror keys=/usr/share/keyrings
    # The host's own mirror, if the host is a Debian; otherwise mmdebstrap knows one.
    # shellcheck disable=SC2016  # apt's own variables
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' | awk '$2 $3 == "DebianDebian" {print $1; exit}')
    apt-config dump Acquire >"$1/apt.conf" # a proxy, perhaps
    mmdebstrap --variant=extract --architectures="$arch" --include="$debian" --keyring="$keys" --aptopt="$1/apt.conf" \
        "$suite" - ${mirror:+"$mirror"} | tar -x --no-same-owner --exclude=./dev -C "$1"
    rm -rf "$1/apt.conf" "$1"/{proc,sys,usr/share/{doc,locale,man}}
    [ -e "$1/lib" ] || ln -s usr/lib "$1/lib"
    local library
    for library in blas lapack; do # Debian's own links come from scripts that `extract` does not run
        [ ! -d "$1/usr/lib/$triplet/$library" ] || ln -sf "$library/lib$library.so.3" "$1/usr/lib/$triplet/"
    done
}

# The userland with the /proc and /sys of one CPU: without them the engines' look at the CPU ends in a crash.
board() {
    local number
    mkdir -p "$1/proc" "$1/sys/devices/system/cpu"
    for number in 0 1 2 3; do
        printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\n' "$number" "$features"
        printf 'CPU architecture: %s\nCPU variant\t: 0x0\nCPU part\t: %s\nCPU revision\t: 3\n\n' \
            "$([ "$arch" = arm64 ] && echo 8 || echo 7)" "$part"
    done >"$1/proc/cpuinfo"
    for number in possible present online; do echo 0-3 >"$1/sys/devices/system/cpu/$number"; done
    ln -s "$root"/* "$1/"
}

site() {
    # shellcheck disable=SC2086  # one word an argument
    python3 "$here/foreign_pip.py" "$machine" "$python" install --quiet --target "$1" --no-compile $wheels
}

given() { python3 "$here/foreign_pip.py" "$machine" "$python" install --quiet --no-deps --target "$1" "$wheel"; }

sum() { cksum | cut -d' ' -f1; }
root=$(cached "userland-$suite-$arch-$(sum <<<"$debian")" userland)
view=$(cached "${root##*/}-$cpu" board)
packages=$(cached "wheels-$suite-$arch-$(cat "$here/foreign_pip.py" "$pins" - <<<"$wheels" | sum)" site)
oddeven=$here/../../runtime
[ -z "$wheel" ] || oddeven=$(cached "oddeven-$(sum <"$wheel")" given)

case $1 in
python) shift ;;
oddeven) shift && set -- -m oddeven.runtime "$@" ;;
*) fail 2 "the command is oddeven or python, not $1: there is nothing else to run in this userland." ;;
esac
export QEMU_LD_PREFIX=$view QEMU_CPU=$cpu PYTHONHOME=$view/usr PYTHONPYCACHEPREFIX=$cache/bytecode
export PYTHONPATH=$oddeven:$packages:$view/usr/lib/python3/dist-packages
exec "$qemu" "$view/usr/bin/python$python" "$@"
