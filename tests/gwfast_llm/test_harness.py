"""lm-evaluation-harness: what is refused, and real runs where it is installed, on tasks defined here."""

import json
import shutil
from importlib.util import find_spec

import pytest
import torch

from gwfast_llm.config import ModelConfig
from gwfast_llm.evaluate import main as evaluate_command
from gwfast_llm.models.loading import load_model, load_tokenizer
from gwfast_llm.reports import harness

needs_library = [
    pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-evaluation-harness (extra eval) not installed"),
    pytest.mark.filterwarnings("ignore"),  # of the harness and what it imports
]
QUESTIONS = [(f"S {word}:", [" ab.", " dcba."], k % 2) for k, word in enumerate(["ab", "ba", "abcd", "cab", "dab"])]


@pytest.fixture
def folder(home, tmp_path):
    """A pivot whose tokenizer ends texts, questions, and two tasks on them."""
    shutil.copytree(home / "pivot", tmp_path / "pivot")
    tokenizer = load_tokenizer(ModelConfig(str(home / "pivot")))
    tokenizer.eos_token = tokenizer.pad_token
    tokenizer.save_pretrained(tmp_path / "pivot")
    rows = [{"q": q, "choices": c, "gold": g} for q, c, g in QUESTIONS]
    (tmp_path / "questions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    data = f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path / 'questions.jsonl'}}}}}\n"
    common = data + 'test_split: test\ndoc_to_text: "{{q}}"\ntarget_delimiter: ""\nmetadata: {version: 1.0}\n'
    (tmp_path / "pick.yaml").write_text(
        "task: own_pick\noutput_type: multiple_choice\n"
        + common
        + 'doc_to_choice: "{{choices}}"\ndoc_to_target: "{{gold}}"\nmetric_list: [{metric: acc}]\n'
    )
    (tmp_path / "say.yaml").write_text(
        "task: own_say\noutput_type: generate_until\n"
        + common
        + 'doc_to_target: "{{choices[gold]}}"\nmetric_list: [{metric: exact_match}]\n'
        + "generation_kwargs: {until: ['.'], max_gen_toks: 6, do_sample: false}\n"
    )
    return tmp_path


def evaluate(folder, *tasks, model="pivot"):
    pivot = ["--pivot.model", str(folder / model), "--data.train", "-", "--objective.preset", "sft"]
    return evaluate_command([*pivot, "--tasks", json.dumps([str(task) for task in tasks]), "--json"])


def test_without_the_harness_it_says_how_to_get_it(folder, capsys, monkeypatch):
    monkeypatch.setattr(harness, "find_spec", lambda name: None)
    assert evaluate(folder, "arc_easy") == 2
    assert "pip install 'gwfast-ot[eval]'" in capsys.readouterr().err


class TestWithTheHarness:
    pytestmark = needs_library

    def test_own_tasks_run_and_accuracy_is_its_definition(self, folder, capsys):
        assert evaluate(folder, folder / "pick.yaml", folder / "say.yaml") == 0
        found = {row["task"]: row for row in map(json.loads, capsys.readouterr().out.splitlines()[-2:])}
        assert found["own_pick"]["count"] == found["own_say"]["count"] == len(QUESTIONS)
        assert found["own_say"]["numbers"]["exact_match"] == 0  # random weights do not sort
        own = ModelConfig(str(folder / "pivot"))
        model, tokenizer = load_model(own).eval(), load_tokenizer(own)

        def likelihood(question, answer):
            prompt, whole = (tokenizer(text)["input_ids"] for text in (question, question + answer))
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
            return sum(float(logits[t - 1, whole[t]]) for t in range(len(prompt), len(whole)))

        right = [max(range(2), key=lambda k: likelihood(q, choices[k])) == gold for q, choices, gold in QUESTIONS]
        assert found["own_pick"]["numbers"]["acc"] == pytest.approx(sum(right) / len(right))

    @pytest.mark.parametrize("task", ["no_such_task", "no/such.yaml"])
    def test_an_unknown_task_is_named(self, folder, capsys, task):
        assert evaluate(folder, task) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert f"--tasks: {task!r} is neither a task" in said

    def test_missing_data_is_one_line(self, folder, capsys):
        (folder / "questions.jsonl").unlink()
        assert evaluate(folder, folder / "pick.yaml") == 2
        assert "--tasks: the data of a task cannot be loaded" in capsys.readouterr().err.splitlines()[-1]

    def test_a_tokenizer_without_first_and_last_token_is_named(self, folder, home, capsys):
        assert evaluate(home, folder / "pick.yaml") == 2
        assert "set eos_token in its tokenizer_config.json" in capsys.readouterr().err.splitlines()[-1]

    def test_questions_in_a_chat_template_need_one(self, folder, capsys):
        pivot = ["--pivot.model", str(folder / "pivot"), "--data.train", "-", "--objective.preset", "sft"]
        flags = ["--tasks", json.dumps([str(folder / "pick.yaml")]), "--data.chat", "true"]
        assert evaluate_command([*pivot, *flags]) == 2
        assert "has no chat template; use --data.chat false" in capsys.readouterr().err.splitlines()[-1]
