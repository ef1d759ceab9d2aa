"""``python -m gwfast_llm.fuse``: fuse language models; without argument the embedded default."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gwfast_llm.cli import config_parser, guard, parse
from gwfast_llm.config import FuseConfig
from gwfast_llm.redact import code, markdown

DESCRIPTION = """Fuse source models of any tokenizer into a pivot by logit distillation.

Without --config (or --pivot.model) the embedded default runs: two small experts and a weaker pivot are built on the
spot on the CPU, fused under several objectives and compared on new problems.  The recommended objective is `path`,
which helped most in our measurements; `infigfusion` is there to reproduce the published loss."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = config_parser("fuse", DESCRIPTION)
    parser.add_argument("--size", type=str, default="default", help="embedded default: 'default' or 'smoke'")
    parser.add_argument("--seeds", type=int, default=0, help="embedded default: repetitions (0: the size's own)")
    parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
    parser.add_argument("--name", type=str, default="", help="name of the run folder (a number by default)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing run folder")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of an unfinished run")
    return guard(lambda: _run(*parse(parser, arguments)))


def _run(options: Any, config: FuseConfig | None) -> int:
    from gwfast_llm import rundir
    from gwfast_llm.errors import FusionError

    if config is not None:
        return _fuse(config, options)
    if options.resume:
        raise FusionError("--resume belongs to a fusion of your own models; built models are found again anyway")
    target = rundir.choose(Path(options.runs).expanduser(), options.name, "tiny", options.overwrite)
    from gwfast_llm.tiny.default import SIZES

    if options.size not in SIZES:
        raise FusionError(f"--size is {options.size!r}; expected one of {', '.join(SIZES)}")
    if options.seeds < 0:
        raise FusionError(f"--seeds is {options.seeds}; expected 1 or more")
    return _embedded(options.size, options.seeds or None, target)


def _embedded(size: str, seeds: int | None, target: Path) -> int:
    from gwfast_llm import report, rundir
    from gwfast_llm.tiny.default import FUSED_TEXTS, run_default
    from gwfast_llm.tiny.tasks import EXACT_TASKS

    started = time.monotonic()
    with rundir.building(target) as folder:
        run = run_default(size, folder, seeds)
        judged = report.verdict(run.contenders, FUSED_TEXTS, EXACT_TASKS)
        text = report.table(run.contenders, FUSED_TEXTS, EXACT_TASKS)
        shutil.copytree(run.models[judged.winner.name], folder / "model")
        shutil.rmtree(folder / "models")
        trained = [c.name for c in run.contenders if c.trained]
        report.plot_losses(folder / "losses.png", run.metrics, trained)
        report.plot_interval(folder / "interval.png", run.metrics, trained)
        report.plot_scores(folder / "scores.png", run.contenders)
        report.write_metrics(folder / "metrics.jsonl", [*run.metrics, *report.score_records(run.contenders)])
        # paths of the temporary folder become paths of the final one
        config = json.dumps(run.config, indent=2).replace(str(folder), str(target))
        (folder / "config.json").write_text(config + "\n", encoding="utf-8")
        minutes = (time.monotonic() - started) / 60
        page = embedded_page(run.contenders, judged, text, run.config, run.metrics, minutes)
        (folder / "report.md").write_text(page, encoding="utf-8")
    print(f"\n{text}\n")
    print("\n".join(line.replace("**", "") for line in judged.text))
    print(f"\nmodel {target / 'model'}\nreport {target / 'report.md'}\n{minutes:.1f} minutes")
    return 0


def embedded_page(
    contenders: Sequence[Any],
    judged: Any,
    table: str,
    config: dict[str, Any],
    metrics: Sequence[dict[str, Any]],
    minutes: float,
) -> str:
    """Markdown page of an embedded run."""
    what = "\n".join(f"* {c.name}: {c.what}" for c in contenders)
    verdict = "\n\n".join(judged.text)
    diagnosis = diagnosis_table(metrics)
    return f"""# Fusion of small models: size {config["size"]}, {config["seeds"]} seed(s)

{verdict}

{table}

Mean ± standard deviation over seeds. Texts (M, N, O): nats a word above the true log-probability on held-out text,
0 is perfect. Exact match (A arithmetic, B boolean, D brackets, S sorting, L liars): share of held-out answers that
greedy decoding gets right as a whole. No held-out problem is among the fusion examples. O is the pivot's own dialect,
which no source knows and which is not among the fusion examples: it shows what training forgets.

{what}

Fusion examples: {config["examples"]} of each of 7 tasks; {config["steps"]} steps (sft_short a quarter);
every example learns from the source with the lower loss on its answer. `model/` is the winner's pivot of the first
seed, in Hugging Face format.

![losses](losses.png)

![certified interval](interval.png)

Both ends are proved: the true Gromov-Wasserstein distance between the pivot's co-activation graph and the sources'
(carried into the pivot's vocabulary, held-out text, uniform weights) lies between the dashed and the solid line, in
units of the energy of the sources' graph. It is a diagnostic: a smaller distance does not by itself mean a better
fusion.

![scores](scores.png)

{diagnosis}

{minutes:.1f} minutes in all.
"""


