"""
Semi-relaxed plans: parts of a graph
====================================

A graph is matched to one of few nodes, each joined to itself alone.  Where the second marginal is free, the sizes of
the parts are found as well.
"""

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np

import gwfast

graph = nx.karate_club_graph()
C = nx.to_numpy_array(graph, weight=None)
weights = C.sum(axis=1) / C.sum()  # a member counts by its friends
parts = 3
target = np.eye(parts) * 0.5

# %%
# Conditional gradient from several starts; the rows bound is proved for every plan, labels or not.

free = gwfast.SemiRelaxed()
result = gwfast.exact_gw(C, target, weights, marginals=free, effort="rows")
print(result)
shares = result.plan.marginals()[1]
print("weights of the parts:", np.round(shares, 3))
label = result.plan.toarray().argmax(axis=1)

# %%
# The club really split in two; given halves of the weight are worse than free parts.

club = np.array([graph.nodes[i]["club"] == "Officer" for i in graph])
split = [np.mean(club[label == k]) for k in range(parts) if (label == k).any()]
print("share of officers in each part:", np.round(split, 2))
fixed = gwfast.exact_gw(C, target, weights)
print(f"free parts {result.value:.4f}, equal parts {fixed.value:.4f}")

# %%

figure, ax = plt.subplots(figsize=(6.2, 5.2), layout="constrained")
place = nx.spring_layout(graph, seed=4)
colours = np.array(["#0072B2", "#D55E00", "#009E73"])
nx.draw_networkx_edges(graph, place, ax=ax, edge_color="#bbbbbb")
for shape, side in (("o", False), ("s", True)):
    nodes = [i for i in graph if club[i] == side]
    nx.draw_networkx_nodes(
        graph,
        place,
        nodelist=nodes,
        node_color=colours[label[nodes]],
        node_shape=shape,
        node_size=[40 + 4000 * weights[i] for i in nodes],
        ax=ax,
    )
ax.set_title("Karate club: colours are parts, squares are officers", fontsize=11)
ax.axis("off")
plt.show()
