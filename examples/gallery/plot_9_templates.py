"""
Templates that a layer learns
=============================

A layer whose output is the GW distance of a graph from a few small template graphs, all graphs and templates in one
batch.  The templates are parameters: gradients of the distances move them until they separate three kinds of graphs.
"""

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import torch

from gwfast.many import batched

torch.set_num_threads(1)
rng = np.random.default_rng(0)
KINDS = ("ring", "star", "two groups")


def graph(kind):
    """A random graph of 8 to 12 nodes."""
    n = int(rng.integers(8, 13))
    if kind == "ring":
        g = nx.cycle_graph(n)
    elif kind == "star":
        g = nx.star_graph(n - 1)
    else:
        g = nx.disjoint_union(nx.complete_graph(n // 2), nx.complete_graph(n - n // 2))
        g.add_edge(0, n - 1)
    for _ in range(2):  # two random edges more
        g.add_edge(*rng.choice(n, 2, replace=False))
    return nx.floyd_warshall_numpy(g)


labels = torch.tensor([k for k in range(3) for _ in range(20)])
costs, mask = torch.zeros(60, 12, 12), torch.zeros(60, 12, dtype=torch.bool)
for b, label in enumerate(labels):
    C = torch.tensor(graph(KINDS[label]))
    costs[b, : len(C), : len(C)] = C
    mask[b, : len(C)] = True


class Templates(torch.nn.Module):
    """GW distances of a batch of graphs from `count` template graphs of `size` nodes."""

    def __init__(self, count, size):
        super().__init__()
        self.cost = torch.nn.Parameter(
            1
            + torch.rand(count, size, size, generator=torch.Generator().manual_seed(4))
        )

    def forward(self, costs, mask):
        B, K = len(costs), len(self.cost)
        templates = (self.cost + self.cost.mT) / 2
        found = batched(
            costs.repeat_interleave(K, 0),
            templates.repeat(B, 1, 1),
            mask1=mask.repeat_interleave(K, 0),
            epsilon=None,
            effort="sort",
            check=False,
        )
        return (found.annealed + 1e-6).sqrt().reshape(B, K).float()


# %%
# The distances from two templates go into a linear classifier; both are trained together.

layer, classifier = Templates(2, 6), torch.nn.Linear(2, 3)
torch.nn.init.zeros_(classifier.weight)
optimiser = torch.optim.Adam(
    [
        {"params": layer.parameters(), "lr": 0.1},
        {"params": classifier.parameters(), "lr": 0.3},
    ]
)
shown, history = {}, []
for step in range(41):
    distances = layer(costs, mask)
    if step in (0, 40):
        shown[step] = distances.detach().numpy()
    scores = classifier(distances - 1)
    loss = torch.nn.functional.cross_entropy(scores, labels)
    history.append((scores.argmax(1) == labels).float().mean().item())
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

print(
    f"sorted into their kinds: {history[1]:.0%} after one step, {history[-1]:.0%} after {len(history) - 1}"
)

# %%
# Before, the templates are noise and the kinds overlap.  After, each kind has distances of its own.

figure, axes = plt.subplots(
    3, 1, figsize=(5.6, 10.2), height_ratios=[1, 1, 0.6], layout="constrained"
)
styles = (("#0072B2", "o"), ("#E69F00", "s"), ("#009E73", "^"))
for axis, (step, points) in zip(axes, shown.items()):
    for k, (colour, marker) in enumerate(styles):
        axis.scatter(
            *points[labels == k].T,
            color=colour,
            marker=marker,
            s=42,
            edgecolor="white",
            label=KINDS[k],
        )
    axis.set_title(
        "Random templates: kinds overlap"
        if step == 0
        else "Learnt templates: kinds are apart",
        fontsize=13,
    )
    axis.set_xlabel("GW distance from template 1", fontsize=12)
    axis.set_ylabel("from template 2", fontsize=12)
    axis.tick_params(labelsize=11)
    axis.grid(alpha=0.3)
axes[0].legend(fontsize=11)
axes[2].plot(100 * np.array(history), color="#0072B2")
axes[2].set_title("Graphs sorted into their kind", fontsize=13)
axes[2].set_xlabel("step", fontsize=12)
axes[2].set_ylabel("percent", fontsize=12)
axes[2].tick_params(labelsize=11)
axes[2].grid(alpha=0.3)
plt.show()
