"""One attempt: inputs, the program, results."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import EngineError, InputError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.status import Reason
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import grid, program, silence
from nanoos_lab.engines.program import Command, Program
from nanoos_lab.engines.vasp import corrections, incar, poscar, potcar, vasprun
from nanoos_lab.engines.vasp.parameters import Given, VaspBandsParameters, VaspMDParameters, moves
from nanoos_lab.engines.vasp.verdict import Ending, judge
from nanoos_lab.engines.vasp.watch import SCALED, Watch, copy_if_fit
from nanoos_lab.engines.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.frames import Checkpoint
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.kpoints import Mesh
    from nanoos_lab.engines.vasp.outcar import Step
    from nanoos_lab.engines.vasp.parameters import Value
    from nanoos_lab.engines.vasp.poscar import Order
    from nanoos_lab.engines.vasp.potcar import Potential

Array = np.ndarray[Any, Any]

OUTPUT = "vasp.out"
STOP_FILE = "STOPCAR"
#: Ionic steps are waited for if they take at most this part of the time that VASP has for stopping.
_IN_TIME = 0.5
#: Smearings whose width is no temperature, and their energy, in eV per atom, above which they are wide (VASP's manual,
#: page ``SIGMA``).
_BROAD, _SMEARED = ("gaussian", "methfessel-paxton"), 1e-3
#: Large files that are of no use once a run is over, unless they were asked for: name, and the tag that asks.
_LARGE = {"WAVECAR": "LWAVE", "CHGCAR": "LCHARG", "CHG": "LCHARG", "TMPCAR": ""}
#: Has Fortran's run-time library of GNU say each line at once, though it writes to a pipe.
_UNBUFFERED = {"GFORTRAN_UNBUFFERED_PRECONNECTED": "y"}
INSTALL = "load the site's module for VASP, which is licensed software that its users build themselves"


@dataclass(frozen=True, kw_only=True, eq=False)
class Origin:
    """From where an attempt begins."""

    #: Its first step.
    step: int = 0
    #: Text of the CONTCAR that it goes on from; None if it begins with the structure.
    contcar: str | None = None
    #: Positions before the first step, in units of the cell vectors and not wrapped, in the user's order.
    scaled: Array | None = None
    #: Where VASP's random numbers stand there; None if that is not known.
    random_seed: tuple[int, int, int] | None = None
    #: Steps before whose SCF cycle has not converged.
    unconverged: int = 0


_BEGINNING = Origin()


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """The texts of VASP's input files, save for the POTCAR."""

    #: Tags of the INCAR.
    tags: dict[str, Value]
    #: k-points along the reciprocal vectors.
    mesh: Mesh
    #: File name → text.
    files: dict[str, str]


def write_inputs(atoms: Atoms, order: Order, given: Given, *, enmax: float, origin: Origin = _BEGINNING) -> Inputs:
    """Return the input files of an attempt; pure.

    Parameters
    ----------
    atoms
        The structure, in the user's order.
    order
        The order in VASP's files.
    given
        The task's parameters.
    enmax
        The largest recommended cut-off of its potentials, in eV.
    origin
        From where the attempt begins.
    """
    magmoms = atoms.arrays.get("initial_magmoms")
    tags = incar.build(
        given,
        species=len(order.species),
        enmax=enmax,
        magmoms=None if magmoms is None else magmoms[order.to_vasp],
        masses=poscar.masses(atoms, order) if isinstance(given, VaspMDParameters) else None,
        first=origin.step,
        random_seed=origin.random_seed,
    )
    if isinstance(given, VaspBandsParameters):
        tags = incar.finding_density(tags, atoms.numbers.tolist())
    points = incar.mesh(given, atoms.cell.array, (bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2])))
    moving = isinstance(given, VaspMDParameters) and "momenta" in atoms.arrays
    return Inputs(
        tags=tags,
        mesh=points,
        files={
            "INCAR": incar.write(tags),
            "KPOINTS": incar.write_kpoints(points, gamma=given.gamma),
            "POSCAR": origin.contcar or poscar.write(atoms, order, velocities=moving),
        },
    )


