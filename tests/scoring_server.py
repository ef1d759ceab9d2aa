"""A server of log-probabilities of prompts in a process of its own: a small real model behind HTTP on loopback."""

import json
import os
import signal
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import torch
from transformers import AutoModelForCausalLM

from gwfast_llm.config import ModelConfig
from gwfast_llm.models.loading import load_tokenizer


class Scorer:
    """Answers as vLLM does (`prompt_logprobs`), or echoes the prompt with ids or with text."""

    def __init__(self, folder, way, most=20, adds=None, fails=0, log=None):
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = load_tokenizer(ModelConfig(str(folder)))
        self.way, self.most, self.adds, self.fails, self.log = way, most, adds, fails, log

    @torch.no_grad()
    def entries(self, ids, k):
        logp = self.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        found = [None]
        for t in range(1, len(ids)):
            top = logp[t - 1].topk(min(k, logp.shape[-1]))
            entry = dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))
            entry.setdefault(ids[t], logp[t - 1, ids[t]].item())
            found.append(entry)
        return found

    def answer(self, body):
        """Status and answer; a server does not know more of a request than its fields."""
        if self.fails:
            self.fails -= 1
            return 503, {"error": {"message": "loading"}}
        k = body.get("prompt_logprobs") if self.way == "vllm" else body.get("logprobs")
        if k is None:  # the field is not known here, and is ignored
            return 200, {"choices": [{"index": i, "text": "x", "logprobs": None} for i in range(len(body["prompt"]))]}
        if k > self.most:
            return 400, {"message": f"Requested prompt logprobs of {k}, which is greater than max allowed: {self.most}"}
        if self.way == "text" and not all(isinstance(p, str) for p in body["prompt"]):
            return 422, {"detail": "Input should be a valid string"}
        choices = []
        for i, prompt in enumerate(body["prompt"]):
            ids = self.tokenizer(prompt, add_special_tokens=False)["input_ids"] if self.way == "text" else list(prompt)
            ids = ([self.adds] if self.adds is not None else []) + ids
            entries = self.entries(ids, k)
            if self.way == "vllm":
                rows = [
                    e and {str(t): {"logprob": v, "rank": r} for r, (t, v) in enumerate(e.items())} for e in entries
                ]
                choices.append({"index": i, "prompt_logprobs": rows, "prompt_token_ids": ids})
                continue
            words = [self.word(t) for t in ids]
            tops = [e and {self.word(t): v for t, v in e.items()} for e in entries]
            choices.append(
                {
                    "index": i,
                    "logprobs": {
                        "tokens": [*words, "!"],  # one token is generated
                        "token_logprobs": [e and e[t] for e, t in zip(entries, ids, strict=True)] + [-1.0],
                        "top_logprobs": [*tops, {"!": -1.0}],
                    },
                }
            )
        return 200, {"choices": choices[::-1]}  # in any order: each has its index

    def word(self, token):
        return self.tokenizer.decode([token]) if self.way == "text" else f"token_id:{token}"


@contextmanager
def serving(folder, way="vllm", **options):
    """Address of a server that runs as long as the block; a real process, ended by a kill."""

    class Handler(BaseHTTPRequestHandler):
        scorer = None

        def do_POST(self):
            size = int(self.headers["Content-Length"])
            status, found = self.scorer.answer(json.loads(self.rfile.read(size)))
            sent = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            Handler.scorer = Scorer(folder, way, **options)
            server.serve_forever()
        finally:
            os._exit(0)
    port = server.server_address[1]
    server.socket.close()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
