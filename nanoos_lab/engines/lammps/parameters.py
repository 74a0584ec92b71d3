"""Parameters of the tasks of engine ``lammps``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Len
from pydantic import BeforeValidator, StringConstraints, model_validator

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.core.parameters import (
    MDParameters,
    RelaxParameters,
    StaticParameters,
    TaskParameters,
    field,
)
from nanoos_lab.engines.lammps.failures import NEIGHBORS
from nanoos_lab.engines.silence import silence_field

if TYPE_CHECKING:
    from typing import Self

#: The value of ``potential`` that needs no file.
LENNARD_JONES = "lj"
#: Beginning of a value of ``potential`` that names a model of OpenKIM.
KIM = "kim:"


def _path_as_text(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


Name = Annotated[str, BeforeValidator(_path_as_text), StringConstraints(min_length=1)]
Names = Annotated[tuple[Name, ...], Len(1)]


class PotentialParameters(TaskParameters):
    """Which forces act between the atoms."""

    potential: Name | Names | None = field(
        None,
        doc="needed: name of a potential file that comes with LAMMPS, such as 'Cu_u3.eam', a path, 'lj', or 'kim:' and "
        "the name of an OpenKIM model; several files for eam (one per element) and meam (library, parameters); "
        "nanoos_lab.potentials() lists them",
    )
    pair_style: Name | None = field(
        None, doc="LAMMPS pair style; from the file's ending unless given, such as 'eam/alloy'"
    )
    elements: Names | None = field(
        None, doc="only meam: the library's names in the order in which the parameter file counts them"
    )
    epsilon: float | None = field(None, unit="eV", gt=0, le=1e3, doc="depth of the well, only potential='lj'")
    sigma: float | None = field(None, unit="Å", gt=0, le=100, doc="diameter, only potential='lj'")
    cutoff: float | None = field(
        None, unit="Å", gt=0, le=1e3, doc="where forces end, only potential='lj'; 3 sigma unless given"
    )

    data: Name | None = field(
        None,
        doc="path of a LAMMPS data file of yours: charges, molecules, bonds, masses and perhaps coefficients; the "
        "structure has its atoms in the order of their ids, and says positions, velocities and cell",
    )
    force_field: Name | None = field(
        None,
        doc="only with data: LAMMPS commands of its force field, units, atom_style, pair_style, bond_style, "
        "kspace_style, special_bonds, pair_coeff, include, fix shake and their kin, but no read_data",
    )
    files: tuple[Name, ...] = field(
        (), doc="only with force_field: paths of files that it names, there under their base names"
    )
    neighbors: int = field(
        NEIGHBORS, ge=100, le=10**6, doc="most neighbours of an atom that there is room for, neigh_modify one"
    )

    @property
    def kim_model(self) -> str | None:
        """Name of the OpenKIM model, if the potential is one."""
        given = self.potential if isinstance(self.potential, str) else ""
        return given.removeprefix(KIM) if given.startswith(KIM) else None

    @property
    def names(self) -> tuple[str, ...]:
        """The potential files as the user named them; empty where there are none."""
        if self.potential is None or self.potential == LENNARD_JONES or self.kim_model is not None:
            return ()
        return (self.potential,) if isinstance(self.potential, str) else self.potential

    @model_validator(mode="after")
    def _a_data_file_has_a_force_field(self) -> Self:
        for name in ("potential", "pair_style", "elements"):
            value = getattr(self, name)
            if (self.data or self.force_field) and value is not None:
                raise ParameterError(name, value, "not with data, whose forces force_field says")
        if self.data and not self.force_field:
            raise ParameterError("force_field", None, "LAMMPS's commands for the forces, which data needs")
        if self.force_field and not self.data:
            raise ParameterError("data", None, "a LAMMPS data file, which force_field needs")
        if self.files and not self.force_field:
            raise ParameterError("files", list(self.files), "only with force_field")
        return self

    @model_validator(mode="after")
    def _a_kim_model_has_its_own_style(self) -> Self:
        if self.kim_model is not None and self.pair_style not in (None, "kim"):
            raise ParameterError("pair_style", self.pair_style, "a KIM model has pair style 'kim'")
        if self.kim_model is not None and self.elements is not None:
            raise ParameterError("elements", list(self.elements), "only with a MEAM potential")
        return self

    @model_validator(mode="after")
    def _lennard_jones_has_what_it_needs(self) -> Self:
        for name in ("epsilon", "sigma", "cutoff"):
            value = getattr(self, name)
            if self.potential != LENNARD_JONES and value is not None:
                raise ParameterError(name, value, "only with potential='lj'")
            if self.potential == LENNARD_JONES and value is None and name != "cutoff":
                raise ParameterError(name, None, "a number, which potential='lj' needs")
        if self.potential == LENNARD_JONES and self.pair_style not in (None, "lj/cut"):
            raise ParameterError("pair_style", self.pair_style, "potential='lj' is 'lj/cut'")
        return self


class LammpsStaticParameters(StaticParameters, PotentialParameters):
    """Energy, forces and stress of the structure as it is."""


class LammpsRelaxParameters(RelaxParameters, PotentialParameters):
    """Move the atoms, and the cell if it is free, until the forces vanish.

    With a free cell the stress must vanish too: volume · stress / atoms ≤ `fmax`, as in ASE's cell filters.
    """

    optimizer: Literal["cg", "sd", "fire", "quickmin"] = field(
        "cg",
        doc="LAMMPS's min_style: conjugate gradients, steepest descent, or damped motion; where a line search finds no "
        "lower energy in a fixed cell, fire goes on from there",
    )
    pressure: float = field(0.0, unit="GPa", ge=-1e3, le=1e4, doc="pressure on the free cell")

    @model_validator(mode="after")
    def _only_a_free_cell_has_a_pressure(self) -> Self:
        if self.pressure and self.cell == "fixed":
            raise ParameterError("pressure", self.pressure, "only with cell='free'")
        if self.cell == "free" and self.optimizer not in ("cg", "sd"):
            raise ParameterError("optimizer", self.optimizer, "'cg' or 'sd' with cell='free'")
        return self


class LammpsScriptParameters(TaskParameters):
    """The user's own LAMMPS input, executed line by line.

    A structure, if given, is there for ``read_data structure.data``, with one atom type for each element and mass,
    and with its initial charges if the script has ``atom_style charge``; with ``units lj`` its numbers are taken as
    reduced ones. Frames are in Å and fs; those of reduced units stay reduced, and have no masses. Molecules come with
    a data file of the user's own; so they do in the other tasks, with `data` and `force_field`. Rows and frames come
    at the multiples of the script's own ``thermo``. Potential files that come with LAMMPS are found by their names.
    There are no checkpoints: what a script's variables and loops hold is in no restart file, so a script that was
    interrupted begins anew.
    """

    script: Name = field(doc="LAMMPS input commands")
    elements: Names | None = field(
        None, doc="chemical symbol of each atom type; from the structure, or by mass, unless given"
    )
    files: tuple[Name, ...] = field((), doc="paths of files that the script reads, there under their base names")
    convert: bool = field(
        False,
        doc="whether columns of thermo are in eV, GPa, Å and fs, not as LAMMPS prints them in the script's units; "
        "reduced ones ('units lj') stay as they are, with unit '1'",
    )
    silence: float | None = silence_field()

    @property
    def deterministic(self) -> bool:
        """Whoever writes the commands may use chance, the time, and files that were already there."""
        return False


class LammpsMDParameters(MDParameters, PotentialParameters):
    """Molecular dynamics: velocity Verlet, with a Nosé-Hoover thermostat and barostat, or Langevin's.

    Velocities are the structure's, if it has any; otherwise they are drawn at `temperature`. Temperatures are
    LAMMPS's: three degrees of freedom less, those of the centre of mass, unless atoms are fixed or Langevin's
    thermostat acts, which move it. A ramp from `temperature` to `temperature_end` anneals or quenches.
    """

    thermostat: Literal["nose-hoover", "langevin"] = field(
        "nose-hoover", doc="of ensemble='nvt': langevin acts on each atom, with friction and random forces"
    )
    barostat: Literal["iso", "aniso", "tri"] = field(
        "iso", doc="of ensemble='npt': one scale for the cell, one for each of its vectors, or its whole shape"
    )
    strain_rate: float | None = field(
        None,
        unit="1/ps",
        ge=-100,
        le=100,
        doc="engineering strain rate along `strain_axis`; with ensemble='npt' the barostat has the other two",
    )
    strain_axis: Literal["a", "b", "c"] = field("a", doc="cell vector that is strained; only with an orthogonal cell")
    thin_cell: bool = field(
        False,
        doc="whether an atom may be nearer to an image of itself than the potential reaches; it would not move as one "
        "of a large crystal",
    )
    minimize_first: bool = field(False, doc="whether the largest forces are taken off before the first step")
    commands: tuple[Name, ...] = field(
        (),
        doc="LAMMPS commands of your own before the run: compute, fix, group, region, variable; where a fix averages "
        "or writes a file there are no checkpoints, since it would begin anew at each",
    )
    columns: tuple[Name, ...] = field(
        (), doc="more columns of thermo: keywords of thermo_style, or those of your own, such as 'c_msd[4]'"
    )

    @model_validator(mode="after")
    def _only_what_the_ensemble_has(self) -> Self:
        if self.ensemble != "nvt" and self.thermostat != "nose-hoover":
            raise ParameterError("thermostat", self.thermostat, "only with ensemble='nvt'")
        if self.ensemble != "npt" and self.barostat != "iso":
            raise ParameterError("barostat", self.barostat, "only with ensemble='npt'")
        if self.temperature_end == 0 and self.thermostat != "langevin":
            raise ParameterError("temperature_end", 0.0, "a number > 0 K; thermostat='langevin' cools to 0 K")
        if self.strain_rate and self.barostat == "tri":
            raise ParameterError("barostat", self.barostat, "not with strain_rate, which needs an orthogonal cell")
        return self