def run(request: JobRequest, given: Given, context: RunContext) -> Results:
    """Run VASP once.

    Raises
    ------
    EngineError
        If it fails; with a correction if one is known.
    """
    begun = begin(request, given, context)
    attempt = Attempt(begun, given, context)
    try:
        results = attempt.run()
    finally:
        tidy(given, context)
    return replace(results, provenance=provenance(begun, attempt.watch, given))


@dataclass(frozen=True, kw_only=True, eq=False)
class Beginning:
    """What an attempt has when the program is started."""

    #: The structure, in the user's order, and the order in VASP's files.
    atoms: Atoms
    order: Order
    #: The potentials of the species.
    potentials: list[Potential]
    #: From where it begins.
    origin: Origin
    #: The texts of its input files.
    inputs: Inputs
    #: The program, and how it is started.
    executable: Path
    command: Command


def begin(request: JobRequest, given: Given, context: RunContext) -> Beginning:
    """Find what an attempt needs on this host, and from where it goes on.

    Raises
    ------
    EngineError
        If something is missing.
    """
    if request.structure is None:
        raise EngineError("engine 'vasp' needs a structure", reason=Reason.INPUT)
    atoms = request.structure.atoms()
    order = poscar.Order.of(atoms.get_chemical_symbols())
    potentials = _potentials(given, order, context)
    origin = _origin(given, context, order) if moves(given) else _BEGINNING
    inputs = write_inputs(atoms, order, given, enmax=max(each.enmax for each in potentials), origin=origin)
    executable = executable_for(given, inputs)
    return Beginning(
        atoms=atoms,
        order=order,
        potentials=potentials,
        origin=origin,
        inputs=inputs,
        executable=executable,
        command=command_for(executable, context),
    )


def _potentials(given: Given, order: Order, context: RunContext) -> list[Potential]:
    """Find the potentials on this host; they are those of the user's."""
    noted = context.files.get(potcar.ROLE)
    try:
        found = potcar.find(given, order.species, noted)
    except InputError as error:
        # The user's host has them, or the job would not have been queued.
        raise EngineError(
            f"this worker's host lacks a potential: {error}",
            reason=Reason.RESOURCE,
            remedy=f"Set {potcar.VARIABLE} for the worker, or send the job to a queue of workers that have them.",
        ) from None
    if noted is not None:
        potcar.compare(order.species, found, noted)
    return found


def executable_for(given: Given, inputs: Inputs) -> Path:
    """Return the program for spin-orbit coupling, for Γ alone if it is there, or the usual one.

    Raises
    ------
    EngineError
        If it is not there.
    """
    name = "vasp_std"
    if given.soc:
        name = "vasp_ncl"
    elif inputs.mesh == (1, 1, 1) and given.gamma and program.find("vasp_gam") is not None:
        name = "vasp_gam"
    return program.required(name, INSTALL)


def command_for(executable: Path, context: RunContext) -> Command:
    """Return how VASP is started.

    Raises
    ------
    EngineError
        If there is no launcher for its ranks.
    """
    command = Command.of(executable, resources=context.resources)
    return replace(command, environment={**command.environment, **_UNBUFFERED})


def _origin(given: Given, context: RunContext, order: Order) -> Origin:
    """Return from where this attempt begins; wave functions to go on from are put in place."""
    found: list[Origin] = []

    def load(checkpoint: Checkpoint) -> None:
        text = (checkpoint.directory / "CONTCAR").read_text()
        scaled = np.load(checkpoint.directory / SCALED, allow_pickle=False)
        there = poscar.read(text, order, velocities=isinstance(given, VaspMDParameters))
        if scaled.shape != there.scaled.shape:
            raise ValueError(f"{SCALED} is of other atoms")
        for name in ("WAVECAR", "CHGCAR"):
            copy_if_fit(checkpoint.directory / name, context.workdir / name)
        seeds = checkpoint.facts.get("random_seed")
        random_seed = None if seeds is None else (int(seeds[0]), int(seeds[1]), int(seeds[2]))
        unconverged = int(checkpoint.facts.get("unconverged", 0))
        found.append(
            Origin(step=checkpoint.step, contcar=text, scaled=scaled, random_seed=random_seed, unconverged=unconverged)
        )

    grid.resume(context, load)
    return found[-1] if found else _BEGINNING


