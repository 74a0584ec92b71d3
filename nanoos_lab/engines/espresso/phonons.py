"""Vibrations at q = 0 by ph.x: the density of a first run of pw.x, and how it responds to displacements and a field.

ph.x solves for a field, if asked to, and then for one irreducible representation of the displacements after the other.
It has no checkpoints here: an attempt that was stopped begins anew.
"""

from __future__ import annotations

import math
import re
import shutil
from collections import deque
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import ParameterError, StructureError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import program, silence
from nanoos_lab.engines.espresso import dynamical, execution, failures, inputs
from nanoos_lab.engines.espresso.execution import EXIT_FILE, INSTALL
from nanoos_lab.engines.espresso.parameters import EspressoGammaPhononsParameters
from nanoos_lab.engines.espresso.response import Iteration, Reader, Responded
from nanoos_lab.engines.espresso.tasks import density, largest_force
from nanoos_lab.engines.signatures import Scanner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.espresso.dynamical import Response
    from nanoos_lab.engines.espresso.parameters import EspressoParameters
    from nanoos_lab.engines.espresso.pseudos import Pseudo

#: Files of ph.x, in the working directory.
INPUT, OUTPUT, MATRIX = "ph.in", "ph.out", "ph.dyn"
#: Input of dynmat.x, by which a recipe finds frequencies, and the file that it writes.
MODES_INPUT, MODES = "dynmat.in", "frequencies.txt"
#: The directory in pw.x's own that ph.x works in.
_SCRATCH = "_ph0"
#: Lines of the output that are remembered for a failure that says nothing we know.
_REMEMBERED = 12
#: Largest force in eV/Å of a structure that counts as relaxed.
_AT_REST = 0.05
#: What ph.x 6.7 has no response of: words with which the names of functionals begin, as pw.x has them.
_HYBRID = ("PBE0", "B3LYP", "X3LYP", "HSE", "GAUP", "HF", "BHAHLYP", "B86BPBEX", "EXX")
_META = ("TPSS", "REVTPSS", "M06", "TB09", "SCAN", "RSCAN", "R2SCAN", "META", "PKZB")
#: And keywords of pw.x, with all the values that ph.x takes: others it refuses, or leaves out without a word.
_TAKEN: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("system", "vdw_corr", ("none", "", "grimme-d2", "dft-d", "xdm")),
    ("system", "ts_vdw", (False,)),
    ("system", "constrained_magnetization", ("none",)),
    ("system", "lda_plus_u_kind", (0,)),
    ("system", "u_projection_type", ("atomic",)),
    ("system", "assume_isolated", ("none", "2d", "makov-payne", "m-p", "mp")),
    ("system", "qcutz", (0,)),
    ("control", "tefield", (False,)),
    ("control", "lelfield", (False,)),
    ("control", "gate", (False,)),
    ("electrons", "tqr", (False,)),
)


def check(atoms: Atoms, parameters: EspressoParameters, pseudos: Mapping[str, Pseudo]) -> None:
    """Raise an InputError for what ph.x would refuse, or not know of, once pw.x has found the density.

    Raises
    ------
    InputError
        Says what.
    """
    if not isinstance(parameters, EspressoGammaPhononsParameters):
        return
    if atoms.constraints:
        raise StructureError("ph.x moves all atoms: del atoms.constraints, or take task 'static' for the forces")
    for namelist, keyword, taken in _TAKEN:
        value = parameters.asked(namelist, keyword)
        if value is not None and (value.lower() if isinstance(value, str) else value) not in taken:
            allowed = " or ".join(repr(each) for each in taken if each != "")
            raise ParameterError(f"input[{namelist!r}][{keyword!r}]", value, f"{allowed}: ph.x can do no other")
    _check_functional(parameters, pseudos)
    _check_spins(atoms, parameters, pseudos)


def _check_functional(parameters: EspressoParameters, pseudos: Mapping[str, Pseudo]) -> None:
    asked = parameters.asked("system", "input_dft")
    names = [str(asked)] if asked is not None else sorted({one.header.functional for one in pseudos.values()})
    for name in names:
        for kind, words in (("hybrid", _HYBRID), ("meta-GGA", _META)):
            if any(part.startswith(words) for part in re.split(r"[\s+-]+", name.upper())):
                where = "pseudos" if asked is None else "input['system']['input_dft']"
                raise ParameterError(where, name, f"of LDA or GGA: ph.x has no response for a {kind} functional")


def _check_spins(atoms: Atoms, parameters: EspressoParameters, pseudos: Mapping[str, Pseudo]) -> None:
    total = parameters.asked("system", "tot_magnetization")
    if total is not None and parameters.smearing is not None:
        raise ParameterError(
            "input['system']['tot_magnetization']",
            total,
            "only without smearing: ph.x takes one Fermi level of a metal",
        )
    magnetic = any(kind.magmom for kind in inputs.species(atoms)[0])
    paw = ", ".join(sorted(one.name for one in pseudos.values() if one.header.paw))
    if magnetic and paw and inputs.noncollinear(atoms, parameters):
        raise StructureError(f"ph.x takes magnetic moments that point anywhere only without PAW, which is in {paw}")


# -- the run -----------------------------------------------------------------------------------------------------------


