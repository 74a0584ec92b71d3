"""The tasks by LAMMPS's executable, a program of its own, as many MPI ranks as asked for.

Same parameters and same results as by the library; rows and frames come from its output and its dump, as it writes
them.
"""