class Attempt:
    """The impure part: one run of the program.

    Parameters
    ----------
    begun
        What it begins with.
    given
        The task's parameters.
    context
        Takes what there is to say.
    """

    def __init__(self, begun: Beginning, given: Given, context: RunContext) -> None:
        self._begun = begun
        self._atoms = begun.atoms
        self._order = begun.order
        self._given = given
        self._context = context
        origin = begun.origin
        self.watch = Watch(
            begun.atoms,
            begun.order,
            given,
            context,
            first=origin.step,
            scaled=origin.scaled,
            unconverged=origin.unconverged,
        )

    def run(self) -> Results:
        """Run the program to its end, and judge what it has done."""
        workdir = self._context.workdir
        write(self._begun.inputs.files, workdir)
        self.watch.begin()
        patience = silence.patience(self._given.silence)
        stuck = corrections.unstuck(self._given.model_dump(mode="json"))
        with (
            potcar.lent(workdir, self._begun.potentials),
            Program(
                self._begun.command, self._context, output=OUTPUT, ask=self._ask, silence=patience, stuck=stuck
            ) as running,
        ):
            for line in running.lines(self.watch.patience):
                self.watch.heard(line)
            code = running.wait()
            self.watch.end()
            errors, stopped = running.errors, running.stopped
        ending = Ending(code=code, facts=self.watch.facts, step=self.watch.step, fmax=self.watch.fmax, errors=errors)
        error = judge(self._given, ending, self.watch.signs)
        if error is None:
            return self._results(stopped=False)
        if self._context.checkpoint_interval and self._context.stop != "cancel":
            # A program that was killed may have left half of them.
            self.watch.save(waves=code == 0 and self.watch.facts.finished)
        if stopped:
            return self._results(stopped=True)
        raise error

    def read(self) -> Results:
        """Return the results of a run that an earlier attempt has made, from its files."""
        self.watch.begin()
        self.watch.end()
        return self._results(stopped=False)

    def _ask(self) -> None:
        """Have VASP stop: after the ionic step if that is worth it and comes in time, or after the SCF iteration."""
        at_once = self._context.stop in (None, "cancel") or not moves(self._given)
        if not at_once:
            self.watch.hold()
            at_once = self.watch.slowest > _IN_TIME * program.time_to_stop(self._context)
        (self._context.workdir / STOP_FILE).write_text("LABORT = .TRUE.\n" if at_once else "LSTOP = .TRUE.\n")

    # -- results ---------------------------------------------------------------------------------------------------

    def _results(self, *, stopped: bool) -> Results:
        last = self.watch.last
        if last is None:
            return Results(properties={}, structure=None, stopped=stopped)
        restore = self._order.restore
        properties: dict[str, Any] = {
            "energy": last.energy,
            "free_energy": last.free_energy,
            "energy_without_entropy": last.energy_without_entropy,
            "forces": restore(last.forces),
            "fmax": self.watch.fmax,
            "scf_iterations": last.scf_iterations,
        }
        if last.stress is not None:
            properties["stress"] = last.stress
        if last.fermi_level is not None:
            properties["fermi_level"] = last.fermi_level
        properties |= self._magnetism()
        if moves(self._given):
            properties["steps"] = self.watch.step
        positions, cell = self.watch.structure
        xml = self._from_xml()
        if xml is not None:
            properties |= xml.properties
            positions, cell = self.watch.unwrapped(restore(xml.scaled), xml.cell), xml.cell
            properties["forces"] = properties["forces"] if xml.forces is None else restore(xml.forces)
        if not stopped:
            properties |= verdict(*self._caveats())
            self._warn_of_smearing(last)
        return Results(properties=properties, structure=self._structure(positions, cell), stopped=stopped)

    def _caveats(self) -> Iterator[str]:
        if isinstance(self._given, VaspMDParameters) and (count := self.watch.unconverged):
            yield f"the SCF cycle did not converge in {count} of {self._given.steps + 1} ionic steps"

    def _warn_of_smearing(self, last: Step) -> None:
        """Warn of states that are smeared so much that the energy without smearing is not well known."""
        each = abs(last.free_energy - last.energy_without_entropy) / len(self._begun.atoms)
        if self._given.smearing in _BROAD and each > _SMEARED:
            self._context.log(
                f"warning: the smearing is wide: its energy is {1e3 * each:.2g} meV an atom, where 1 is usual; take a "
                "smaller sigma"
            )

    def _magnetism(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        last, moments = self.watch.last, self.watch.facts.magmoms
        if last is not None and last.magnetization:
            found["magmom"] = last.magnetization[0] if len(last.magnetization) == 1 else np.array(last.magnetization)
        if moments is not None and len(moments) == len(self._atoms):
            found["magmoms"] = self._order.restore(moments)
        return found

    def _structure(self, positions: Array, cell: Array) -> Structure:
        atoms = self._atoms.copy()
        # Constraints hold in what VASP has computed; setting positions must not correct them.
        constraints = atoms.constraints
        atoms.set_constraint()
        atoms.set_cell(cell)
        atoms.positions[:] = positions
        atoms.set_constraint(constraints)
        if isinstance(self._given, VaspMDParameters) and "momenta" in atoms.arrays:
            # Those of the beginning; VASP prints none of the end.
            del atoms.arrays["momenta"]
        return Structure.encode(atoms)

    def _from_xml(self) -> _FromXml | None:
        """Return what vasprun.xml has with more digits, or alone; None if it does not have the last step."""
        path = self._context.workdir / "vasprun.xml"
        last = self.watch.last
        if last is None or not path.is_file():
            return None
        reader = vasprun.Reader()
        step = None
        for found in vasprun.read(path, reader):
            step = found
        if step is None or reader.contents.steps != last.number:
            return None
        electrons, contents = reader.contents.electrons, reader.contents
        named = {
            "eigenvalues": electrons.eigenvalues,
            "occupations": electrons.occupations,
            "kpoints": contents.kpoints,
            "kpoint_weights": contents.weights,
            "dos_energies": electrons.dos_energies,
            "dos": electrons.dos,
            # Of both spins together, as other engines have it.
            "dos_integral": None if electrons.dos_integral is None else electrons.dos_integral.sum(axis=0),
        }
        properties: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        if step.stress is not None:
            properties["stress"] = step.stress
        if electrons.fermi_level is not None:
            properties["fermi_level"] = electrons.fermi_level
        return _FromXml(properties=properties, scaled=step.scaled, cell=step.cell, forces=step.forces)


def write(files: Mapping[str, str], workdir: Path) -> None:
    """Write input files; whoever asked an earlier run to stop does not ask this one."""
    for name, text in files.items():
        (workdir / name).write_text(text)
    (workdir / STOP_FILE).unlink(missing_ok=True)


def tidy(given: Given, context: RunContext) -> None:
    """Remove what is large and of no use once a run is over."""
    for name, tag in _LARGE.items():
        if str(given.incar.get(tag, False)).strip(".").upper()[:1] != "T":
            (context.workdir / name).unlink(missing_ok=True)
    (context.workdir / STOP_FILE).unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class _FromXml:
    properties: dict[str, Any]
    scaled: Array
    cell: Array
    forces: Array | None


def provenance(begun: Beginning, watch: Watch, given: Given) -> dict[str, Any]:
    """Return what made the results."""
    executable, inputs = begun.executable, begun.inputs
    found: dict[str, Any] = {
        "program": str(executable),
        "program_sha256": _digest(executable),
        "command": list(begun.command.arguments),
        "version": watch.version or watch.facts.version,
        "incar": dict(inputs.tags),
        "kpoints": list(inputs.mesh),
        "potentials": [each.provenance for each in begun.potentials],
    }
    if isinstance(given, VaspMDParameters):
        found["seed"] = given.seed
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
