"""tblite's calculator, with a memory that can be wiped."""

from __future__ import annotations

import ctypes

from tblite.ase import TBLite


class Xtb(TBLite):
    """`TBLite`; it begins each calculation with the electrons of the one before, and keeps them over a `reset`."""

    def forget(self) -> None:
        """Begin the next calculation as a fresh process would."""
        self.reset()
        self._xtb = None
        self._res = None


def use_threads(number: int) -> None:
    """Let OpenMP, which tblite has loaded, use so many threads from now on."""
    ctypes.CDLL("libgomp.so.1").omp_set_num_threads(number)
