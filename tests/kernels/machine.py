"""An emulated machine: another kernel on this machine's own files, which it cannot change."""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_INIT = Path(__file__).parent / "init"
_VIRTIOFSD = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")
_MEMORY = "3G"
_CPU = "max,-avx2"
"""All that QEMU 7.2 emulates but for what it emulates wrong: numpy's sorts by AVX2 came out of order in there."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A distribution's package, unpacked.  release: as `uname -r` says it."""

    release: str
    image: Path
    modules: Path


def unpacked(package: Path, folder: Path) -> Kernel:
    """The kernel in a .deb."""
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    (image,) = (folder / "boot").glob("vmlinuz-*")
    release = image.name.removeprefix("vmlinuz-")
    modules = next(root for root in (folder / "lib/modules", folder / "usr/lib/modules") if root.exists())
    return Kernel(release, image, modules / release)


def run(kernel: Kernel, script: str, share: Path, patience: float) -> int | None:
    """Runs a bash script as root in a machine with that kernel; `share` is its /mnt, and has what it `said`.

    Returns its exit status, or None when the machine did not get so far; `share`/console tells more.
    """
    (share / "run").write_text(script)
    initial = share / "initrd"
    _write_initial(kernel, share / "initial", initial)
    with _served(Path("/"), share / "host.socket") as host, _served(share, share / "share.socket") as own:
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", _CPU, "-smp", "2"]
        command += [
            "-m",
            _MEMORY,
            "-object",
            f"memory-backend-memfd,id=memory,size={_MEMORY},share=on",
            "-numa",
            "node,memdev=memory",
        ]
        command += ["-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{share / 'console'}"]
        command += ["-kernel", str(kernel.image), "-initrd", str(initial)]
        command += ["-append", "console=ttyS0 panic=-1 quiet rdinit=/init"]
        for tag, socket in (("host", host), ("share", own)):
            command += ["-chardev", f"socket,id={tag},path={socket}"]
            command += ["-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}"]
        try:
            subprocess.run(command, check=True, timeout=patience)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            return None
    status = share / "status"
    return int(status.read_text()) if status.exists() else None


@contextmanager
def _served(folder: Path, socket: Path) -> Iterator[Path]:
    """A folder for the machine, until it ends."""
    daemon = next(path for path in _VIRTIOFSD if Path(path).exists())
    command = [
        daemon,
        f"--socket-path={socket}",
        "-o",
        f"source={folder}",
        "-o",
        "cache=always",
        "-o",
        "sandbox=chroot",
    ]
    process = subprocess.Popen([*command, "-f"], stderr=subprocess.DEVNULL)
    try:
        while not socket.exists():
            if process.poll() is not None:
                raise RuntimeError(f"{daemon} ended with {process.returncode}")
        yield socket
    finally:
        process.kill()
        process.wait()
        socket.unlink(missing_ok=True)


def _write_initial(kernel: Kernel, root: Path, file: Path) -> None:
    """The initial file tree: busybox, the modules and `init`."""
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    shutil.copy(_INIT, root / "init")
    (root / "init").chmod(0o755)
    modules = root / "lib/modules" / kernel.release
    for part in ("drivers/virtio", "fs/fuse", "fs/overlayfs"):
        for module in (kernel.modules / "kernel" / part).glob("*.ko*"):
            target = modules / "kernel" / part / module.name.removesuffix(".xz")
            target.parent.mkdir(parents=True, exist_ok=True)
            content = module.read_bytes()
            target.write_bytes(lzma.decompress(content) if module.suffix == ".xz" else content)
    for listing in kernel.modules.glob("modules.*"):
        shutil.copy(listing, modules)
    subprocess.run(["depmod", "-b", root, kernel.release], check=True)
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    with file.open("wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names.encode(), stdout=out, check=True)
    shutil.rmtree(root)
    os.sync()
