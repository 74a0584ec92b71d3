#!/usr/bin/env python3
"""Not VASP: plays back what VASP once wrote, in its order and at its pace, for the tests of everything around it.

It computes nothing. It refuses to start without the four input files, with a POSCAR and a POTCAR that do not belong
together or to the recording, or for a density that is not there; it obeys STOPCAR, as VASP does, between SCF iterations
(LABORT) and ionic steps (LSTOP). What VASP prints and leaves of an ionic step after LABORT is not documented; here it
is all, as if the step were whole.

Environment
-----------
VASP_REPLAY
    Directory of the recording: OUTCAR and vasp_output, perhaps vasprun.xml and CONTCAR. Several, with colons between
    them, are played one at each start, by the diary; the last one ever after.
VASP_REPLAY_SPEED
    How many times faster than recorded; 1 by default.
VASP_REPLAY_EXIT
    Exit code; 0 by default.
VASP_REPLAY_DEAF
    If set, STOPCAR is not obeyed.
VASP_REPLAY_FOLLOWED
    File whose lines are the ionic steps that were seen, written by the test: no step comes before the one before it was
    seen, however slow the machine makes those who look.
VASP_REPLAY_NO_REPORT
    If set, no REPORT is written.
VASP_REPLAY_NO_CHGCAR
    If set, no CHGCAR is written, though the INCAR asks for one.
VASP_REPLAY_DIARY
    File to which a line of JSON is added at each start: what the input files were.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

INPUTS = ("INCAR", "KPOINTS", "POSCAR", "POTCAR")
#: A recording's line that ends an SCF iteration, or an ionic step.
LOOP = re.compile(r"^\s+LOOP(\+?):.*real time\s*([\d.]+)")
SCF = re.compile(r"^\s*[A-Z]{2,4}:\s+\d+\s")
IONIC = re.compile(r"^\s+\d+ (F|T)=")
#: Random numbers that a step draws.
DRAWN = 9
CLOSING = """\
 General timing and accounting informations for this job:
 ========================================================
                         Elapsed time (sec):        0.000
