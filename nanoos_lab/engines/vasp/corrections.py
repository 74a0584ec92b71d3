"""What another attempt may do differently: other parameters of the task, tags of ``incar`` among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.record import Correction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoos_lab.engines.signatures import Correct

#: Among the parameters from which a correction is made: the number of bands that VASP chose.
BANDS = "number of bands"
#: Shortest time step in fs, and smallest POTIM of a relaxation, at which corrections end.
_SHORTEST, _SMALLEST = 0.05, 0.01
#: POTIM of a relaxation unless told otherwise (VASP wiki, page POTIM).
_POTIM = 0.5
_TWICE = 2

#: The SCF cycle is tried again with the next of these, after custodian's ladder.
ALGORITHMS = ("VeryFast", "Fast", "Normal", "All")
_SHORT_NAMES = {"V": "VeryFast", "F": "Fast", "N": "Normal", "A": "All", "D": "Damped", "E": "Exact", "C": "All"}
#: After the last algorithm: less of the new density.
_MIXING: tuple[dict[str, Any], ...] = ({"AMIX": 0.1, "BMIX": 0.01}, {"AMIN": 0.01, "BMIX": 3.0})


def tag(parameters: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """Return a tag of the ``incar`` among the parameters."""
    found = {key.upper(): value for key, value in (parameters.get("incar") or {}).items()}
    return found.get(name, default)


def changed(parameters: Mapping[str, Any], tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``incar`` of the parameters with other tags."""
    found = {key.upper(): value for key, value in (parameters.get("incar") or {}).items()}
    return {**found, **tags}


def with_tags(why: str, *, from_start: bool = False, **tags: Any) -> Correct:
    """Return a correction that sets tags, once."""
    said = " and ".join(f"{name} = {value}" for name, value in tags.items())

    def correct(parameters: Mapping[str, Any]) -> Correction | None:
        if all(_same(tag(parameters, name), value) for name, value in tags.items()):
            return None
        changes = {"incar": changed(parameters, tags)}
        return Correction(changes=changes, why=f"{why}: {said}", from_start=from_start)

    return correct


def with_parameters(why: str, *, from_start: bool = False, **values: Any) -> Correct:
    """Return a correction that sets parameters that the task has, once."""

    def correct(parameters: Mapping[str, Any]) -> Correction | None:
        if not values.keys() <= parameters.keys() or all(parameters[name] == each for name, each in values.items()):
            return None
        said = " and ".join(f"{name}={value!r}" for name, value in values.items())
        return Correction(changes=dict(values), why=f"{why}: {said}", from_start=from_start)

    return correct


def first_of(*corrects: Correct) -> Correct:
    """Return a correction that is the first of some that has not been tried."""

    def correct(parameters: Mapping[str, Any]) -> Correction | None:
        return next((found for each in corrects if (found := each(parameters)) is not None), None)

    return correct


def next_algorithm(parameters: Mapping[str, Any]) -> Correction | None:
    """Take the next algorithm, then another mixing: for an SCF cycle that does not converge."""
    hybrid = parameters.get("xc") in ("PBE0", "HSE06")
    default = "Damped" if hybrid else "Normal"
    before = algorithm(parameters, default)
    why = f"the SCF cycle did not converge with ALGO = {before}"
    if before in ALGORITHMS[:-1] or (before == "Damped" and not tag(parameters, "AMIX")):
        after = "All" if before == "Damped" else ALGORITHMS[ALGORITHMS.index(before) + 1]
        tags: dict[str, Any] = {"ALGO": after, **({"ISEARCH": 1} if after == "All" else {})}
        return Correction(changes={"incar": changed(parameters, tags)}, why=f"{why}, so it is tried with {after}")
    for mixing in _MIXING:
        if all(tag(parameters, name) is None for name in mixing if name != "BMIX"):
            said = " and ".join(f"{name} = {value}" for name, value in mixing.items())
            return Correction(changes={"incar": changed(parameters, mixing)}, why=f"{why}, so it is tried with {said}")
    return None


def algorithm(parameters: Mapping[str, Any], default: str = "Normal") -> str:
    """Return the algorithm of the SCF cycle by its full name; VASP looks at the first letter alone."""
    given = str(tag(parameters, "ALGO", default))
    return _SHORT_NAMES.get(given[:1].upper(), given)


