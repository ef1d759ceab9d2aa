"""Files that people have, as graphs, matrices or points: one file a family of formats, `formats` has the table."""
