"""Engine ``vasp``: the Vienna Ab initio Simulation Package, which its users bring along.

What was verified, and what was not: VASP is licensed and was never run by the developers. The readers of OUTCAR, of the
standard output and of vasprun.xml are tested on published outputs of VASP 5.3.5, 5.4.1, 5.4.4 and 6.2.0 (aiida-vasp's
test data), whole and cut off at many places, and agree with ASE's to the last digit; so they did, by hand, on the other
outputs that aiida-vasp and custodian publish, those of molecular dynamics at constant volume and pressure among them.
Starting, watching, stopping and resuming are tested with a program that replays outputs; so is task ``bands``, in its
second run with the recorded levels of silicon.

Not verified with VASP itself: that it takes the input files as they are written here (they follow the VASP wiki), how
soon it obeys STOPCAR, and what it then leaves of an ionic step; that a CONTCAR and the last RANDOM_SEED in a REPORT
belong together while it runs; that TEEND leads the Langevin thermostat, of which its wiki says so in general; that the
second run of task ``bands`` finds the density of the first (ICHARG = 11); the output of non-collinear spins and of
versions after 6.2; and that the ways around failures, which are custodian's, help.

POTCARs are found under ``VASP_PP_PATH``, put together while a run lasts, and removed at its end; a job keeps their
titles and SHA-256 digests alone. Of a run that is killed without a word no POTCAR stays with the job either, unless it
was one on several hosts, which need it in the working directory that they share.
"""

from nanoos_lab.engines.vasp.engine import VaspEngine

__all__ = ["VaspEngine"]
