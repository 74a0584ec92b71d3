"""Task ``script``: the user's own LAMMPS input, read, checked and executed line by line."""
