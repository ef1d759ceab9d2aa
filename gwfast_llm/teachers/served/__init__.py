"""Teachers behind a server, or recorded from one: log-probabilities of given prompts, without weights."""
