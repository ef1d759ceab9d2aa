"""Barycentres of spaces: costs between n points whose mean objective to given spaces is small, and proofs below it."""
