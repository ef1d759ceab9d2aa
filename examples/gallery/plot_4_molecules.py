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
    """A benzene ring with groups at given places: "C" a methyl, "N" a nitro group (three atoms), "O" a hydroxyl."""
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
print(f"smallest distance proved positive: {np.min(pairs.lower[pairs.lower > 1e-6]) ** 0.5:.3f}")

# %%
# Classical scaling of the distances puts the molecules on a map.

centre = np.eye(len(names)) - 1 / len(names)
values, vectors = np.linalg.eigh(-0.5 * centre @ pairs.value @ centre)
place = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0))

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
image = left.imshow(pairs.distance, cmap="magma_r")
left.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
left.set_yticks(range(len(names)), names, fontsize=8)
figure.colorbar(image, ax=left, shrink=0.8, label="GW distance")
right.scatter(*place.T, color="tab:blue")
for name, (x, y) in zip(names, place):
    right.annotate(name, (x, y), textcoords="offset points", xytext=(4, 6 if name != "phenol" else -12), fontsize=8)
right.set_title("map")
right.margins(0.2)
plt.show()
