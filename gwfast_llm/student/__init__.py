"""The student: its forward pass, and what answers the needs of the terms."""