"""


def main() -> int:
    recording = which()
    for name in INPUTS:
        if not Path(name).is_file() or not Path(name).stat().st_size:
            print(f" vasp_replay: there is no {name}", flush=True)
            return 1
    outcar = (recording / "OUTCAR").read_text(errors="replace").splitlines(keepends=True)
    if (why := unsuitable("".join(outcar))) is not None:
        print(f" vasp_replay: {why}", flush=True)
        return 1
    asked_for = Path("INCAR").read_text()
    if "ICHARG = 11\n" in asked_for and not Path("CHGCAR").is_file():
        print(" vasp_replay: there is no CHGCAR", flush=True)
        return 1
    write_diary()
    Path("WAVECAR").write_bytes(b"half of")
    said = (recording / "vasp_output").read_text(errors="replace").splitlines(keepends=True)
    whole = play(outcar, said, recording)
    write_xml(recording, None if whole else steps_so_far())
    if whole and (recording / "CONTCAR").is_file():
        Path("CONTCAR").write_bytes((recording / "CONTCAR").read_bytes())
    Path("WAVECAR").write_bytes(b"not wave functions")
    if whole and "LCHARG = .TRUE.\n" in asked_for and not os.environ.get("VASP_REPLAY_NO_CHGCAR"):
        Path("CHGCAR").write_bytes(b"not a charge density")
    return int(os.environ.get("VASP_REPLAY_EXIT", "0"))


def which() -> Path:
    """Return the recording for this start."""
    choice = os.environ["VASP_REPLAY"].split(os.pathsep)
    diary = Path(os.environ.get("VASP_REPLAY_DIARY", os.devnull))
    before = len(diary.read_text().splitlines()) if diary.is_file() else 0
    return Path(choice[min(before, len(choice) - 1)])


def unsuitable(outcar: str) -> str | None:
    """Say why the input files do not go with each other or with the recording."""
    poscar = Path("POSCAR").read_text().splitlines()
    species = poscar[5].split()
    titles = re.findall(r"TITEL\s*=\s*\S+\s+([A-Z][a-z]?)", Path("POTCAR").read_text())
    if titles != species:
        return f"POSCAR has {species}, POTCAR has {titles}"
    recorded = re.search(r"ions per type =\s+([\d ]+)", outcar)
    if recorded is not None and recorded[1].split() != poscar[6].split():
        return f"the recording is of other atoms: {recorded[1].split()}, not {poscar[6].split()}"
    return None


def write_diary() -> None:
    diary = os.environ.get("VASP_REPLAY_DIARY")
    if diary is None:
        return
    entry: dict[str, object] = {name: Path(name).read_text() for name in ("INCAR", "KPOINTS", "POSCAR")}
    entry |= {"POTCAR bytes": Path("POTCAR").stat().st_size, "there": sorted(os.listdir())}
    with open(diary, "a") as file:
        file.write(json.dumps(entry) + "\n")


def play(outcar: list[str], said: list[str], recording: Path) -> bool:
    """Write OUTCAR and say what was said; return whether it came to the end of the recording."""
    speed = float(os.environ.get("VASP_REPLAY_SPEED", "1"))
    spoken = iter(said)
    cut = pieces(outcar)
    with open("OUTCAR", "w") as out:
        for piece, kind, seconds in cut:
            # Ionic steps count their SCF iterations once more.
            time.sleep((seconds if kind == "scf" else 0.0) / speed)
            if kind == "ionic":
                wait_for_who_follows()
            out.write("".join(piece))
            out.flush()
            if kind == "rest":
                break
            speak(spoken, SCF if kind == "scf" else IONIC)
            if kind == "ionic":
                write_contcar(outcar)
                write_report()
            if asked("LABORT") or (kind == "ionic" and asked("LSTOP")):
                if kind == "scf":
                    out.write(" ----- aborting loop because hard stop was set -----\n")
                    rest = next((piece for piece, kind, _ in cut if kind == "ionic"), [])
                    out.write("".join(line for line in rest if "aborting loop" not in line))
                    out.flush()
                    write_contcar(outcar)
                out.write(CLOSING)
                return False
    for line in spoken:
        sys.stdout.write(line)
    sys.stdout.flush()
    return True


def pieces(lines: list[str]):
    """Cut a recording after each SCF iteration and ionic step."""
    piece: list[str] = []
    for line in lines:
        piece.append(line)
        if found := LOOP.match(line):
            yield piece, "ionic" if found[1] else "scf", float(found[2])
            piece = []
    yield piece, "rest", 0.0


def speak(lines, until: re.Pattern[str]) -> None:
    for line in lines:
        sys.stdout.write(line)
        if until.match(line):
            break
    sys.stdout.flush()


def asked(tag: str) -> bool:
    if os.environ.get("VASP_REPLAY_DEAF") or not Path("STOPCAR").is_file():
        return False
    return re.search(rf"{tag}\s*=\s*\.?T", Path("STOPCAR").read_text()) is not None


def wait_for_who_follows() -> None:
    note = os.environ.get("VASP_REPLAY_FOLLOWED")
    while note is not None and len(Path(note).read_text().splitlines()) < steps_so_far():
        time.sleep(0.01)


def steps_so_far() -> int:
    return Path("OUTCAR").read_text().count("LOOP+:")


def write_contcar(outcar: list[str]) -> None:
    """Write the structure of the next ionic step, or of this one if it is the last."""
    text = "".join(outcar)
    cells = re.findall(r"direct lattice vectors.*\n((?:.*\n){3})", text)
    tables = re.findall(r"POSITION +TOTAL-FORCE.*\n.*\n((?:\s+[-\d.]+ .*\n)+)", text)
    place = min(steps_so_far(), len(tables) - 1)
    cell = [[float(word) for word in line.split()[:3]] for line in cells[place].splitlines()]
    positions = [[float(word) for word in line.split()[:3]] for line in tables[place].splitlines()]
    head = Path("POSCAR").read_text().splitlines()
    rows = [" ".join(f"{value:.16f}" for value in scaled(cell, each)) for each in positions]
    vectors = [" ".join(f"{value:.16f}" for value in row) for row in cell]
    moving = ["", *["  0.00000000E+00" * 3 for _ in rows]] if "IBRION = 0\n" in Path("INCAR").read_text() else []
    Path("CONTCAR").write_text("\n".join([head[0], "1.0", *vectors, *head[5:7], "Direct", *rows, *moving, ""]))


def write_report() -> None:
    """Say where the random numbers stand after a step of molecular dynamics, had they been drawn."""
    seeds = re.search(r"RANDOM_SEED = (\d+) (\d+) (\d+)", Path("INCAR").read_text())
    if seeds is not None and not os.environ.get("VASP_REPLAY_NO_REPORT"):
        drawn = int(seeds[2]) + DRAWN * steps_so_far()
        with open("REPORT", "a") as file:
            file.write(f"\n   RANDOM_SEED = {seeds[1]:>17} {drawn:>16} {seeds[3]:>16}\n")


def scaled(cell: list[list[float]], position: list[float]) -> list[float]:
    """Solve by Cramer's rule: there may be no numpy where this runs."""

    def det(rows: list[list[float]]) -> float:
        (a, b, c), (d, e, f), (g, h, i) = rows
        return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)

    return [det([position if row == axis else cell[row] for row in range(3)]) / det(cell) for axis in range(3)]


def write_xml(recording: Path, steps: int | None) -> None:
    if not (recording / "vasprun.xml").is_file():
        return
    text = (recording / "vasprun.xml").read_text(errors="replace")
    if steps is not None:
        *whole, _ = text.split("</calculation>")[: steps + 1]
        text = "</calculation>".join([*whole, ""]) if whole else text[: text.find("<calculation>")]
    Path("vasprun.xml").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
