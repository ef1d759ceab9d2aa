"""The command line: what it takes, how it solves, what it prints and draws."""
