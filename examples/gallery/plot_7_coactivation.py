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
        torch.nn.Embedding(size, 12),
        torch.nn.Flatten(),
        torch.nn.Linear(12 * SPAN, 48),
        torch.nn.Tanh(),
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
print(
    f"{len(LETTERS)} letters; cross-entropy {strong_loss:.2f} and {weak_loss:.2f} nats"
)

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

words = {
    "first-lower-bound": "row means",
    "anova-first": "row means, diagonal apart",
    "mean-std": "row means and deviations",
    "third-lower-bound": "rows against rows",
    "projected-eigenvalues": "eigenvalues",
    "split": "split into blocks",
    "reformulation": "reformulation",
}
found = {b.theorem: b.value / result.value for b in result.certificate.bounds}
chosen = [
    theorem for theorem in words if found.get(theorem, 0) > 0
]  # the others were not run, or prove nothing

figure = plt.figure(figsize=(5.8, 6.4), layout="constrained")
upper, lower = figure.subfigures(2, 1, height_ratios=[1.2, 1])
maps, axis = upper.subplots(1, 2), lower.subplots()
ticks = [c.replace(" ", "_") for c in LETTERS]
for place, probs, name in ((maps[0], strong, "150 steps"), (maps[1], weak, "15 steps")):
    C = probs.T @ probs / len(probs)
    image = place.imshow(C**0.5, cmap="cividis_r", vmin=0, vmax=0.4)
    place.set_xticks(range(0, len(LETTERS), 2), ticks[::2], fontsize=9)
    place.set_yticks(range(0, len(LETTERS), 2), ticks[::2], fontsize=9)
    place.set_title(f"after {name}", fontsize=10.5)
upper.colorbar(
    image,
    ax=list(maps),
    location="bottom",
    shrink=0.6,
    aspect=30,
    label="root of the edge",
)
upper.suptitle("Which letters a model thinks of at the same place", fontsize=11)
axis.barh(range(len(chosen)), [found[c] for c in chosen], color="#0072B2")
for k, c in enumerate(chosen):
    axis.text(found[c] + 0.01, k, f"{found[c]:.2g}", va="center", fontsize=9.5)
axis.set_yticks(range(len(chosen)), [words[c] for c in chosen], fontsize=9.5)
axis.set_xlim(0, 1.12)
axis.invert_yaxis()
axis.set_xlabel("proved share of the plan's objective (1: optimal)")
axis.set_title("What each lower bound sees of their distance", fontsize=11)
axis.grid(axis="x", alpha=0.3)
plt.show()
