"""The C programs of the kit: the mock upstream and the load generator, compiled where they changed."""

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
NATIVE = HERE / "native"
FLAGS = ("-O2", "-std=gnu17", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror")


def compiler() -> str | None:
    """The C compiler, if there is one."""
    return shutil.which("gcc")


def build(folder: Path = HERE / "build") -> Path:
    """Compile both programs into `folder`; gives it. A warning is an error."""
    gcc = compiler()
    if gcc is None:
        raise FileNotFoundError("the load kit needs gcc: apt-get install gcc libc6-dev")
    folder.mkdir(parents=True, exist_ok=True)
    newest = max(source.stat().st_mtime for source in NATIVE.iterdir())
    for name in ("mock", "load"):
        program = folder / name
        if not program.exists() or program.stat().st_mtime < newest:
            subprocess.run([gcc, *FLAGS, "-o", str(program), str(NATIVE / f"{name}.c")], check=True)
    return folder
