"""Searches: Problem -> plans and bounds that meet, one method a file."""