def gamma_phonons(request: JobRequest, parameters: EspressoGammaPhononsParameters, context: RunContext) -> Results:
    """Find the vibrations of a crystal in which all cells move alike, by ph.x.

    Results besides those of "static": ``frequencies`` in THz, not angular, from the lowest up, imaginary ones as
    negative numbers, shape (3 atoms,); ``modes``, the orthonormal eigenvectors of the dynamical matrix, shape (3 atoms,
    atoms, 3): an atom moves along its part divided by the square root of its mass; ``force_constants`` in eV/Å², shape
    (atoms, atoms, 3, 3): the second derivatives of the energy of a cell if all cells move alike. With `dielectric`:
    ``dielectric_tensor`` for atoms that stand still, shape (3, 3), and ``born_charges`` in e, shape (atoms, 3, 3): the
    force on an atom along the second axis by a field along the first. With `direction`: ``frequencies_along`` in THz,
    those of waves that go there and are long, where the longitudinal ones have an electric field. With `asr` all obey
    the sum rules.

    Raises
    ------
    EngineError
        If pw.x or ph.x fails.
    """
    where = program.required("ph.x", INSTALL)
    run, iterations = density(request, parameters, context)
    found = run.final()
    if not run.stopped:
        force = largest_force(found.get("forces"), run.atoms)
        if force > _AT_REST:
            context.log(f"warning: the structure is not relaxed: the largest force is {force:.3g} eV/Å")
        try:
            run.stopped = not _Response(parameters, context, begun=iterations.step).run(where)
        finally:
            shutil.rmtree(run.out / _SCRATCH, ignore_errors=True)
        if not run.stopped:
            response = dynamical.read(_text(context.workdir / MATRIX), len(run.atoms))
            found |= results(response, run.atoms, parameters)
            run.tidy()
    return Results(
        properties=found,
        structure=Structure.encode(run.atoms),
        provenance={**run.provenance(), **iterations.grid.provenance, "ph.x": program.identity(where)},
        stopped=run.stopped,
    )


def ph_input(parameters: EspressoGammaPhononsParameters) -> str:
    """Return the text of ph.x's input."""
    values = {
        "prefix": f"'{inputs.PREFIX}'",
        "outdir": f"'{inputs.OUTDIR}'",
        "fildyn": f"'{MATRIX}'",
        "tr2_ph": repr(parameters.response_thr).replace("e", "d"),
        "niter_ph": parameters.response_iterations,
        "alpha_mix(1)": repr(parameters.response_mixing),
        "epsil": ".true." if parameters.in_field else ".false.",
        "trans": ".true.",
        # Its way for Γ as the only k-point knows neither spinors nor all kinds of pseudopotentials.
        "nogg": ".true.",
    }
    lines = [f"  {name} = {value}" for name, value in values.items()]
    return "\n".join(["vibrations at q = 0", "&inputph", *lines, "/", "0.0 0.0 0.0", ""])


def modes_input(parameters: EspressoGammaPhononsParameters) -> str:
    """Return the text of the input of dynmat.x, which finds the frequencies that the task finds."""
    rule = "crystal" if parameters.asr else "no"
    values = {"fildyn": MATRIX, "filout": MODES, "asr": rule}
    return "\n".join(["&input", *(f"  {name} = '{value}'" for name, value in values.items()), "/", ""])


def results(response: Response, atoms: Atoms, parameters: EspressoGammaPhononsParameters) -> dict[str, Any]:
    """Return the results that follow from a response, by their names."""
    if parameters.asr:
        response = dynamical.invariant(response)
    masses = atoms.get_masses()
    frequencies, modes = dynamical.vibrations(response.force_constants, masses)
    found = {"frequencies": frequencies, "modes": modes, "force_constants": response.force_constants}
    if response.dielectric_tensor is not None and response.born_charges is not None:
        found |= {"dielectric_tensor": response.dielectric_tensor, "born_charges": response.born_charges}
        if parameters.direction is not None:
            constants = dynamical.in_field(response, float(atoms.cell.volume), parameters.direction)
            found["frequencies_along"] = dynamical.vibrations(constants, masses)[0]
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


class _Response:
    """One run of ph.x in the working directory of an attempt.

    Parameters
    ----------
    parameters, context
        The task's parameters and the run's context.
    begun
        Iterations so far, those of pw.x.
    """

    def __init__(self, parameters: EspressoGammaPhononsParameters, context: RunContext, *, begun: int) -> None:
        self._parameters = parameters
        self._context = context
        self._begun = begun
        self._reader = Reader()
        self._scanner = Scanner(failures.RESPONSE_TABLE)

    def run(self, where: Path) -> bool:
        """Run it to its end; say whether it has come there, and was not stopped.

        Raises
        ------
        EngineError
            If it fails.
        """
        workdir = self._context.workdir
        (workdir / INPUT).write_text(ph_input(self._parameters), encoding="utf-8")
        # One that was left there would stop the run at once.
        (workdir / EXIT_FILE).unlink(missing_ok=True)
        command = program.Command.of(where, "-in", INPUT, resources=self._context.resources)
        ask, patience = (workdir / EXIT_FILE).touch, silence.patience(self._parameters.silence)
        last: deque[str] = deque(maxlen=_REMEMBERED)
        with program.Program(command, self._context, output=OUTPUT, ask=ask, silence=patience) as running:
            for line in running.lines():
                if line is not None:
                    last.append(line)
                    self._take(line)
            code = running.wait()
            errors = running.errors.splitlines()
        (workdir / EXIT_FILE).unlink(missing_ok=True)
        if running.stopped and not (code == 0 and self._reader.done):
            return False
        error = failures.response_verdict(
            self._reader,
            self._scanner.scan(errors),
            code,
            self._parameters.model_dump(mode="json"),
            words=execution.telling(last, errors),
        )
        if error is not None:
            raise error
        return True

    def _take(self, line: str) -> None:
        self._scanner.feed(line)
        event = self._reader.feed(line)
        if isinstance(event, Iteration):
            if not math.isfinite(event.error):
                raise failures.response_not_finite(self._parameters.model_dump(mode="json"))
            self._context.progress(self._begun + event.count)
        elif isinstance(event, Responded):
            self._context.log(f"ph.x: {event.cause}: {event.iterations} iterations, error {event.error:.1e}")
