"""Makes a small Llama with random weights and a tokenizer of its own, for the real engine to serve in tests.

    VENV/bin/python make_model.py FOLDER --size small

Runs in the real engine's environment (needs tokenizers, numpy and safetensors). `tiny` shows that an engine starts;
`small` computes enough per step for the scheduler's settings to show in latency on two cores. The weights are scaled so
that what comes out depends on what went in: an output check has something to compare. Equal seeds give equal files.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics  # some 450 kB of English that every Python brings

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIALS = ("<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """The shape of a Llama; heads have the same number of key-value heads."""

    layers: int
    hidden: int
    heads: int
    vocab: int = 2048
    positions: int = 131_072

    @property
    def head(self) -> int:
        return self.hidden // self.heads

    @property
    def intermediate(self) -> int:
        return 4 * self.hidden

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of bfloat16 keys and values that one token takes in the cache."""
        return 2 * 2 * self.layers * self.hidden


SIZES = {"tiny": Shape(layers=2, hidden=128, heads=4), "small": Shape(layers=8, hidden=512, heads=8)}


def train_tokenizer(vocab: int) -> Tokenizer:
    """A byte-level BPE tokenizer of exactly `vocab` entries: any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([topics[name] for name in sorted(topics)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


def weights(shape: Shape, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of every tensor: columns of unit length on average, so activations neither fade nor explode."""
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, scale: float = 1.0) -> np.ndarray:
        values = random.standard_normal((rows, columns), dtype=np.float32) * (scale / np.sqrt(columns))
        return values.astype(np.float16)

    ones = np.ones(shape.hidden, np.float16)
    yield "model.embed_tokens.weight", matrix(shape.vocab, shape.hidden, scale=np.sqrt(shape.hidden))
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        for name in ("q", "k", "v", "o"):
            yield f"{prefix}self_attn.{name}_proj.weight", matrix(shape.hidden, shape.hidden)
        yield f"{prefix}mlp.gate_proj.weight", matrix(shape.intermediate, shape.hidden)
        yield f"{prefix}mlp.up_proj.weight", matrix(shape.intermediate, shape.hidden)
        yield f"{prefix}mlp.down_proj.weight", matrix(shape.hidden, shape.intermediate)
        yield f"{prefix}input_layernorm.weight", ones
        yield f"{prefix}post_attention_layernorm.weight", ones
    yield "model.norm.weight", ones
    yield "lm_head.weight", matrix(shape.vocab, shape.hidden, scale=3.0)


def write_model(folder: Path, shape: Shape, seed: int, with_weights: bool) -> None:
    """Write all files of the model. Without weights it is served with `--load-format dummy`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(shape.vocab)
    if tokenizer.get_vocab_size() != shape.vocab:
        raise SystemExit(f"the corpus gives {tokenizer.get_vocab_size()} tokens, not {shape.vocab}")
    tokenizer.save(str(folder / "tokenizer.json"))
    ends = {"bos_token_id": tokenizer.token_to_id("<s>"), "eos_token_id": tokenizer.token_to_id("</s>")}
    documents = {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "model_max_length": shape.positions,
            "chat_template": CHAT_TEMPLATE,
        },
        "generation_config.json": ends,
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "num_hidden_layers": shape.layers,
            "hidden_size": shape.hidden,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.heads,
            "head_dim": shape.head,
            "intermediate_size": shape.intermediate,
            "vocab_size": shape.vocab,
            "max_position_embeddings": shape.positions,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_theta": 10_000.0,
            "tie_word_embeddings": False,
            "attention_bias": False,
            "mlp_bias": False,
            "torch_dtype": "bfloat16",
            **ends,
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=2) + "\n")
    if with_weights:
        tensors = folder / "model.safetensors"
        save_file(dict(weights(shape, seed)), str(tensors), metadata={"format": "pt"})
        tensors.chmod(0o644)  # like the other files: an engine in a pod may run as another user


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-weights", action="store_true", help="leave them out: serve with --load-format dummy")
    arguments = parser.parse_args()
    shape = SIZES[arguments.size]
    write_model(arguments.folder, shape, arguments.seed, not arguments.no_weights)
    print(f"{arguments.folder}: {arguments.size}, {shape.kv_bytes_per_token} bytes of cache per token", file=sys.stderr)


if __name__ == "__main__":
    main()
