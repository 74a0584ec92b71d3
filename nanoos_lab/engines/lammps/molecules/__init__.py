"""Charges and molecules: a data file of the user's own, and the commands of its force field."""
