"""Secrets in logs, messages and command lines, blotted out before anything is shown or stored.

What looks like a secret by its name must be given a value to be one ("api_key=None" stays), and what looks like one by
its shape must not look like a word ("hf_overrides", "bearer tokens"): logs are read by people.
"""

from __future__ import annotations

import re

from tuner.core.flags import SECRET_FLAG

BLOT = "<redacted>"

_NOTHING = r"(?!(?:None|null|True|False)(?:[\s,;)}\]\"']|$))"
# A quoted value that is cut off goes on to the end of its line.
_VALUE = _NOTHING + r"(?:\"[^\"\n]*(?:\"|$)|'[^'\n]*(?:'|$)|[^\s,;)}\]\"']+)"
_LIST = r"\[[^\]\n]*(?:\]|$)"
# In capitals, as variables of the environment are, every TOKEN is a secret; "eos_token=" and "max_tokens=" are none.
_VARIABLE = r"[A-Za-z0-9_]*(?:SECRET|TOKEN|PASSWORD|PASSWD|(?:API|ACCESS|PRIVATE|AUTH)_?KEY|CREDENTIALS?)"
_NAME = (
    r"[\w-]{0,40}?(?:passw(?:or)?d|passphrase|secret|(?:api|access|auth|private|secret)[-_ ]?key"
    r"|(?:api|access|auth|bearer|hf|hub|refresh)[-_]?token)"
)
_PARAMETER = r"(?:x-amz-)?(?:signature|credential|security-token)|sig|token|access_token|api[-_]?key|key"

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # --api-key VALUE [VALUE ...], --hf-token=VALUE, as shell words and as list items; argparse takes --api-k as well
    (re.compile(rf"({SECRET_FLAG})={_VALUE}", re.I | re.M), rf"\1={BLOT}"),
    (re.compile(rf"({SECRET_FLAG})((?:[ \t]+(?!-)[^\s]+)+)", re.I), rf"\1 {BLOT}"),
    (re.compile(rf"({SECRET_FLAG}['\"],\s*){_VALUE}", re.I | re.M), rf"\1{BLOT}"),
    (re.compile(rf"({SECRET_FLAG}['\"]?\s*\n\s*-\s+){_VALUE}", re.I | re.M), rf"\1{BLOT}"),
    # 'api_key': ['a', 'b'] and "hf_token": "x", as in vLLM's "non-default args" line, and in a pod's environment
    (re.compile(rf"(['\"]{_NAME}['\"]\s*:\s*)(?:{_LIST}|{_VALUE})", re.I | re.M), rf"\1{BLOT}"),
    # api_key=['a'] and db_password = x; with a colon, only what does not look like the rest of a sentence
    (re.compile(rf"(\b{_NAME}[ \t]*=(?!=)[ \t]*)(?:{_LIST}|{_VALUE})", re.I | re.M), rf"\1{BLOT}"),
    (re.compile(rf"(\b(?:{_NAME}|authorization)[ \t]*:[ \t]*)(?=[^\s,;]*\d)[^\s,;)}}\]\"']{{6,}}", re.I), rf"\1{BLOT}"),
    (
        re.compile(r"(\bauthorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic|token)[ \t]+)[^\s,;)}\]\"']+", re.I),
        rf"\1{BLOT}",
    ),
    (
        re.compile(
            r"(\b(?:bearer|basic)[ \t]+)(?:(?=[A-Za-z._~+/-]*[0-9=])[A-Za-z0-9._~+/=-]{6,}|[A-Za-z0-9._~+/=-]{20,})",
            re.I,
        ),
        rf"\1{BLOT}",
    ),
    (re.compile(r"\bhf_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{8,}"), BLOT),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{8,}"), BLOT),
    (re.compile(r"\b(?:gh[opsru]|github_pat|glpat|nvapi|xox[abp]|api_org)[-_][A-Za-z0-9_-]{10,}"), BLOT),
    (re.compile(r"\bA[KS]IA[0-9A-Z]{16}\b"), BLOT),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"), BLOT),
    # credentials in a URL: scheme://user:secret@host, scheme://token@host, and ?X-Amz-Signature=
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,15}://[^\s:/@]{0,64}:)[^\s/?#]{1,256}(?=@)", re.I), rf"\1{BLOT}"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,15}://)[^\s:/?#@]{16,256}(?=@)", re.I), rf"\1{BLOT}"),
    (re.compile(rf"([?&](?:{_PARAMETER})=)[^\s&#\"']+", re.I), rf"\1{BLOT}"),
    # NAME_TOKEN=value, as env dumps and shell traces print it
    (re.compile(rf"\b({_VARIABLE}\s*=(?!=)\s*){_VALUE}", re.M), rf"\1{BLOT}"),
)


def redact(text: str) -> str:
    """`text` with API keys, tokens and passwords replaced. Idempotent."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
