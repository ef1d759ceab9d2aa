"""
Classify graphs with scikit-learn
=================================

Molecule graphs in the manner of the MUTAG data set, drawn at random: rings that carry groups of three atoms.  In one
class most groups are branched (nitro groups), in the other most are chains; the numbers of atoms tell nothing.  GW
distances go into a support vector machine and into neighbours.
"""

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

import gwfast
from gwfast.interop.sklearn import GWDistance, GWKernel

rng = np.random.default_rng(0)


def molecule(nitro):
    """One to three rings in a row that share bonds, and one to three groups of three atoms: nitro groups or chains."""
    graph = nx.cycle_graph(6)
    for _ in range(rng.integers(3)):
        u, v = list(graph.edges)[-1]
        nx.add_path(graph, [u, *range(len(graph), len(graph) + 4), v])
    for _ in range(rng.integers(1, 4)):
        place = rng.choice([v for v in graph if graph.degree[v] == 2])
        a, b, c = range(len(graph), len(graph) + 3)
        branched = nitro != (rng.random() < 0.1)
        graph.add_edges_from(
            [(place, a), (a, b), (a, c)] if branched else [(place, a), (a, b), (b, c)]
        )
    return graph


labels = np.repeat([0, 1], 30)
graphs = [gwfast.Graph(molecule(bool(nitro))) for nitro in labels]

# %%
# Estimators take the list of graphs, so that cross-validation is scikit-learn's own.

folds = StratifiedKFold(5, shuffle=True, random_state=0)
models = {
    "SVM on the GW kernel": make_pipeline(
        GWKernel(quality="fast"), SVC(kernel="precomputed")
    ),
    "5 nearest by GW": make_pipeline(
        GWDistance(quality="fast"), KNeighborsClassifier(5, metric="precomputed")
    ),
}
accuracy = {
    name: cross_val_score(model, graphs, labels, cv=folds)
    for name, model in models.items()
}
sizes = np.array([[graph.n] for graph in graphs])
accuracy["SVM on the number of atoms"] = cross_val_score(SVC(), sizes, labels, cv=folds)
for name, found in accuracy.items():
    print(f"{name}: {found.mean():.0%}")

# %%
# Classical scaling of the squared distances draws the data set.

table = gwfast.pairwise_gw(graphs, quality="fast")
centre = np.eye(len(graphs)) - 1 / len(graphs)
values, vectors = np.linalg.eigh(-0.5 * centre @ table.value @ centre)
place = vectors[:, -2:] * np.sqrt(values[-2:])

figure, (upper, lower) = plt.subplots(
    2, 1, figsize=(5.6, 8.4), height_ratios=[1.5, 1], layout="constrained"
)
for label, colour, marker, name in (
    (0, "#0072B2", "o", "chains"),
    (1, "#E69F00", "s", "nitro groups"),
):
    upper.scatter(
        *place[labels == label, ::-1].T,
        color=colour,
        marker=marker,
        edgecolor="white",
        s=48,
        label=name,
    )
upper.set_title("Sixty molecules by their GW distances", fontsize=13)
upper.set_xlabel("GW distance (bonds)", fontsize=12)
upper.set_ylabel("GW distance (bonds)", fontsize=12)
upper.margins(y=0.22)
upper.legend(fontsize=11, loc="upper right")
upper.grid(alpha=0.3)
names = list(accuracy)[::-1]
means = [100 * accuracy[name].mean() for name in names]
lower.barh(range(3), means, color=["0.85", "#9CCBEB", "#9CCBEB"], height=0.6)
for k, (name, mean) in enumerate(zip(names, means)):
    lower.text(2, k, f"{name}: {mean:.0f} %", va="center", fontsize=12)
lower.axvline(50, color="0.3", linestyle=":")
lower.set_xlim(0, 100)
lower.set_yticks([])
lower.set_title("Right answers in cross-validation; a guess has 50 %", fontsize=13)
lower.set_xlabel("percent", fontsize=12)
for axis in (upper, lower):
    axis.tick_params(labelsize=11)
plt.show()
