"""A fusion in stages: prepare, open teachers, set the student up, observe, train, gather."""
