"""Pages of a run in Markdown, from its records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gwfast_llm.reports.cost import cost_table
from gwfast_llm.reports.markdown import code, markdown
from gwfast_llm.reports.words import objective_in_words


def embedded_page(
    contenders: Sequence[Any],
    judged: Any,
    table: str,
    config: dict[str, Any],
    metrics: Sequence[dict[str, Any]],
    minutes: float,
) -> str:
    """Markdown page of an embedded run."""
    what = "\n".join(f"* {legend(c.name)}: {c.what}" for c in contenders)
    verdict = "\n\n".join(judged.text)
    diagnosis = diagnosis_table(metrics)
    return f"""# Fusion of small models: size {config["size"]}, {config["seeds"]} seed{"s" * (config["seeds"] != 1)}

{verdict}

![scores](scores.png)

{table}

Mean ± standard deviation over seeds. The three dialects are text of known entropy: nats a word above the true
log-probability on held-out text, 0 is perfect; the second column is the mean over the dialects of the two sources. The
other tasks have one right answer: share of held-out answers that greedy decoding gets right as a whole. No held-out
problem is among the fusion examples. Dialect O is the pivot's own, which no source knows and which is not among the
fusion examples: it shows what training forgets.

{what}

Fusion examples: {config["examples"]} of each of 7 tasks; {config["steps"]} steps (sft_short a quarter);
every example learns from the source with the lower loss on its answer. `model/` is the winner's pivot of the first
seed, in Hugging Face format.

![losses](losses.png)

![certified interval](interval.png)

