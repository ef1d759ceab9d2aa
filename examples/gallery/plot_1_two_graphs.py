"""
Two graphs matched
==================

Zachary's karate club against the Florentine families: who plays whose part, and how good the match is proved to be.
"""

import matplotlib.pyplot as plt
import networkx as nx

import gwfast
from gwfast.plot import plot_matching

karate, florence = nx.karate_club_graph(), nx.florentine_families_graph()

# %%
# ``Graph`` makes a cost out of a graph: lengths of shortest paths.  The numbers of people differ, 34 and 15, so a plan
# splits people.

first, second = gwfast.Graph(karate), gwfast.Graph(florence)
result = gwfast.exact_gw(first, second, effort="dual", time_limit=2)
print(result)

# %%
# Lines join matched people; the bar is the certified interval, and thin marks are the other lower bounds.

plot_matching(
    result,
    first,
    second,
    names=("karate club", "Florence"),
    graphs=(karate, florence),
    labels=(None, list(florence)),
)
plt.show()
