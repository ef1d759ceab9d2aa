"""
The co-activation graph of a tiny model
=======================================

Two models of letters, trained on the same text with different seeds.  The graph of a model has the letters as nodes;
the edge of two letters is large where the model thinks of both at the same place.  How far apart are the two graphs,
and which bounds can see it?
"""

import matplotlib.pyplot as plt
import torch

import gwfast

TEXT = (
    "the ring of the bell fell over the hill and the sea and the men in the field heard it ring and ring again until "
    "the night fell over the field and the hill and the bell had no ring and the sea no end "
) * 4
LETTERS = sorted(set(TEXT))
IDS = torch.tensor([LETTERS.index(c) for c in TEXT])
SPAN = 3


def train(seed, steps):
    """A network that reads three letters and predicts the next; returns its probabilities at every place."""
    torch.manual_seed(seed)
    size = len(LETTERS)
    model = torch.nn.Sequential(
        torch.nn.Embedding(size, 12), torch.nn.Flatten(), torch.nn.Linear(12 * SPAN, 48), torch.nn.Tanh()
    ).append(torch.nn.Linear(48, size))
    inputs = torch.stack([IDS[k : len(IDS) - SPAN + k] for k in range(SPAN)], 1)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), IDS[SPAN:])
        loss.backward()
        optimiser.step()
    return model(inputs).softmax(-1).detach().numpy(), loss.item()


strong, strong_loss = train(0, 150)
weak, weak_loss = train(1, 15)
print(f"{len(LETTERS)} letters; cross-entropy {strong_loss:.2f} and {weak_loss:.2f} nats")

# %%
# ``Gram(H)`` is the cost H'H without forming it: the mean over places of h h'.  The first factor is scaled by the root
# of the number of places.


def graph(probs):
    return gwfast.Gram(probs / len(probs) ** 0.5)


result = gwfast.exact_gw(graph(strong), graph(weak), effort="dual", time_limit=3)
print(result)

# %%
# The row means of a graph of probabilities are the mean frequencies of the letters: no co-activation is left in them
# (see :doc:`/what_sorting_gives`).  So the first lower bound sees almost nothing; bounds with row deviations see more.

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 4), width_ratios=[1, 1, 1.3], layout="constrained")
for axis, probs, name in ((left, strong, "150 steps"), (middle, weak, "15 steps")):
    C = probs.T @ probs / len(probs)
    axis.imshow(C**0.5, cmap="magma_r")
    axis.set_xticks(range(len(LETTERS)), [c.replace(" ", "_") for c in LETTERS], fontsize=7)
    axis.set_yticks(range(len(LETTERS)), [c.replace(" ", "_") for c in LETTERS], fontsize=7)
    axis.set_title(name)
chosen = ["first-lower-bound", "anova-first", "mean-std", "third-lower-bound", "projected-eigenvalues", "split"]
found = {b.theorem: b.value / result.value for b in result.certificate.bounds}
chosen = [c for c in [*chosen, "reformulation"] if c in found]
right.barh(range(len(chosen)), [max(found[c], 0) for c in chosen], color="tab:blue")
right.set_yticks(range(len(chosen)), chosen)
right.set_xlim(0, 1.02)
right.invert_yaxis()
right.set_title("share of the objective that is proved")
plt.show()