Both ends are proved: the Gromov-Wasserstein distance between the pivot's co-activation graph and the sources' (carried
into the pivot's vocabulary, held-out text, uniform weights) lies between the dashed and the solid line, as a share of
the energy of the sources' graph. It is a diagnostic: a smaller distance does not by itself mean a better fusion.

{diagnosis}

{minutes:.1f} minutes in all.
"""


def legend(name: str) -> str:
    """A contender with its name in the pictures, where that is another."""
    words = objective_in_words(name)
    return name if words == name else f"{name} ({words})"


def diagnosis_table(metrics: Sequence[dict[str, Any]]) -> str:
    """Markdown table of the diagnosis, averaged over seeds; empty where nothing was measured."""
    from statistics import fmean

    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in metrics:
        if "cosine" in row and not row.get("step") and row["objective"] != "sft_short":
            rows.setdefault((row["objective"], row["part"]), []).append(row)
    if not rows:
        return ""
    lines = [
        "Before the first step: cosine between the gradient of each part and that of the cross-entropy on held-out",
        "examples (a negative one points against it), the same where the source is unsure, and the length of the",
        "gradient over the cross-entropy's, as it is and times the weight as given.",
        "",
        "| objective | part | cosine | where unsure | length | with weight |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (objective, part), own in rows.items():
        cells = [fmean(r[name] for r in own) for name in ("cosine", "cosine_text", "size")]
        pull = cells[2] * fmean(r.get("weight", 1.0) for r in own)
        lines.append(f"| {objective} | {part} | {cells[0]:+.2f} | {cells[1]:+.2f} | {cells[2]:.2g} | {pull:.2g} |")
    return "\n".join(lines)


def along_table(metrics: Sequence[dict[str, Any]]) -> str:
    """Markdown table of the diagnosis along training; empty where it was made only before the first step."""
    rows = [row for row in metrics if "cosine" in row]
    if not any(row["step"] for row in rows):
        return ""
    names = ("cosine", "cosine_end", "cosine_ordinary")
    lines = [
        "Along training: the same cosine, with the held-out tokens that end an answer and with all others apart, and",
        "the length of the gradient over that of the cross-entropy.  *No token*: mass of the source that the part",
        "cannot compare.",
        "",
        "| part | step | cosine | where answers end | elsewhere | length | no token |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: (row["part"], row["step"])):
        cells = [f"{row[name]:+.2f}" if row[name] == row[name] else "" for name in names]
        lost = f"{row['lost']:.1%}" if row["lost"] == row["lost"] else ""
        lines.append(f"| {row['part']} | {row['step']:g} | {' | '.join(cells)} | {row['size']:.2g} | {lost} |")
    return "\n".join(lines)


def held_out_table(metrics: Sequence[dict[str, Any]]) -> str:
    """Markdown table of the objective and its parts on held-out examples, before and after; empty without them."""
    rows = [row for row in metrics if "eval_loss" in row]
    if not rows:
        return ""
    first, last = rows[0], rows[-1]
    names = [name for name in last if name.startswith("eval_") and name in first]
    lines = [f"| held out | step {first['step']:g} | step {last['step']:g} |", "|---|---|---|"]
    for name in names:
        label = "objective" if name == "eval_loss" else name.removeprefix("eval_")
        lines.append(f"| {label} | {first[name]:.4f} | {last[name]:.4f} |")
    return "\n".join(lines)


SHOWN = 200  # characters of a prompt or an answer


def samples_table(samples: Sequence[dict[str, str]]) -> str:
    """Markdown table of what the pivot writes before and after; empty where nothing was written."""
    if not samples:
        return ""
    names = ("prompt", "answer", "before", "after")
    lines = ["| prompt | right answer | the pivot before | after |", "|---|---|---|---|"]
    for own in samples:
        # a prompt ends in what is asked, an answer begins with what counts
        texts = [own["prompt"][-SHOWN:], *(own[name][:SHOWN] for name in names[1:])]
        lines.append("| " + " | ".join(markdown(text.strip()) or "nothing" for text in texts) + " |")
    return "\n".join(lines)


def fusion_page(record: dict[str, Any], metrics: Sequence[dict[str, Any]], pictures: Sequence[str]) -> str:
    """Markdown page of a fusion of the user's own models.

    Parameters
    ----------
    record : dict
        What `gwfast_llm.reports.run_report.fusion_record` gives.
    metrics : sequence of dict
        Records of the run.
    pictures : sequence of str
        Files that are there.
    """
    sources = "\n".join(
        f"* source {markdown(s['label'])}: {code(s['model'])}, weight {s['weight']:g}" for s in record["sources"]
    )
    parts = ", ".join(f"{weight:g} {name}" for name, weight in record["weights"].items())
    losses = [row for row in metrics if "loss" in row]
    diagnosis = "\n\n".join(part for part in (diagnosis_table(metrics), along_table(metrics)) if part)
    held_out = [row for row in metrics if "eval_loss" in row]
    intervals = [row for row in metrics if "gw_upper" in row]
    lines = ["no loss was logged: train.log_every is above train.steps"]
    if losses:
        lines = [f"loss {losses[0]['loss']:.4f} at step {losses[0]['step']}, {losses[-1]['loss']:.4f} at the end"]
    if held_out:
        lines.append(held_out_table(metrics))
    if intervals:
        first, last = intervals[0], intervals[-1]
        lines.append(
            f"certified GW interval [{first['gw_lower']:.4f}, {first['gw_upper']:.4f}] at the start, "
            f"[{last['gw_lower']:.4f}, {last['gw_upper']:.4f}] at the end"
        )
    lines += [f"![{name.removesuffix('.png')}]({name})" for name in pictures]
    lines += [part for part in (samples_table(record.get("samples", [])), cost_table(record.get("cost", {}))) if part]
    notes = "\n".join(f"* {markdown(note)}" for note in record["notes"]) or "* every example was used whole"
    result = "\n\n".join(lines)
    return f"""# Fusion into {code(record["pivot"])}

{sources}

Objective {parts} ({record["preset"]}), {record["steps"]} steps, {record["seconds"]:.0f} s.

{result}

{diagnosis}

Data:

{notes}
"""


def merge_page(record: dict[str, Any]) -> str:
    """Markdown page of fusions whose models were merged.

    Parameters
    ----------
    record : dict
        What `gwfast_llm.reports.run_report.merge_record` gives.
    """
    recipe, losses = record["recipe"], record["losses"]
    parts = ", ".join(f"{weight:g} {name}" for name, weight in record["weights"].items())
    lines = ["| model | weight | nats a byte, held out |", "|---|---|---|"]
    lines += [f"| the pivot before | | {value:.4f} |" for value in record["before"]]
    for k, source in enumerate(record["sources"]):
        loss = f"{losses[k]:.4f}" if losses else "not measured"
        lines.append(f"| fused with {markdown(source['label'])} alone | {recipe['weights'][k]:.3f} | {loss} |")
    bytes_ = [score["value"] for score in record["merged"] if score["kind"] == "bytes"]
    loss = f"{sum(bytes_) / len(bytes_):.4f}" if bytes_ else "not measured"
    lines.append(f"| merged ({recipe['method']}) | | {loss} |")
    table = "\n".join(lines)
    return f"""# Fusions into {code(record["pivot"])}, merged

Objective {parts} ({record["preset"]}), {record["steps"]} steps for each of {len(record["sources"])} sources.

{table}

The weights were chosen by the held-out losses of this table, so that the last row is no test: score the model on other
examples.
"""
