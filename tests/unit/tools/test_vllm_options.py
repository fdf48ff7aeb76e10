"""The table of vLLM's options is what an argument parser says, in the file's own format."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from tools.vllm_options import document, rows

TABLE = files("tuner.engines.vllm").joinpath("options.json").read_text(encoding="utf-8")


def optional_type(return_type: Callable[[str], Any]) -> Callable[[str], Any]:
    """As vLLM wraps the types of settings that may be unset."""

    def _optional_type(text: str) -> Any:
        return None if text == "None" else return_type(text)

    return _optional_type


def human_readable_int(text: str) -> int:
    return int(text)


def union_dict_and_str(text: str) -> Any:
    return text


def test_a_parser_becomes_rows_in_the_order_of_its_help() -> None:
    parser = argparse.ArgumentParser()
    group = parser.add_argument_group("CacheConfig")
    group.add_argument("--block-size", type=optional_type(int), choices=[16, 32, None])
    group.add_argument("--enable-prefix-caching", "--apc", action=argparse.BooleanOptionalAction)
    parser.add_argument("model_tag", nargs="?")
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--tensor-parallel-size", "-tp", type=int)
    parser.add_argument("--max-num-batched-tokens", type=optional_type(human_readable_int))
    parser.add_argument("--hf-overrides", type=union_dict_and_str, default={})
    parser.add_argument("--pt-load-map-location", type=union_dict_and_str, default="cpu")
    parser.add_argument("--middleware", action="append")
    parser.add_argument("--served-model-name", nargs="+", type=str)
    parser.add_argument("--optimization-level", type=str)
    assert list(rows(parser)) == [
        {"name": "headless", "type": "switch"},
        {"name": "tensor-parallel-size", "type": "int", "short": ["tp"]},
        {"name": "max-num-batched-tokens", "type": "size"},
        {"name": "hf-overrides", "type": "json"},
        {"name": "pt-load-map-location", "type": "str"},
        {"name": "middleware", "type": "str", "repeats": True},
        {"name": "served-model-name", "type": "str", "many": True},
        {"name": "optimization-level", "type": "str", "short": ["O"]},
        {"name": "block-size", "type": "int", "choices": ["16", "32"], "group": "CacheConfig"},
        {"name": "enable-prefix-caching", "type": "bool", "aliases": ["apc"], "group": "CacheConfig"},
    ]


def test_the_file_is_written_as_it_is_kept() -> None:
    table = json.loads(TABLE)
    assert document(table["version"], table["options"]) == TABLE
