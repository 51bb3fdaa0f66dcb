"""What the statistics and the comparisons need of a good line."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

import xxhash

from gemini_tuning.dataset.lines.conversation import files_of, member, modality_of, role_of

CHARACTERS_PER_TOKEN = 4  # Google's rule of thumb for text; good to about a third either way
TOKENS_PER_IMAGE = 256  # at MEDIUM, and the least at HIGH ("Image tuning")
_COARSE_END = 512  # bytes of a long prompt's start, and of its end, without what is dropped
_COARSE_PIECE = 768  # bytes that mostly hold so many

_FOLDED = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz")
_DROPPED = b" \t\n\r\x0b\x0c.!?"
_digest = xxhash.xxh3_64_intdigest


NOT_AN_EXAMPLE = (KeyError, TypeError, AttributeError, ValueError, IndexError)  # what ``example`` raises of other lines


class Example(NamedTuple):
    """One training example.

    ``prompt`` is all before the last turn but the system instruction, ``answer`` the last turn, ``context`` the system
    instruction and the tools; parts that aren't text stand in them as JSON. ``characters`` counts text only; ``other``
    counts the characters of function calls, responses and tools, which cost tokens too.
    """

    roles: tuple[str, ...]
    characters: int
    prompt: str
    answer: str
    context: str = ""
    instructed: bool = False
    other: int = 0
    files: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Estimated tokens; files other than images are not counted, for their length is unknown here."""
        return tokens_of(self.characters + self.other) + self.files.count("image") * TOKENS_PER_IMAGE

    @property
    def unmeasured(self) -> bool:
        """Whether it holds files whose tokens the estimate leaves out."""
        return self.files.count("image") < len(self.files)


def tokens_of(characters: int) -> int:
    """Return the estimated tokens of a text."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def example(document: dict[str, Any], media_types: dict[str, str]) -> Example:
    """Return the numbers of a line that has no faults.

    :raises NOT_AN_EXAMPLE: one of these, when it isn't even shaped like an example.
    """
    instruction = member(document, "systemInstruction")
    turns = document["contents"]
    *before, last = ([_text(part) for part in turn["parts"]] for turn in turns)
    instructions = [part["text"] for part in instruction["parts"]] if instruction else []
    tools = _json(document["tools"]) if document.get("tools") else ""
    texts = [part["text"] for turn in turns for part in turn["parts"] if "text" in part] + instructions
    pieces = [piece for turn in [*before, last] for piece in turn]
    return Example(
        roles=tuple(role_of(turn) for turn in turns),
        characters=sum(map(len, texts)),
        prompt="\n".join(piece for turn in before for piece in turn),
        answer="\n".join(last),
        context="\n".join([*instructions, tools] if tools else instructions),
        instructed=instruction is not None,
        other=sum(map(len, pieces)) + len(tools) - sum(map(len, texts)) + sum(map(len, instructions)),
        files=tuple(modality_of(file, media_types) or "other" for _, file in files_of(turns)),
    )


def coarse_key(prompt: str) -> int:
    """Return a digest that equal prompts share whatever their case, spaces and closing punctuation.

    Others may share one too, if rarely: of a long text only the two ends are looked at. It says where to look twice.
    """
    raw = prompt.encode() if len(prompt) <= 2 * _COARSE_END and prompt.isascii() else _coarse(prompt)
    return _digest(raw.translate(_FOLDED, _DROPPED))


def _coarse(prompt: str) -> bytes:
    """Return what is digested of a prompt that isn't short and plain; to fold it again changes nothing."""
    raw = (prompt if prompt.isascii() else unicodedata.normalize("NFKC", prompt).casefold()).encode()
    if len(raw) <= 2 * _COARSE_END:
        return raw
    head, tail = raw[:_COARSE_PIECE].translate(_FOLDED, _DROPPED), raw[-_COARSE_PIECE:].translate(_FOLDED, _DROPPED)
    if len(raw) < 2 * _COARSE_PIECE or min(len(head), len(tail)) < _COARSE_END:  # many spaces
        head = tail = raw.translate(_FOLDED, _DROPPED)
        if len(head) <= 2 * _COARSE_END:
            return head
    return head[:_COARSE_END] + tail[-_COARSE_END:]


def normalised(text: str) -> str:
    """Return a text without what doesn't make it another one: case, runs of white space, closing punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold().encode("utf-8")
    return b" ".join(folded.split()).rstrip(b" .!?").decode("utf-8")


def digest(text: str) -> int:
    """Return 64 bits of a text: two of a million texts share them by chance once in forty million files."""
    return _digest(text.encode("utf-8"))


def digests(texts: Iterable[str]) -> list[int]:
    """Return the digest of each text, without a call for each."""
    key = _digest
    return [key(text.encode()) for text in texts]


SHORTEST_LOOP = 60
LONGEST_PHRASE = 120
_TAIL = 12


def repeats_a_phrase(answer: str) -> bool:
    """Whether at least half of an answer, up to its end, is one phrase said four times or more."""
    length = len(answer)
    if length < SHORTEST_LOOP:
        return False
    before = answer.rfind(answer[-_TAIL:], -LONGEST_PHRASE - _TAIL, -1)
    if before < 0:
        return False
    period = length - _TAIL - before
    reach = max(4 * period, length // 2, SHORTEST_LOOP)
    return reach <= length and answer[-reach:-period] == answer[period - reach :]


def _text(part: dict[str, Any]) -> str:
    return part["text"] if "text" in part else _json(part)


def _json(node: Any) -> str:
    return json.dumps(node, ensure_ascii=False, sort_keys=True)
