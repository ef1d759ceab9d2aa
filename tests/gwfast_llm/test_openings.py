"""What stands before an answer, and templates and their variables chosen by a configuration."""

import shutil

import pytest

from gwfast_llm.config import ModelConfig
from gwfast_llm.models.loading import load_tokenizer
from gwfast_llm.system.errors import FusionError
from gwfast_llm.text.examples import Example, encode_all, prompt_text
from gwfast_llm.text.special_tokens import closing_token
from shaped import CHATML, bytes_tokenizer, qwen

QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}"
    "<think>\n{{ m.reasoning_content | default('') }}\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
R1 = (
    "{% for m in messages %}{% if m.role == 'user' %}<|User|>{{ m.content }}{% else %}<|Assistant|>"
    "{{ m.content.split('</think>')[-1] }}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
HARMONY = (
    "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}<|message|>"
    "{{ m.content }}{% if m.role == 'assistant' and loop.last %}<|return|>{% else %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)


def asked(response="Yes"):
    return Example("", response, messages=(("user", "Hi"),))


def with_template(template, *marks):
    made = bytes_tokenizer(["<|endoftext|>", "<|im_end|>", *marks], ["<think>", "</think>"], template)
    made.eos_token = "<|im_end|>"
    return made


THOUGHT = "<think>\nwhy\n</think>\n\nYes"


@pytest.mark.parametrize(
    ("template", "plain", "thought"),
    [
        (CHATML, "<|im_start|>assistant\n", "<|im_start|>assistant\n"),
        (QWEN3, "<|im_start|>assistant\n<think>\n\n</think>\n\n", "<|im_start|>assistant\n"),
        (R1, "<|Assistant|>", "<|Assistant|>"),  # the mark that the answer begins with is not written twice
        (HARMONY, "<|start|>assistant<|channel|>final<|message|>", "<|start|>assistant"),
    ],
    ids=["chatml", "qwen3", "r1", "harmony"],
)
def test_an_answer_stands_behind_what_the_template_writes_before_one(template, plain, thought):
    tokenizer = with_template(template)
    assert prompt_text(asked(), tokenizer).endswith(plain)
    assert prompt_text(asked(THOUGHT), tokenizer).endswith(thought)
    assert "\x02" not in prompt_text(asked(), tokenizer)


def test_prompt_and_answer_are_the_conversation_the_template_writes():
    """Token for token, up to the closing mark: what is learnt is what the model will be given."""
    for template in (CHATML, QWEN3, R1, HARMONY):
        tokenizer = with_template(template, "<|im_start|>", "<|return|>", "<|Assistant|>")
        (row,) = encode_all([asked()], tokenizer, end_token=closing_token(tokenizer))
        turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
        whole = tokenizer.apply_chat_template(turns, tokenize=False)
        assert whole.startswith(tokenizer.decode(row.ids))


@pytest.fixture
def model(tmp_path):
    tokenizer = qwen()
    tokenizer.chat_template = QWEN3
    tokenizer.save_pretrained(tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text('{"model_type": "llama"}')
    return str(tmp_path / "m")


def test_variables_of_a_template_become_its_defaults(model, tmp_path):
    plain = load_tokenizer(ModelConfig(model))
    quiet = load_tokenizer(ModelConfig(model, chat_template_kwargs={"enable_thinking": False}))
    empty = "<think>\n\n</think>\n\n"
    turns = [{"role": "user", "content": "Hi"}]
    assert not plain.apply_chat_template(turns, tokenize=False, add_generation_prompt=True).endswith(empty)
    quiet.save_pretrained(tmp_path / "exported")
    shutil.copy(f"{model}/config.json", tmp_path / "exported")
    again = load_tokenizer(ModelConfig(str(tmp_path / "exported")))
    for own in (quiet, again):
        assert own.apply_chat_template(turns, tokenize=False, add_generation_prompt=True).endswith(empty)
        louder = own.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, enable_thinking=True)
        assert louder.endswith("assistant\n")
    assert closing_token(quiet) == closing_token(plain)


def test_a_template_is_chosen_by_file_or_by_name(model, tmp_path):
    file = tmp_path / "own.jinja"
    file.write_text(R1)
    assert load_tokenizer(ModelConfig(model, chat_template=str(file))).chat_template == R1
    tokenizer = qwen()
    tokenizer.chat_template = {"default": CHATML, "r1": R1}
    tokenizer.save_pretrained(model)
    assert load_tokenizer(ModelConfig(model, chat_template="r1")).chat_template == R1
    with pytest.raises(FusionError, match=r"pivot: chat_template is 'r2'; expected one of default, r1, or a file"):
        load_tokenizer(ModelConfig(model, chat_template="r2"))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"thinking": True}, "has no variable 'thinking'"),
        ({"messages": "x"}, "chat_template_kwargs.messages is no variable that can be set"),
        ({"a b": 1}, "chat_template_kwargs.a b is no variable"),
        ({"enable_thinking": [1]}, r"pivot.chat_template_kwargs.enable_thinking is a list; expected true, false"),
        ({"enable_thinking": None}, r"enable_thinking is null; expected true, false"),
    ],
)
def test_variables_that_cannot_be_set_are_one_line(model, variables, message):
    with pytest.raises(FusionError, match=message):
        load_tokenizer(ModelConfig(model, chat_template_kwargs=variables))
