"""Accept a good line fast. What isn't accepted here isn't bad yet: the judge decides.

Every parser merges keys that stand twice in one object without a word. Yet a line that is accepted here holds nothing
but strings, so its quotation marks tell how many: more than its shape needs, and there may be a twin.
"""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from gemini_tuning.dataset.lines.examples import Example
from gemini_tuning.dataset.lines.shapes import UNREADABLE, Conversation, Instruction, decode_conversation

_BARE_PAIR = '{"contents":[{"role":"user","parts":[{"text":""}]},{"role":"model","parts":[{"text":""}]}]}\n'
# The shortest twin adds eleven characters, '"text":"x",'. Up to ten more are as few as json.dumps adds in spaces.
PAIR_OVERHEAD: Final = len(_BARE_PAIR) + 10
PAIR_STRINGS: Final = 11  # seven keys, four values
_INSTRUCTION_STRINGS = 2  # its own key, and parts
_MARKS_OF_A_TWIN = 4  # quotation marks around its key and its value


def may_have_twins(line: bytes, strings: int, quoted: int) -> bool:
    """Whether a line may hold more strings than these; False is certain.

    :param quoted: how many quotation marks its texts hold; they are escaped in the line.
    """
    if line.count(b'"') != 2 * strings + quoted:
        return True
    return quoted >= _MARKS_OF_A_TWIN and b"\\u0022" in line  # those would make up for it


def instruction_strings(instruction: Instruction) -> int:
    """Return how many strings, keys included, a system instruction is made of."""
    return _INSTRUCTION_STRINGS + 2 * len(instruction.parts) + (0 if instruction.role is UNSET else 2)


def instruction_text(instruction: Instruction) -> str | None:
    """Return the text of a system instruction, or None when a part of it is blank."""
    texts = [part.text for part in instruction.parts]
    return None if any(map(str.isspace, texts)) else "\n".join(texts)


def accept_conversation(line: bytes) -> Example | None:
    """Return the example of a line that is a conversation of text without any fault, else None."""
    try:
        conversation = decode_conversation(line)
    except UNREADABLE:
        return None
    if conversation.systemInstruction is not UNSET and conversation.system_instruction is not UNSET:
        return None
    roles = _roles(conversation)
    if roles is None:
        return None
    strings = 1
    turns = []
    for turn in conversation.contents:
        texts = [part.text for part in turn.parts]
        if True in map(str.isspace, texts):
            return None
        strings += 1 + 2 * len(texts) + (0 if turn.role is UNSET else 2)
        turns.append(texts)
    characters = sum(len(text) for texts in turns for text in texts)
    context = ""
    instruction = conversation.systemInstruction or conversation.system_instruction
    if instruction is not UNSET:
        text = instruction_text(instruction)
        if text is None:
            return None
        context = text
        characters += sum(len(part.text) for part in instruction.parts)
        strings += instruction_strings(instruction)
    prompt, answer = "\n".join(text for texts in turns[:-1] for text in texts), "\n".join(turns[-1])
    if may_have_twins(line, strings, sum(text.count('"') for text in (prompt, answer, context))):
        return None
    return Example(roles, characters, prompt, answer, context, instruction is not UNSET)


def _roles(conversation: Conversation) -> tuple[str, ...] | None:
    """Return whose turns they are, or None unless user and model take turns, the model last."""
    roles = tuple("user" if turn.role is UNSET else turn.role for turn in conversation.contents)
    half = len(roles) // 2
    return roles if roles == ("user", "model") * half else None


def acceptable(instruction: Instruction, line: bytes, quoted: int) -> bool:
    """Whether a question with its answer holds no blank in its system instruction, and certainly no twin.

    :param quoted: quotation marks in question and answer.
    """
    text, strings = instruction_text(instruction), PAIR_STRINGS + instruction_strings(instruction)
    return text is not None and not may_have_twins(line, strings, quoted + text.count('"'))
