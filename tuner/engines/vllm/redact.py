"""Secrets in engine logs and command lines, blotted out before anything is shown or stored."""

from __future__ import annotations

import re

from tuner.core.flags import SECRET_FLAG

BLOT = "<redacted>"

_QUOTED_OR_WORD = r"(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;)}\]\"']+)"
_SECRET_NAME = r"[A-Za-z0-9_]*(?:SECRET|TOKEN|PASSWORD|PASSWD|(?:API|ACCESS|PRIVATE|AUTH)_?KEY|CREDENTIALS?)"

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # --api-key VALUE [VALUE ...], --hf-token=VALUE, as shell words and as list items; argparse takes --api-k as well
    (re.compile(rf"({SECRET_FLAG})=" + _QUOTED_OR_WORD, re.I), rf"\1={BLOT}"),
    (re.compile(rf"({SECRET_FLAG})((?:[ \t]+(?!-)[^\s]+)+)", re.I), rf"\1 {BLOT}"),
    (re.compile(rf"({SECRET_FLAG}['\"],\s*)" + _QUOTED_OR_WORD, re.I), rf"\1{BLOT}"),
    (re.compile(rf"({SECRET_FLAG}['\"]?\s*\n\s*-\s+)" + _QUOTED_OR_WORD, re.I), rf"\1{BLOT}"),
    # 'api_key': ['a', 'b'] and "hf_token": "x", as in vLLM's "non-default args" line
    (
        re.compile(
            r"(['\"](?:[\w-]*api[-_]?key|hf[-_]token|[\w-]*password|[\w-]*secret|access[-_]token)['\"]\s*:\s*)"
            r"(\[[^\]\n]*\]|\"[^\"\n]*\"|'[^'\n]*'|[^\s,}]+)",
            re.I,
        ),
        rf"\1{BLOT}",
    ),
    (re.compile(r"\b((?:api_key|hf_token)=)(\[[^\]\n]*\]|" + _QUOTED_OR_WORD[1:], re.I), rf"\1{BLOT}"),
    (re.compile(r"(\b(?:authorization\s*[:=]\s*)?(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}", re.I), rf"\1{BLOT}"),
    (re.compile(r"\bhf_[A-Za-z0-9]{8,}"), BLOT),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{8,}"), BLOT),
    (re.compile(r"\b(?:ghp|gho|ghs|glpat|nvapi|xox[abp])[-_][A-Za-z0-9_-]{10,}"), BLOT),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), BLOT),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"), BLOT),
    # credentials in a URL: scheme://user:secret@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,15}://[^\s:/@]{1,64}:)[^\s/@]{1,256}(?=@)", re.I), rf"\1{BLOT}"),
    # NAME_TOKEN=value, as env dumps and shell traces print it
    (re.compile(rf"\b({_SECRET_NAME}\s*=\s*)" + _QUOTED_OR_WORD), rf"\1{BLOT}"),
)


def redact(text: str) -> str:
    """`text` with API keys, tokens and passwords replaced. Idempotent."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
