"""Solvers: Problem -> Solution (a plan and why it stopped), one method a file.  None of them certifies itself."""
