"""What the commands share: the parser of configurations and the folders of runs."""
