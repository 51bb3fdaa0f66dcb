"""What a second reading of the examples tells: repetitions in other words, private data, whether validation is alike.

The first reading accepts or rejects each line by itself and knows equal prompts. This one looks at the whole of all
examples, costs more, and is left out where it would take long or nobody asked for it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from tempfile import TemporaryFile
from typing import NamedTuple

from gemini_tuning.dataset.codes import ON_SECOND_READING, Fault
from gemini_tuning.dataset.comparing.drift import Profile, differences
from gemini_tuning.dataset.comparing.duplicates import Lines, compare, picked
from gemini_tuning.dataset.comparing.near import NearDuplicates, fits_in_a_minute, learned_from, usable
from gemini_tuning.dataset.lines.accept import accept_conversation
from gemini_tuning.dataset.lines.examples import NOT_AN_EXAMPLE, coarse_key, digest, example, repeats_a_phrase
from gemini_tuning.dataset.lines.parsing import parse_fast
from gemini_tuning.dataset.lines.shapes import UNREADABLE, decode_conversation, decode_pair
from gemini_tuning.dataset.lines.visible import nothing_to_see
from gemini_tuning.dataset.options import PrivateData
from gemini_tuning.dataset.private.scanner import Kind, Pattern, Scanner
from gemini_tuning.dataset.reading.files import FileScan
from gemini_tuning.dataset.reports.report import Finding, Findings, plural
from gemini_tuning.errors import ConfigError, UnusableInputError

_NEAR, _NEAR_LEAK = "near-duplicate", "near-duplicate-leak"


def analyse(
    scans: Sequence[FileScan],
    second_reading: bool | None,
    scanner: Scanner | None,
    smoke_prompts: Sequence[str],
    findings: Findings,
    lines: Lines,
) -> list[str]:
    """Add what examples have in common, and what a second reading finds; return what a person should know about it.

    :param scans: of the training file and, maybe, the validation file.
    :param second_reading: whether to read all examples again; None = where it takes less than a minute, or where what
        it finds would reject the dataset.
    :param scanner: looks for private data; None = nobody asked for that.
    :param smoke_prompts: what the tuned model will be asked.
    :param lines: opens a file again, from its first line.
    :raises UnusableInputError: when a file changed since it was checked.
    :raises ConfigError: when near-duplicates would reject the dataset, and can't be looked for in this process.
    """
    examples, size = sum(len(scan.prompts) for scan in scans), sum(scan.unpacked_bytes for scan in scans)
    wanted = second_reading
    if wanted is None:
        wanted = fits_in_a_minute(examples, size) or findings.rejects(ON_SECOND_READING)
    if not wanted:
        compare(scans, [scan.prompts for scan in scans], digest, smoke_prompts, findings, lines)
        if scanner is not None:
            for scan in scans:
                _private_data(scan, scanner, findings, lines)
        return [_left_out(second_reading, scanner)]
    near = _near_duplicates(scans, findings, lines)
    compared = (None, None) if near is None else (near.add_training, near.add_validation)
    again = [_again(*one, scanner, findings, lines) for one in zip(scans, compared, strict=False)]
    compare(scans, [keys for _, keys in again], coarse_key, smoke_prompts, findings, lines)
    if len(scans) > 1:
        _add(findings, scans[1], None, differences(*(profile for profile, _ in again)))
    if near is not None:
        return _compare(near, scans, findings, lines)
    return ["Near-duplicates were not looked for: this process was forked from one that had done so."]


def scanner_of(chosen: PrivateData | None) -> Scanner | None:
    """Return what looks for private data as somebody chose it, or None.

    :raises ConfigError: for a pattern that is none.
    """
    if chosen is None:
        return None
    patterns = [Pattern(item.name, item.expression, item.checksum) for item in chosen.patterns]
    return Scanner([Kind(kind) for kind in chosen.kinds], patterns)


def _left_out(second_reading: bool | None, scanner: Scanner | None) -> str:
    read, what = ("not read a second time", "that") if scanner is None else ("read again for private data only", "more")
    why = "was switched off" if second_reading is False else "would take more than a minute"
    return (
        f"The examples were {read}: {what} {why}. It finds prompts that are equal but for case, spaces and closing "
        "punctuation, or nearly equal, answers that repeat themselves, and validation that is unlike training."
    )


def _near_duplicates(scans: Sequence[FileScan], findings: Findings, lines: Lines) -> NearDuplicates | None:
    """Return what compares prompts, knowing the templates of training; None where they can't be compared."""
    if not usable():
        if rejecting := [code for code in (_NEAR, _NEAR_LEAK) if findings.rejects([code])]:
            raise ConfigError(
                f"{' and '.join(rejecting)} can't be looked for in this process, for it was forked from one that had "
                "done so: check the dataset in a process of its own, or let that be a warning."
            )
        return None
    near, training = NearDuplicates(*(scan.reference for scan in scans)), scans[0]
    places = learned_from(training.prompts, training.unpacked_bytes)
    near.learn(found.prompt for _, _, found in _exchanges(training, map(training.line_of, places), lines))
    return near


def _private_data(scan: FileScan, scanner: Scanner, findings: Findings, lines: Lines) -> None:
    for line, raw, _ in _exchanges(scan, map(scan.line_of, range(len(scan.prompts))), lines):
        _add(findings, scan, line, scanner.faults(parse_fast(raw.removesuffix(b"\n"))[0]))


