"""LAMMPS's library in many MPI ranks, each a process that makes the same calls, led from the engine process."""
