"""Files, disks, locks, signals and processes; nothing here knows of language models."""
