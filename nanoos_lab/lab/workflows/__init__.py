"""Ready-made sets of jobs, and what follows from their results."""