def _again(
    scan: FileScan,
    compared: Callable[[int, str], None] | None,
    scanner: Scanner | None,
    findings: Findings,
    lines: Lines,
) -> tuple[Profile, array[int]]:
    """Read a file's examples again; return its profile, and coarse keys of its prompts.

    :param compared: takes line and text of each prompt.
    """
    profile, keys = Profile(), array("Q")
    for line, raw, (prompt, answer, turns) in _exchanges(scan, map(scan.line_of, range(len(scan.prompts))), lines):
        keys.append(coarse_key(prompt))
        profile.add(len(prompt), answer, len(turns))
        if compared is not None:
            compared(line, prompt)
        if scanner is not None:
            _add(findings, scan, line, scanner.faults(parse_fast(raw.removesuffix(b"\n"))[0]))
        for number, (role, texts) in enumerate(turns):
            if role == "model" and repeats_a_phrase("\n".join(texts)):
                _add(findings, scan, line, [_degenerate(number)])
            if any(map(nothing_to_see, texts)):
                _add(findings, scan, line, [_invisible(number)])
    return profile, keys


def _degenerate(turn: int) -> Fault:
    hint = "The model learns to do the same: correct the answer, or leave the example out."
    return Fault("degenerate-answer", "the answer repeats one phrase over and over", hint, f"contents[{turn}]")


def _invisible(turn: int) -> Fault:
    message = "the text is of characters that can't be seen, such as zero-width spaces"
    return Fault("invisible-text", message, "Write it, or leave the example out.", f"contents[{turn}]")


class _Turn(NamedTuple):
    """Who speaks, and the texts of the parts."""

    role: str
    texts: Sequence[str]


class _Exchange(NamedTuple):
    """What is looked at of one example."""

    prompt: str
    answer: str
    turns: Sequence[_Turn]


def _exchanges(scan: FileScan, wanted: Iterable[int], lines: Lines) -> Iterator[tuple[int, bytes, _Exchange]]:
    """Yield line number, JSON and content of the wanted lines; their numbers ascend.

    :raises UnusableInputError: for a line that is no example any more.
    """
    with lines(scan) as stream:
        for number, line in picked(stream, wanted):
            try:
                user, model = decode_pair(line).contents
            except UNREADABLE:
                yield number, line, _long_exchange(line, scan)
            else:
                prompt, answer = user.parts[0].text, model.parts[0].text
                yield number, line, _Exchange(prompt, answer, (_Turn("user", (prompt,)), _Turn("model", (answer,))))


def _long_exchange(line: bytes, scan: FileScan) -> _Exchange:
    try:
        if (found := accept_conversation(line)) is not None:
            said = [[part.text for part in turn.parts] for turn in decode_conversation(line).contents]
        else:
            document = parse_fast(line.removesuffix(b"\n"))[0]
            found = example(document, {})
            said = [[part["text"] for part in turn["parts"] if "text" in part] for turn in document["contents"]]
    except NOT_AN_EXAMPLE:
        raise UnusableInputError(f"{scan.reference}: changed while it was checked; check it again.") from None
    return _Exchange(found.prompt, found.answer, list(map(_Turn, found.roles, said)))


def _compare(near: NearDuplicates, scans: Sequence[FileScan], findings: Findings, lines: Lines) -> list[str]:
    """Read the prompts of likely pairs again, this time only them, and report the pairs that hold."""
    with TemporaryFile() as spool:  # they may be many and long
        places: dict[tuple[str, int], tuple[int, int]] = {}
        for scan, wanted in zip(scans, near.wanted(), strict=False):
            for line, _, found in _exchanges(scan, sorted(wanted), lines):
                prompt = found.prompt.encode()
                places[scan.reference, line] = (spool.tell(), len(prompt))
                spool.write(prompt)

        def text_of(file: str, line: int) -> str:
            start, length = places[file, line]
            spool.seek(start)
            return spool.read(length).decode()

        for finding in near.findings(text_of):
            findings.add(finding)
    notes = _in_part(near, scans, findings)
    if shared := sum(map(len, near.templated)):
        where = next(
            f"{scan.reference}:{found[0]}" for scan, found in zip(scans, near.templated, strict=False) if len(found)
        )
        notes.append(
            f"Not compared for near-duplicates: {plural(shared, 'prompt')} with too few words besides a template that "
            f"many share (the first: {where})."
        )
    return notes


def _in_part(near: NearDuplicates, scans: Sequence[FileScan], findings: Findings) -> list[str]:
    """Return what was compared only in part; where it is to reject the dataset, that is an error and no note."""
    notes = []
    for scan, code, unverified in zip(scans, (_NEAR, _NEAR_LEAK), near.unverified, strict=False):
        told = []
        if near.sampled:
            sentence = "only a sample was compared, {:,} of {:,} prompts".format(*near.sampled)
            told.append((sentence, "Check the dataset in parts, or let this be a warning."))
        if unverified:
            pairs = plural(unverified, "more pair")
            sentence = f"{pairs} of prompts look alike in {scan.reference}, but were not compared word by word"
            told.append((sentence, "Remove what was found and check again, or let this be a warning."))
        if findings.rejects([code]):
            _add(findings, scan, None, [Fault(code, *one) for one in told])
        else:
            notes += [f"Near-duplicates: {sentence}." for sentence, _ in told]
    return list(dict.fromkeys(notes))


def _add(findings: Findings, scan: FileScan, line: int | None, faults: Iterable[Fault]) -> None:
    for fault in faults:
        findings.add(Finding(file=scan.reference, line=line, **fault._asdict()))
