"""What it takes to read the output of very long runs: memory beyond that of a tenth of it, and CPU time."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.engines.espresso import failures as pw_failures
from nanoos_lab.engines.espresso.output import Reader
from nanoos_lab.engines.lammps import failures as lammps_failures
from nanoos_lab.engines.lammps.batch.output import Table
from nanoos_lab.engines.signatures import Scanner
from nanoos_lab.engines.vasp import outcar, vasprun
from nanoos_lab.engines.vasp.tail import Tail
from tests.benchmarks.figures import Figure
from tests.engines.espresso.running import SILICON, Runner, silicon
from tests.engines.vasp.synthetic import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Megabytes of a file, in full and where it is only to be seen that it runs.
FULL, QUICK = 1000, 20
#: Most MiB that a file may take beyond those of one a tenth as long.
MOST = 8.0


def run(quick: bool) -> list[Figure]:
    """Read files of each kind, each in a process of its own."""
    size = QUICK if quick else FULL
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="nanoos-bench-") as folder:
        for kind in KINDS:
            (small, _), (large, seconds) = (_read(kind, Path(folder) / kind, part) for part in (size // 10, size))
            figures += [
                Figure(name=f"{kind} of {size} MB: more memory", value=large - small, unit="MiB", at_most=MOST),
                Figure(name=f"{kind} of {size} MB: CPU", value=seconds, unit="s"),
            ]
    return figures


def _read(kind: str, path: Path, megabytes: int) -> tuple[float, float]:
    """Make a file and read it; return the most memory in MiB and the CPU seconds of the process that read it."""
    write, _ = KINDS[kind]
    with path.open("w", encoding="utf-8") as file:
        for text in write(1_000_000 * megabytes):
            file.write(text)
    command = [sys.executable, "-m", "tests.benchmarks.large_files", kind, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    path.unlink()
    read, memory, seconds = done.stdout.split()
    if int(read) < 2:
        raise RuntimeError(f"{read} steps were read of {path.name}")
    return float(memory), float(seconds)


def _repeated(head: str, part: Callable[[int], str], size: int, tail: str = "") -> Iterator[str]:
    """Yield a file of about that size: its head, so many parts, each by its number, and its tail."""
    yield head
    for number in count(1):
        text = part(number)
        yield text
        size -= len(text)
        if size <= 0:
            break
    yield tail


def _outcar(size: int) -> Iterator[str]:
    """Write VASP's log of a run of many steps, each with the bands of many k-points."""
    run = Run(steps=1, iterations=8)
    text = run.outcar()
    step = text[text.index("-" * 39 + " Iteration") : text.index(" General timing")]
    bands = "      1      -6.5288      2.00000\n" * 4000
    yield from _repeated(
        "\n".join(run.head()) + "\n",
        lambda number: step.replace("Iteration      1(", f"Iteration {number:6d}(") + bands,
        size,
    )


def _vasprun(size: int) -> Iterator[str]:
    """Write VASP's XML of a run of many steps."""
    text, end = Run(steps=1).xml(), "</calculation>\n"
    begin, finish = text.index(" <calculation"), text.index(end) + len(end)
    yield from _repeated(text[:begin], lambda _number: text[begin:finish], size, text[finish:])


def _pw(size: int) -> Iterator[str]:
    """Write pw.x's output of a run of many steps: that of a real one, with its cycle repeated."""
    text, begin = _real_output(), "     Self-consistent Calculation"
    first = text.index(begin)
    second = text.index(begin, first + 1)
    yield from _repeated(text[:first], lambda _number: text[first:second], size)


def _real_output() -> str:
    """Return what pw.x says of some steps of molecular dynamics."""
    with tempfile.TemporaryDirectory(prefix="nanoos-bench-") as folder:
        done = Runner(Path(folder))(silicon(shift=0.1), "md", steps=3, timestep=1.0, **SILICON)
        return (done.context.workdir / "espresso.out").read_text()


def _log(size: int) -> Iterator[str]:
    """Write LAMMPS's log of a run of many samples."""
    row = " 300.1 -1.234567890123 0.1 -1.2 0.5 1000.0 \n"
    head = "   Step Temp PotEng KinEng TotEng Press Volume\n"
    yield from _repeated(head, lambda number: f"{number:10d}{row}", size)


def _read_outcar(path: Path) -> int:
    return sum(isinstance(each, outcar.Step) for each in outcar.read(Tail(path).lines()))


def _read_vasprun(path: Path) -> int:
    return sum(1 for _ in vasprun.read(path, vasprun.Reader()))


def _read_pw(path: Path) -> int:
    reader, scanner = Reader(natoms=2), Scanner(pw_failures.TABLE)
    found = 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            found += reader.feed(line.rstrip("\n")) is not None
            scanner.feed(line)
    return found


def _read_log(path: Path) -> int:
    table, scanner = Table(), Scanner(lammps_failures.TABLE)
    found = 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            found += table.feed(line) is not None
            scanner.feed(line)
    return found


#: Kind of file → what writes one of a size in bytes, and what reads it and counts its steps.
KINDS: dict[str, tuple[Callable[[int], Iterator[str]], Callable[[Path], int]]] = {
    "OUTCAR": (_outcar, _read_outcar),
    "vasprun.xml": (_vasprun, _read_vasprun),
    "pw.x's output": (_pw, _read_pw),
    "LAMMPS's log": (_log, _read_log),
}


def main() -> None:
    """Read a file of a kind; print the steps, the most memory in MiB and the CPU seconds."""
    kind, path = sys.argv[1:]
    _, read = KINDS[kind]
    before = time.process_time()
    steps = read(Path(path))
    seconds = time.process_time() - before
    print(steps, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds)


if __name__ == "__main__":
    main()
