"""
Distances between molecules
===========================

Small aromatic molecules as graphs, in the manner of the MUTAG data set: atoms are nodes, bonds are edges.  GW distances
of all pairs, drawn as a map.
"""

from concurrent.futures import ThreadPoolExecutor

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np

import gwfast


def ring(*substituents):
    """A benzene ring with groups: C a methyl, N a nitro group, O a hydroxyl."""
    graph = nx.cycle_graph(6)
    for place, group in substituents:
        atom = len(graph)
        graph.add_edge(place, atom)
        if group == "N":
            graph.add_edge(atom, atom + 1)
            graph.add_edge(atom, atom + 2)
    return graph


def fused_rings(count):
    """Rings in a row that share bonds: naphthalene, anthracene."""
    graph = nx.ladder_graph(count + 1)
    return nx.Graph((e for u, v in graph.edges for e in _bent(u, v, count + 1)))


def _bent(u, v, width):
    if abs(u - v) == width:  # a shared bond
        return [(u, v)]
    return [(u, (u, v)), ((u, v), v)]


molecules = {
    "benzene": ring(),
    "toluene": ring((0, "C")),
    "phenol": ring((0, "O")),
    "o-xylene": ring((0, "C"), (1, "C")),
    "p-xylene": ring((0, "C"), (3, "C")),
    "nitrobenzene": ring((0, "N")),
    "m-dinitrobenzene": ring((0, "N"), (2, "N")),
    "p-dinitrobenzene": ring((0, "N"), (3, "N")),
    "naphthalene": fused_rings(2),
    "anthracene": fused_rings(3),
}
spaces = [gwfast.Graph(g) for g in molecules.values()]
with ThreadPoolExecutor(1) as pool:
    pairs = gwfast.pairwise_gw(spaces, executor=pool)

# %%
# Toluene and phenol are the same graph, so their distance is 0; element names would go into a feature cost.

names = list(molecules)
print("toluene, phenol:", pairs.value[names.index("toluene"), names.index("phenol")])
proved = pairs.lower[pairs.lower > 1e-6] ** 0.5
print(f"smallest distance proved positive: {proved.min():.3f}")

# %%
# Classical scaling of the distances puts the molecules on a map.

centre = np.eye(len(names)) - 1 / len(names)
values, vectors = np.linalg.eigh(-0.5 * centre @ pairs.value @ centre)
place = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0))

figure, (upper, lower) = plt.subplots(
    2, 1, figsize=(5.8, 8.6), height_ratios=[1.2, 1], layout="constrained"
)
image = upper.imshow(pairs.distance, cmap="cividis_r")
upper.set_xticks(
    range(len(names)),
    names,
    rotation=60,
    ha="right",
    rotation_mode="anchor",
    fontsize=9.5,
)
upper.set_yticks(range(len(names)), names, fontsize=9.5)
figure.colorbar(image, ax=upper, shrink=0.8, label="GW distance (bonds)")
upper.set_title("How far apart the graphs of ten molecules are", fontsize=11)
lower.scatter(*place.T, color="#0072B2")
shown = [name if name != "toluene" else "toluene, phenol" for name in names]
for name, (x, y) in zip(shown, place):
    if name == "phenol":
        continue  # at the place of toluene
    below = name in ("p-xylene", "p-dinitrobenzene")
    right = x > np.mean(place[:, 0])
    offset = (-5 if right else 5, -13 if below else 5)
    side = "right" if right else "left"
    lower.annotate(
        name, (x, y), offset, textcoords="offset points", ha=side, fontsize=9.5
    )
lower.set_title("A map of them: neighbours have similar graphs", fontsize=11)
lower.set_xlabel("GW distance (bonds)")
lower.set_ylabel("GW distance (bonds)")
lower.margins(0.12, 0.15)
lower.grid(alpha=0.3)
plt.show()
