"""Packed spaces and the compiled pairs on them, for front doors and tables alike."""
