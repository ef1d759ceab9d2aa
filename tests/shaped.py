"""Small tokenizers in the shape of well-known ones: how they mark turns, flag tokens and put spaces."""

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}{# <think> <tool_call> #}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% if strftime_now is defined %}<|start_header_id|>system<|end_header_id|>\n\n"
    "Today Date: {{ strftime_now('%d %b %Y') }}<|eot_id|>{% endif %}"
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
TEXT = [chr(c) for c in range(32, 127)]


def bytes_tokenizer(special, plain, template, **named):
    """Single bytes, a few merges, and marks: flagged special, or added without a flag."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("i", "n"), ("in", "g"), ("Ġ", "a"), ("o", "k")]
    vocabulary = {piece: i for i, piece in enumerate([*alphabet, *(a + b for a, b in merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in special])
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in plain])
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    made.chat_template = template
    return made


def qwen():
    """<|im_end|> is the end of the sequence; thoughts and tools have marks that are not flagged."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    plain = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<|fim_prefix|>"]
    return bytes_tokenizer(special, plain, CHATML, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def llama3(dated=False):
    """256 marks of which two are named; a turn ends with one that is not."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    special += [f"<|reserved_special_token_{k}|>" for k in range(251)]
    template = LLAMA3 if dated else LLAMA3.replace("strftime_now is defined", "false")
    return bytes_tokenizer(special, [], template, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>")


def gemma():
    """<end_of_turn> is flagged in the table and not named."""
    special = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
    return bytes_tokenizer(special, ["<table>"], GEMMA, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")


def phi():
    """<|end|> closes a turn and is not flagged at all; the end of the text is written behind it."""
    special = ["<|endoftext|>"]
    plain = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]
    return bytes_tokenizer(special, plain, PHI, eos_token="<|endoftext|>")


def llama2(how="normalizer"):
    """A space before every text, bytes in place of unknown characters, no template."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for piece in [*(f"<0x{i:02X}>" for i in range(256)), "▁", *TEXT[1:], "in", "ing", "▁in", "▁ing"]:
        vocabulary.setdefault(piece, len(vocabulary))
    merges = [("i", "n"), ("in", "g"), ("▁", "in"), ("▁", "ing")]
    model = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    if how == "normalizer":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
