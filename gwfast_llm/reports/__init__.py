"""Scores, records, pictures and pages."""
