"""How far POT's plans and ours are from the optimum, as far as it can be proved."""