def diagnosis_table(metrics: Sequence[dict[str, Any]]) -> str:
    """Markdown table of the diagnosis, averaged over seeds; empty where nothing was measured."""
    from statistics import fmean

    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in metrics:
        if "cosine" in row and row["objective"] != "sft_short":
            rows.setdefault((row["objective"], row["part"]), []).append(row)
    if not rows:
        return ""
    lines = [
        "Before the first step: cosine between the gradient of each part and that of the cross-entropy on held-out",
        "examples (a negative one points against it), the same where the source is unsure, and the length of the",
        "gradient over the cross-entropy's.",
        "",
        "| objective | part | cosine | where unsure | length |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (objective, part), own in rows.items():
        cells = [fmean(r[name] for r in own) for name in ("cosine", "cosine_text", "size")]
        lines.append(f"| {objective} | {part} | {cells[0]:+.2f} | {cells[1]:+.2f} | {cells[2]:.2g} |")
    return "\n".join(lines)


def _fuse(config: FuseConfig, options: Any) -> int:
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    from gwfast_llm import rundir
    from gwfast_llm.cache import spell_bytes
    from gwfast_llm.callbacks import last_checkpoint
    from gwfast_llm.dates import pinned
    from gwfast_llm.errors import FusionError
    from gwfast_llm.train import fuse
    from gwfast_llm.trouble import out_of_disk

    state = PartialState(cpu=not torch.cuda.is_available())
    chosen: list[Any] = [None, None]
    if state.is_main_process:
        try:
            target = rundir.choose(Path(options.runs).expanduser(), options.name, "fuse", options.overwrite)
            config = pinned(config, rundir.unfinished(target) / "config.json" if options.resume else None)
            work = rundir.open_unfinished(target, config.as_dict(), options.resume, options.overwrite)
            chosen = [(target, work), None]
        except FusionError as mistake:
            chosen = [None, str(mistake)]
    if state.num_processes > 1:
        broadcast_object_list(chosen)
    if chosen[1]:
        raise FusionError(chosen[1])
    target, work = chosen[0]
    config = pinned(config, work / "config.json")
    checkpoints = work / "checkpoints"
    try:
        fused = fuse(config, checkpoints=checkpoints, resume=options.resume)
    except BaseException:
        if state.is_main_process and last_checkpoint(checkpoints) is None:
            shutil.rmtree(work, ignore_errors=True)  # nothing to go on from
        raise
    if not state.is_main_process:
        return 0
    size = spell_bytes(sum(p.numel() * p.element_size() for p in fused.model.parameters()))
    kept = last_checkpoint(checkpoints) is not None
    advice = "go on with --resume" if kept else "or give --runs on another disk, and start anew"
    try:
        with out_of_disk(f"the disk of {work.parent} is full: the model needs {size}; make room, {advice}"):
            _write(config, fused, work)
    except BaseException:
        shutil.rmtree(work / "model" if kept else work, ignore_errors=True)
        raise
    rundir.finish(work, target)
    shutil.rmtree(target / "checkpoints", ignore_errors=True)
    print("\n".join(fused.notes))
    print(f"model {target / 'model'}\nreport {target / 'report.md'}\n{fused.seconds:.0f} s")
    return 0


def _write(config: FuseConfig, fused: Any, work: Path) -> None:
    """Write model, records, plots and page of a fusion into its folder."""
    from gwfast_llm import report

    fused.model.save_pretrained(work / "model")
    fused.tokenizer.save_pretrained(work / "model")
    name = config.objective.preset
    metrics = [{"objective": name, "seed": config.train.seed, **row} for row in fused.metrics]
    report.write_metrics(work / "metrics.jsonl", metrics)
    report.plot_losses(work / "losses.png", metrics, [name])
    if any("gw_upper" in row for row in metrics):
        report.plot_interval(work / "interval.png", metrics, [name])
    (work / "report.md").write_text(fusion_page(config, fused, metrics), encoding="utf-8")


def fusion_page(config: FuseConfig, fused: Any, metrics: Sequence[dict[str, Any]]) -> str:
    """Markdown page of a fusion of the user's own models."""
    sources = "\n".join(f"* source {markdown(s.label)}: {code(s.model)}, weight {s.weight:g}" for s in config.sources)
    parts = ", ".join(f"{weight:g} {name}" for name, weight in config.objective.weights.items() if weight)
    losses = [row for row in metrics if "loss" in row]
    diagnosis = diagnosis_table(metrics)
    held_out = [row for row in metrics if "eval_loss" in row]
    intervals = [row for row in metrics if "gw_upper" in row]
    lines = [f"loss {losses[0]['loss']:.4f} at step {losses[0]['step']}, {losses[-1]['loss']:.4f} at the end"]
    if held_out:
        lines.append(f"held-out objective {held_out[0]['eval_loss']:.4f}, {held_out[-1]['eval_loss']:.4f} at the end")
    if intervals:
        first, last = intervals[0], intervals[-1]
        lines.append(
            f"certified GW interval [{first['gw_lower']:.4f}, {first['gw_upper']:.4f}] at the start, "
            f"[{last['gw_lower']:.4f}, {last['gw_upper']:.4f}] at the end\n\n![interval](interval.png)"
        )
    notes = "\n".join(f"* {markdown(note)}" for note in fused.notes) or "* every example was used whole"
    result = "\n\n".join(lines)
    return f"""# Fusion into {code(config.pivot.model)}

{sources}

Objective {parts} ({config.objective.preset}), {config.train.steps} steps, {fused.seconds:.0f} s.

{result}

![losses](losses.png)

{diagnosis}

Data:

{notes}
"""


if __name__ == "__main__":
    sys.exit(main())
