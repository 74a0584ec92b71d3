"""How VASP fails: its own words, with a class, a plain sentence, a remedy and perhaps a correction each.

The messages and the ways around them are those that custodian knows (materialsproject/custodian,
``custodian/vasp/handlers.py``). None was provoked in VASP itself here; all but five are found in failing runs that
custodian's developers have recorded, see ``tests/engines/vasp/by_hand.py``.
"""

from __future__ import annotations

from nanoos_lab.core.status import Reason
from nanoos_lab.engines.signatures import Signature
from nanoos_lab.engines.vasp import corrections as fix

LOOK = "Look at the end of vasp.out and OUTCAR among the files of the job."
_GEOMETRY = "Check the structure for atoms that are too close, or take shorter steps."
_MESH = "Take another mesh of k-points: kpts with gamma=True, or a smaller kspacing."

#: What makes a run worthless, whatever it says afterwards; the most telling first.
FATAL: tuple[Signature, ...] = (
    Signature(
        name="input",
        pattern=r"Error reading item|Error code was IERR=",
        reason=Reason.INPUT,
        meaning="VASP cannot read a value in the INCAR",
        remedy="Set that tag right in incar={…}.",
    ),
    Signature(
        name="harris",
        pattern=r"Spin polarized Harris functional",
        reason=Reason.INPUT,
        meaning="VASP has no Harris functional with spin, for which ICHARG asks",
        remedy="Leave ICHARG out of incar={…}.",
    ),
    Signature(
        name="core",
        pattern=r"internal error in SET_CORE_WF",
        reason=Reason.INPUT,
        meaning="a POTCAR does not suit what was asked of it",
        remedy="Take another POTCAR by setups={…}.",
    ),
    Signature(
        name="handedness",
        pattern=r"the triple product of the basis vectors",
        reason=Reason.INPUT,
        meaning="the cell vectors are left-handed",
        remedy="Exchange two of them.",
    ),
    Signature(
        name="memory",
        pattern=r"Allocation would exceed memory limit|insufficient virtual memory|oom-kill|Out [Oo]f [Mm]emory|"
        r"Cannot allocate memory",
        reason=Reason.MEMORY,
        meaning="there was not enough memory",
        remedy="Ask for more ranks on more nodes, a lower encut or fewer k-points.",
        correct=fix.fewer_groups,
    ),
    Signature(
        name="wave functions",
        pattern=r"while reading WAVECAR|while reading plane",
        reason=Reason.ENGINE,
        meaning="the wave functions to go on from are damaged",
        remedy="Start the job anew.",
        correct=fix.with_tags("the wave functions are damaged, so they are made anew", from_start=True, ISTART=0),
    ),
    Signature(
        name="bands",
        pattern=r"TOO FEW BANDS|number of bands is not sufficient",
        reason=Reason.ENGINE,
        meaning="there are too few bands for the electrons",
        remedy="Give more: incar={'NBANDS': n}.",
        correct=fix.more_bands,
    ),
    Signature(
        name="tetrahedra",
        pattern=r"[Tt]etrahedron method fails|Routine TETIRR needs special values|BZINTS",
        reason=Reason.ENGINE,
        meaning="there are too few k-points for the tetrahedron method",
        remedy="Take smearing='gaussian', or more k-points.",
        correct=fix.with_parameters(
            "the tetrahedron method has too few k-points, so states are smeared", smearing="gaussian", sigma=0.05
        ),
    ),
    Signature(
        name="mixing",
        pattern=r"BRMIX: very serious problems",
        reason=Reason.ENGINE,
        meaning="the mixing of charge densities broke down: the old and the new one have other numbers of electrons",
        remedy="Try other mixing (IMIX, AMIX, BMIX) or ISYM = 0 in incar={…}.",
        correct=fix.first_of(
            fix.with_tags("the mixing of charge densities broke down, so it is simpler", from_start=True, IMIX=1),
            fix.with_tags("the mixing broke down again, so symmetry is left out", from_start=True, ISYM=0),
        ),
    ),
    Signature(
        name="davidson",
        pattern=r"Error EDDDAV: Call to ZHEGV failed",
        reason=Reason.ENGINE,
        meaning="the Davidson iteration failed",
        remedy="Try incar={'ALGO': 'All'}.",
        correct=fix.with_algorithm("All", from_start=True),
    ),
    Signature(
        name="subspace",
        pattern=r"ERROR in subspace rotation P[SD]SYEVX",
        reason=Reason.ENGINE,
        meaning="the rotation in the space of the bands failed",
        remedy="Try incar={'ALGO': 'Normal'}, or fewer ranks.",
        correct=fix.with_algorithm("Normal", "All"),
    ),
    Signature(
        name="diagonalisation",
        pattern=r"ERROR EDDIAG: Call to routine ZHEEV failed|ERROR in EDDIAG: call to ZHEEV",
        reason=Reason.ENGINE,
        meaning="the diagonalisation failed",
        remedy="Try incar={'ALGO': 'Normal'} or 'Exact'.",
        correct=fix.with_algorithm("Normal", "Exact"),
    ),
    Signature(
        name="cholesky",
        pattern=r"Routine ZPOTRF",
        reason=Reason.ENGINE,
        meaning="the orbitals became linearly dependent, as they do where atoms are too close",
        remedy=_GEOMETRY,
        correct=fix.first_of(
            fix.shorter_steps,
            fix.with_tags("the orbitals became linearly dependent, so symmetry is left out", ISYM=0),
        ),
    ),
    Signature(
        name="gradient",
        pattern=r"EDWAV: internal error, the gradient is not orthogonal",
        reason=Reason.ENGINE,
        meaning="the direct optimisation of the orbitals broke down",
        remedy="Try incar={'ALGO': 'Normal'}.",
        correct=fix.with_algorithm("Normal"),
    ),
    Signature(
        name="k-lattice",
        pattern=r"Reciprocal lattice and k-lattice belong to different class|Fatal error detecting k-mesh|"
        r"unable to match k-point|not all point group operations|Could not get correct shifts|HNFORM: k-point|"
        r"internal error in GENERATE_KPOINTS_TRANS",
        reason=Reason.ENGINE,
        meaning="the mesh of k-points does not have the symmetry of the lattice",
        remedy=_MESH,
        correct=fix.first_of(
            fix.with_parameters("the mesh did not have the symmetry of the lattice, so it contains Γ", gamma=True),
            fix.with_tags("the mesh does not have the symmetry of the lattice, so symmetry is left out", ISYM=0),
        ),
    ),
    Signature(
        name="positions",
        pattern=r"POSMAP",
        reason=Reason.ENGINE,
        meaning="VASP's symmetry search maps no atom onto another where it should",
        remedy="Symmetrise the structure, or set SYMPREC or ISYM in incar={…}.",
        correct=fix.first_of(
            fix.with_tags("VASP's symmetry search failed, so it is stricter", SYMPREC=1e-6),
            fix.with_tags("VASP's symmetry search failed, so it is left out", ISYM=0),
        ),
    ),
    Signature(
        name="symmetry",
        pattern=r"internal error in subroutine PRICEL|PRICELV:|RHOSYG|rotation matrix was not found|SGRCON|"
        r"group operation missing|non-integer element in rotation matrix|Inconsistent Bravais lattice",
        reason=Reason.ENGINE,
        meaning="VASP's symmetry search failed",
        remedy="Symmetrise the structure, or set SYMPREC or ISYM in incar={…}.",
        correct=fix.SYMMETRY,
    ),
    Signature(
        name="line search",
        pattern=r"ZBRENT: fatal",
        reason=Reason.CONVERGENCE,
        meaning="the line search of the relaxation broke down, as it does with noisy forces",
        remedy="Try optimizer='quasi-newton' and a smaller ediff.",
        correct=fix.first_of(
            fix.with_parameters(
                "the line search broke down, so another optimiser goes on with less noise",
                optimizer="quasi-newton",
                ediff=1e-8,
            ),
            fix.with_tags("the forces are still noisy, so more SCF iterations are made", NELMIN=8),
        ),
    ),
    Signature(
        name="projectors",
        pattern=r"REAL_OPTLAY: internal|REAL_OPT: internal|SBESSELITER : nicht konvergent",
        reason=Reason.ENGINE,
        meaning="VASP cannot optimise the real-space projectors",
        remedy="Set incar={'LREAL': False}.",
        correct=fix.with_tags(
            "the real-space projectors cannot be optimised, so reciprocal ones are used", LREAL=False
        ),
    ),
    Signature(
        name="spheres",
        pattern=r"ERROR RSPHER",
        reason=Reason.ENGINE,
        meaning="an augmentation sphere does not fit in the cell",
        remedy=_GEOMETRY,
        correct=fix.shorter_steps,
    ),
    Signature(
        name="density",
        pattern=r"supplied exchange-correlation table",
        reason=Reason.ENGINE,
        meaning="the electron density became too high, as it does where atoms are too close",
        remedy=_GEOMETRY,
        correct=fix.shorter_steps,
    ),
    Signature(
        name="linear response",
        pattern=r"PEAD routines do not work for NCORE|remove the tag NPAR from the INCAR file",
        reason=Reason.ENGINE,
        meaning="linear response does not work with several cores to a band",
        remedy="Leave NPAR out of incar={…} and set NCORE = 1.",
        correct=fix.with_tags("linear response needs one core to a band", NCORE=1),
    ),
    Signature(
        name="commutator",
        pattern=r"LRF_COMMUTATOR internal error",
        reason=Reason.ENGINE,
        meaning="the derivatives of the orbitals with respect to k are not exact enough for linear response",
        remedy="Set incar={'LPEAD': True}.",
        correct=fix.with_tags("derivatives with respect to k are made in another way", LPEAD=True),
    ),
)