def with_algorithm(*names: str, from_start: bool = False) -> Correct:
    """Return a correction that takes the next of some algorithms."""

    def correct(parameters: Mapping[str, Any]) -> Correction | None:
        before = algorithm(parameters)
        left: Sequence[str] = names[names.index(before) + 1 :] if before in names else names
        if not left:
            return None
        changes = {"incar": changed(parameters, {"ALGO": left[0]})}
        why = f"the diagonalisation failed with ALGO = {before}, so it is tried with {left[0]}"
        return Correction(changes=changes, why=why, from_start=from_start)

    return correct


def unstuck(parameters: Mapping[str, Any]) -> Correction | None:
    """Take the plain algorithm, then positions to more digits: for a run that came to say nothing more."""
    if algorithm(parameters) != "Normal":
        return with_tags("VASP came to a stand", ALGO="Normal")(parameters)
    return with_tags("VASP came to a stand", SYMPREC=1e-8)(parameters)


def shorter_steps(parameters: Mapping[str, Any]) -> Correction | None:
    """Halve the time step, or POTIM in a relaxation: for atoms that have come to where nothing can be computed."""
    if (step := parameters.get("timestep")) is not None:
        if step / 2 < _SHORTEST:
            return None
        why = f"the atoms moved too far in a step, so the time step is halved from {step:g} to {step / 2:g} fs"
        return Correction(changes={"timestep": step / 2}, why=why, from_start=True)
    if "fmax" not in parameters:
        return None
    potim = float(tag(parameters, "POTIM", _POTIM))
    if potim / 2 < _SMALLEST:
        return None
    why = f"the atoms moved too far in a step, so POTIM is halved from {potim:g} to {potim / 2:g}"
    return Correction(changes={"incar": changed(parameters, {"POTIM": potim / 2})}, why=why)


def longer_steps(parameters: Mapping[str, Any]) -> Correction | None:
    """Add to POTIM, as VASP advises."""
    if "fmax" not in parameters:
        return None
    potim = float(tag(parameters, "POTIM", _POTIM))
    after = round(potim + 0.1, 6)
    if after > 1.0:
        return None
    why = f"VASP advises a larger POTIM, so it is raised from {potim:g} to {after:g}"
    return Correction(changes={"incar": changed(parameters, {"POTIM": after})}, why=why)


def more_bands(parameters: Mapping[str, Any]) -> Correction | None:
    """Take a tenth more bands."""
    before = tag(parameters, "NBANDS") or parameters.get(BANDS)
    if not before:
        return None
    after = max(int(before * 1.1), int(before) + 1)
    why = f"there were too few bands, so their number is raised from {int(before)} to {after}"
    return Correction(changes={"incar": changed(parameters, {"NBANDS": after})}, why=why, from_start=True)


def more_steps(parameters: Mapping[str, Any]) -> Correction | None:
    """Double the steps of a relaxation that has come to the last one; it goes on from there."""
    before = parameters.get("steps")
    if not before or "fmax" not in parameters:
        return None
    why = f"the relaxation has not converged in {before} steps, so it goes on to {_TWICE * before}"
    return Correction(changes={"steps": _TWICE * before}, why=why)


def fewer_groups(parameters: Mapping[str, Any]) -> Correction | None:
    """Halve KPAR: fewer copies of the wave functions in memory."""
    before = tag(parameters, "KPAR", 1)
    if not isinstance(before, int) or before < _TWICE:
        return None
    changes = {"incar": changed(parameters, {"KPAR": before // 2})}
    return Correction(changes=changes, why=f"memory ran out, so KPAR is halved from {before} to {before // 2}")


def _same(one: Any, other: Any) -> bool:
    if isinstance(other, bool):
        return one is other or (isinstance(one, str) and one.strip(".").upper()[:1] == ("T" if other else "F"))
    return bool(one == other)


#: Ways around trouble with symmetry, as custodian has them.
SYMMETRY = first_of(
    with_tags("VASP's symmetry search failed, so it is stricter", SYMPREC=1e-8),
    with_tags("VASP's symmetry search failed, so it is left out", ISYM=0),
)