#: What VASP also says in runs that end well: it counts only if one has failed.
HINTS: tuple[Signature, ...] = (
    Signature(
        name="hermitian",
        pattern=r"Sub-Space-Matrix is not hermitian in DAV",
        reason=Reason.ENGINE,
        meaning="the Davidson iteration lost its footing",
        remedy="Try incar={'LREAL': False}, or 'ALGO': 'Normal' or 'All'.",
        correct=fix.first_of(
            fix.with_tags("the Davidson iteration lost its footing, so projections are exact", LREAL=False),
            fix.with_algorithm("Fast", "All"),
        ),
    ),
    Signature(
        name="residuals",
        pattern=r"WARNING in EDDRMM: call to ZHEGV failed",
        reason=Reason.ENGINE,
        meaning="the minimisation of residuals failed",
        remedy="Try incar={'ALGO': 'Normal'}.",
        correct=fix.first_of(fix.shorter_steps, fix.with_algorithm("Normal", from_start=True)),
    ),
    Signature(
        name="fermi level",
        pattern=r"DENTET",
        reason=Reason.ENGINE,
        meaning="the tetrahedron method finds no exact Fermi level",
        remedy="Take smearing='gaussian', or more k-points.",
        correct=fix.with_parameters(
            "the tetrahedron method found no Fermi level, so states are smeared", smearing="gaussian", sigma=0.05
        ),
    ),
    Signature(
        name="long cell",
        pattern=r"One of the lattice vectors is very long",
        reason=Reason.CONVERGENCE,
        meaning="charge sloshes along a very long cell vector",
        remedy="Set incar={'AMIN': 0.01}.",
        correct=fix.with_tags("charge sloshes along a very long cell vector", AMIN=0.01),
    ),
    Signature(
        name="step length",
        pattern=r"BRIONS problems: POTIM should be increased",
        reason=Reason.CONVERGENCE,
        meaning="the steps of the relaxation are too short",
        remedy="Raise POTIM in incar={…}.",
        correct=fix.longer_steps,
    ),
    Signature(
        name="noisy symmetry",
        pattern=r"determination of the symmetry of your systems shows a strong",
        reason=Reason.ENGINE,
        meaning="the symmetry of the structure depends on how exactly VASP looks",
        remedy="Symmetrise the structure, or set SYMPREC or ISYM in incar={…}.",
        correct=fix.SYMMETRY,
    ),
    Signature(
        name="all and tetrahedra",
        pattern=r"ALGO=A and IALGO=5X tend to fail",
        reason=Reason.ENGINE,
        meaning="ALGO = All does not go with the tetrahedron method",
        remedy="Take smearing='gaussian', or another ALGO.",
        correct=fix.with_parameters(
            "ALGO = All does not go with the tetrahedron method, so states are smeared", smearing="gaussian", sigma=0.05
        ),
    ),
)

#: VASP warns of a charge that does not fit, which a charged cell has on purpose.
CHARGED = ("NELECT", "mixing")
#: Warnings that have nothing to do with the SCF cycle.
OF_STEPS = ("step length", "noisy symmetry")
