import gzip
import json
import os
import shlex
import subprocess

import orjson
import pytest
from tests.conftest import PROJECT

from gemini_tuning.cli import main
from gemini_tuning.dataset.convert import files
from gemini_tuning.dataset.convert.reading import LARGEST_LINE
from gemini_tuning.dataset.convert.report import ConversionReport

GOOD = {"messages": [{"role": "user", "content": "Où est mon colis ?"}, {"role": "assistant", "content": "En route."}]}
LESS = GOOD | {"seed": 1}
BAD = {"messages": []}
CONTENTS = {
    "contents": [
        {"role": "user", "parts": [{"text": "Où est mon colis ?"}]},
        {"role": "model", "parts": [{"text": "En route."}]},
    ]
}


def jsonl(*documents):
    return b"".join(json.dumps(document, ensure_ascii=False).encode() + b"\n" for document in documents)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def convert(folder, capsys):
    def run(content, *options, name="in.jsonl"):
        """Write the input, run the command; return status, report as JSON (None when there is none), and stderr."""
        if content is not None:
            (folder / name).write_bytes(content)
        status = main(["convert", name, "--to", "out.jsonl", "--format", "json", *options])
        captured = capsys.readouterr()
        return status, json.loads(captured.out) if captured.out else None, captured.err

    return run


def written(folder, name="out.jsonl"):
    return [json.loads(line) for line in (folder / name).read_bytes().splitlines()]


def test_a_clean_file_is_status_0(convert, folder):
    status, report, _ = convert(jsonl(GOOD, GOOD))
    assert status == 0
    assert report == {
        "input": "in.jsonl",
        "output": "out.jsonl",
        "complete": True,
        "lines": {"read": 2, "written": 2, "unchanged": 0, "refused": 0, "blank": 0, "written_with_losses": 0},
        "formats": {"openai": 2},
        "losses": [],
        "counts": {},
        "truncated": False,
    }
    assert written(folder) == [CONTENTS, CONTENTS]
    assert "Où" in (folder / "out.jsonl").read_text(encoding="utf-8")
    assert (folder / "in.jsonl").read_bytes() == jsonl(GOOD, GOOD)
    assert sorted(os.listdir(folder)) == ["in.jsonl", "out.jsonl"]


def test_losses_and_refusals_are_status_1_each_with_its_line(convert, folder):
    status, report, _ = convert(jsonl(GOOD) + b"\r\n" + jsonl(LESS, BAD, {"text_input": "a", "output": "b"}))
    assert status == 1
    assert not report["complete"]
    assert report["lines"] == {
        "read": 5,
        "written": 3,
        "unchanged": 0,
        "refused": 1,
        "blank": 1,
        "written_with_losses": 1,
    }
    assert report["formats"] == {"openai": 3, "developer-api": 1}
    assert [(loss["line"], loss["action"], loss["code"], loss["path"]) for loss in report["losses"]] == [
        (3, "lost", "field-left-out", "seed"),
        (4, "refused", "first-turn", "messages"),
    ]
    assert report["counts"] == {"field-left-out": 1, "first-turn": 1}
    assert ConversionReport.from_json(report).to_json() == report
    assert len(written(folder)) == 3


def test_the_list_is_capped_the_counts_and_the_file_are_not(convert, folder):
    status, report, _ = convert(jsonl(*[LESS] * 50), "--loss-report", "losses.jsonl")
    assert status == 1
    assert len(report["losses"]) == 20
    assert report["truncated"]
    assert report["counts"] == {"field-left-out": 50}
    every = written(folder, "losses.jsonl")
    assert [loss["line"] for loss in every] == list(range(1, 51))
    assert every[:20] == report["losses"]


def test_a_loss_report_on_no_loss_is_an_empty_file(convert, folder):
    assert convert(jsonl(GOOD), "--loss-report", "losses.jsonl")[0] == 0
    assert (folder / "losses.jsonl").read_bytes() == b""


def test_where_nothing_can_be_written_no_file_appears(convert, folder):
    status, report, _ = convert(jsonl(BAD, []))
    assert status == 1
    assert report["output"] is None
    assert [loss["code"] for loss in report["losses"]] == ["first-turn", "not-an-object"]
    assert os.listdir(folder) == ["in.jsonl"]


def test_lines_in_contents_are_handed_on_byte_for_byte_in_their_place(convert, folder):
    ours = b' {"contents" : [{"parts": [{"text": "\\u00e9"}]}], "typo": 1.0}\r\n'
    status, report, _ = convert(b"\xef\xbb\xbf" + ours + jsonl(GOOD) + ours + jsonl(BAD) + ours.rstrip())
    assert status == 1
    assert report["lines"] == {
        "read": 5,
        "written": 4,
        "unchanged": 3,
        "refused": 1,
        "blank": 0,
        "written_with_losses": 0,
    }
    assert report["formats"] == {"openai": 2}
    last = ours.rstrip() + b"\n"
    assert (folder / "out.jsonl").read_bytes() == ours + orjson.dumps(CONTENTS) + b"\n" + ours + last


def test_the_command_that_the_check_prints_for_a_mixed_file_loses_nothing(folder, capsys):
    (folder / "mix.jsonl").write_bytes(jsonl(*[CONTENTS] * 9, GOOD))
    assert main(["validate", "mix.jsonl", "--model", "gemini-2.5-flash", "--format", "json"]) == 1
    [error] = json.loads(capsys.readouterr().out)["errors"]
    _, *arguments = shlex.split(error["hint"].removeprefix("Run: "))
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith(
        "Converted mix.jsonl (10 lines; OpenAI chat messages: 1; contents already: 9): "
        "mix.gemini.jsonl holds 10 examples, and nothing was lost\n"
    )
    assert written(folder, "mix.gemini.jsonl") == [CONTENTS] * 10


def test_a_file_of_contents_is_copied_and_said_to_need_nothing(folder, capsys):
    (folder / "in.jsonl").write_bytes(jsonl(CONTENTS, CONTENTS))
    assert main(["convert", "in.jsonl", "--to", "out.jsonl"]) == 0
    assert capsys.readouterr().out.startswith(
        "Nothing of in.jsonl (2 lines; contents already: 2) needs to be converted: out.jsonl is a copy\n"
    )
    assert (folder / "out.jsonl").read_bytes() == jsonl(CONTENTS, CONTENTS)


def test_text_for_people(folder, capsys):
    (folder / "in.jsonl").write_bytes(jsonl(GOOD, BAD))
    assert main(["convert", "in.jsonl", "--to", "out.jsonl"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("line 2: refused: no turn by a user and no answer at messages. ")
    assert out[1] == (
        "Converted in.jsonl (2 lines; OpenAI chat messages: 2) only in part: "
        "out.jsonl holds 1 example (0 with something lost), and lacks 1 line"
    )
    assert out[2] == (
        "Correct the refused lines and convert again, or check what there is: "
        "gemini-tuning validate out.jsonl --model ID"
    )
    (folder / "in.jsonl").write_bytes(jsonl(GOOD))
    assert main(["convert", "in.jsonl", "--to", "out.jsonl", "--force"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Converted in.jsonl (1 line; OpenAI chat messages: 1): out.jsonl holds 1 example, and nothing was lost",
        "Check it: gemini-tuning validate out.jsonl --model ID",
    ]
    (folder / "in.jsonl").write_bytes(jsonl(LESS))
    assert main(["convert", "in.jsonl", "--to", "out.jsonl", "--force"]) == 1
    assert "out.jsonl holds 1 example, 1 with something lost\n" in capsys.readouterr().out
    (folder / "in.jsonl").write_bytes(jsonl(*[BAD] * 30))
    assert main(["convert", "in.jsonl", "--to", "none.jsonl"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[20] == "Only the first of each code are listed, all are counted: first-turn 30"
    assert out[21].endswith("no file was written")


@pytest.mark.parametrize("name", ["-dash.jsonl", "new\nline.jsonl", "it's \x1b[31m \\ red é.jsonl", "$(touch x).jsonl"])
def test_a_shell_finds_the_files_that_are_named_and_a_terminal_is_left_alone(folder, capsys, name):
    (folder / name).write_bytes(jsonl(GOOD))
    assert main(["validate", f"./{name}", "--model", "gemini-2.5-flash"]) == 1
    command = next(line for line in capsys.readouterr().out.splitlines() if "Run: " in line).partition("Run: ")[2]
    assert main(through_a_shell(command.removesuffix(" [legacy-format]").removesuffix("."))) == 0
    out = capsys.readouterr().out
    assert all(map(str.isprintable, out.splitlines()))
    check = through_a_shell(out.partition("Check it: ")[2].strip())
    assert main([*check[:2], "--model", "gemini-2.5-flash", "--format", "json"]) == 0
    assert sorted(os.listdir(folder)) == sorted([name, name.removesuffix(".jsonl") + ".gemini.jsonl"])


def through_a_shell(command):
    """Return what follows the program's name, as bash passes it on."""
    printed = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True, text=True
    ).stdout
    return printed.split("\0")[1:-1]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_progress_is_told_in_bytes_of_the_file_as_it_lies_there(folder, pack):
    content = pack(jsonl(*[GOOD] * 2500))
    (folder / "in.jsonl").write_bytes(content)
    told = []
    files.convert_file(
        "in.jsonl",
        "out.jsonl",
        wanted=None,
        keep_weights=False,
        loss_report=None,
        force=False,
        storage=None,
        progress=told.append,
    )
    assert [(progress.file, progress.size, progress.lines) for progress in told] == [
        ("in.jsonl", len(content), 1000),
        ("in.jsonl", len(content), 2000),
    ]
    assert all(0 < progress.bytes <= len(content) for progress in told)


def test_the_format_can_be_said(convert):
    status, report, _ = convert(jsonl(GOOD), "--from", "palm")
    assert status == 1
    assert report["formats"] == {"palm": 1}
    assert {loss["code"] for loss in report["losses"]} == {"unknown-role"}


def test_turns_not_to_be_learned_are_kept_only_when_asked(convert):
    line = {"messages": [GOOD["messages"][0], GOOD["messages"][1] | {"weight": 0}]}
    assert convert(jsonl(line))[1]["lines"]["written"] == 0
    status, report, _ = convert(jsonl(line), "--weights", "keep")
    assert status == 1
    assert report["lines"]["written"] == 1
    assert report["counts"] == {"training-weight": 1}


def test_a_support_desk_s_tool_calls_pass_the_check(convert, folder, capsys):
    status, report, _ = convert((PROJECT / "tests" / "dataset" / "openai_tools.jsonl").read_bytes())
    assert status == 1
    assert report["lines"] == {
        "read": 9,
        "written": 6,
        "unchanged": 0,
        "refused": 3,
        "blank": 0,
        "written_with_losses": 6,
    }
    assert [(loss["line"], loss["code"]) for loss in report["losses"] if loss["action"] == "refused"] == [
        (7, "bad-arguments"),
        (8, "unpaired-call"),
        (9, "training-weight"),
    ]
    lost = {loss["path"] for loss in report["losses"] if loss["action"] == "lost"}
    assert lost == {"parallel_tool_calls", "tools[0].function.strict"}
    roles = [[turn["role"] for turn in line["contents"]] for line in written(folder)]
    assert roles == [["user", "model"] * count for count in (2, 2, 4, 2, 1, 1)]
    assert main(["validate", "out.jsonl", "--model", "gemini-2.5-flash", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["errors"] == 0


class TestInputs:
    def test_gzip_is_read_by_its_content(self, convert, folder):
        assert convert(gzip.compress(jsonl(GOOD)) + gzip.compress(jsonl(GOOD)), name="in.dat")[0] == 0
        assert written(folder) == [CONTENTS, CONTENTS]

    @pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:20] + b"xxxx" + data[24:]])
    def test_damaged_gzip_leaves_nothing_behind(self, convert, folder, damage):
        status, report, err = convert(damage(gzip.compress(jsonl(*[GOOD] * 9))), "--loss-report", "losses.jsonl")
        assert (status, report) == (2, None)
        assert "damaged gzip" in err
        assert os.listdir(folder) == ["in.jsonl"]

    def test_a_byte_order_mark_is_no_part_of_the_data(self, convert):
        assert convert(b"\xef\xbb\xbf" + jsonl(GOOD))[0] == 0
        assert convert(jsonl(GOOD) + b"\xef\xbb\xbf" + jsonl(GOOD), "--force")[1]["counts"] == {"byte-order-mark": 1}

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (jsonl(GOOD).decode().encode("utf-16"), "the file is UTF-16, not UTF-8. Save it as UTF-8."),
            (jsonl(GOOD).decode().encode("utf-16-le"), "the file is UTF-16, not UTF-8. Save it as UTF-8."),
            (json.dumps([GOOD, GOOD]).encode(), "the file is one JSON array"),
            (json.dumps([GOOD] * 9, indent=1).encode(), "the file is one JSON array"),
            (json.dumps({"training_examples": [GOOD, GOOD]}, indent=4).encode(), "in the list 'training_examples'"),
            (b"question,answer\nWhere?,Here.\nWhen?,Now.\n", "the file is CSV"),
        ],
    )
    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_what_is_no_json_lines_is_told_once_as_the_check_does(self, convert, folder, capsys, content, said, pack):
        status, report, err = convert(pack(content))
        assert (status, report) == (2, None)
        assert err.startswith(f"gemini-tuning: in.jsonl: {said}" if said.startswith("the") else "gemini-tuning: ")
        assert said in err
        assert os.listdir(folder) == ["in.jsonl"]
        main(["validate", "in.jsonl", "--model", "gemini-2.5-flash", "--format", "json"])
        errors = json.loads(capsys.readouterr().out)["errors"]
        assert err in {f"gemini-tuning: in.jsonl: {error['message']}. {error['hint']}\n" for error in errors}

    def test_of_a_read_error_the_input_is_blamed(self, convert):
        status, report, err = convert(None, name="/proc/self/mem")
        assert (status, report) == (2, None)
        assert err.startswith("gemini-tuning: /proc/self/mem: can't be read: Input/output error; ")

    def test_the_last_line_needs_no_line_feed(self, convert, folder):
        assert convert(jsonl(GOOD).strip())[0] == 0
        assert (folder / "out.jsonl").read_bytes().endswith(b"\n")

    @pytest.mark.parametrize("content", [b"", b"\n \r\n", gzip.compress(b"", mtime=0), b"\xef\xbb\xbf"])
    def test_a_file_of_nothing_is_status_2(self, convert, folder, content):
        status, report, err = convert(content)
        assert (status, report) == (2, None)
        assert "the file is empty" in err
        assert os.listdir(folder) == ["in.jsonl"]

    def test_a_missing_one_is_status_2(self, convert):
        status, _, err = convert(None)
        assert status == 2
        assert err.startswith("gemini-tuning: in.jsonl: no such file")

    def test_a_huge_line_is_passed_over_and_the_next_one_read(self, convert, folder):
        huge = b'{"prompt": "' + b"a" * LARGEST_LINE + b'", "completion": "b"}\n'
        status, report, _ = convert(jsonl(GOOD) + huge + jsonl(GOOD))
        assert status == 1
        assert [(loss["line"], loss["code"]) for loss in report["losses"]] == [(2, "line-too-long")]
        assert written(folder) == [CONTENTS, CONTENTS]

    def test_cloud_storage_is_read_like_a_disk(self, convert, folder, google):
        uri = google.upload("in/train.jsonl.gz", gzip.compress(jsonl(GOOD)))
        status, report, err = convert(None, name=uri)
        assert (status, err) == (0, "")
        assert report["input"] == uri
        assert written(folder) == [CONTENTS]


class TestOutputs:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--to", "old.jsonl"], "old.jsonl: exists already"),
            (["--loss-report", "old.jsonl"], "old.jsonl: exists already"),
            (["--to", "in.jsonl", "--force"], "--to names the input itself"),
            (["--to", "link.jsonl", "--force"], "--to names the input itself"),
            (["--loss-report", "in.jsonl", "--force"], "--loss-report names the input itself"),
            (["--loss-report", "./out.jsonl"], "the same file as --to"),
            (["--to", "folder", "--force"], "must name a file"),
            (["--to", "/dev/null", "--force"], "must name a file"),
            (["--to", "gone/out.jsonl"], "no folder to write it into"),
            (["--to", ""], "no folder to write it into"),
            (["--to", "out.jsonl.gz"], "plain JSON Lines"),
            (["--to", "gs://bucket/out.jsonl"], "name a local file"),
            (["--to", "x" * 300], "nothing was written"),
        ],
    )
    def test_what_is_in_the_way_is_status_2_and_nothing_changes(self, convert, folder, options, said):
        (folder / "in.jsonl").write_bytes(jsonl(GOOD))
        (folder / "old.jsonl").write_bytes(b"old")
        (folder / "folder").mkdir()
        (folder / "link.jsonl").symlink_to("in.jsonl")
        before = sorted(os.listdir(folder))
        status, report, err = convert(None, *options)
        assert (status, report) == (2, None)
        assert said in err
        assert "Traceback" not in err
        assert sorted(os.listdir(folder)) == before
        assert (folder / "in.jsonl").read_bytes() == jsonl(GOOD)
        assert (folder / "old.jsonl").read_bytes() == b"old"

    def test_force_replaces_a_file(self, convert, folder):
        (folder / "out.jsonl").write_bytes(b"old")
        assert convert(jsonl(GOOD), "--force")[0] == 0
        assert written(folder) == [CONTENTS]

    def test_a_stop_half_way_leaves_the_old_file_as_it_was(self, convert, folder, monkeypatch):
        (folder / "out.jsonl").write_bytes(b"old")
        real = files.convert_line
        seen = []

        def stop_at_the_third(*arguments, **options):
            seen.append(sorted(os.listdir(folder)))
            if len(seen) == 3:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        monkeypatch.setattr(files, "convert_line", stop_at_the_third)
        assert convert(jsonl(GOOD, GOOD, GOOD), "--force")[0] == 130
        assert len(seen[-1]) == 3
        assert sorted(os.listdir(folder)) == ["in.jsonl", "out.jsonl"]
        assert (folder / "out.jsonl").read_bytes() == b"old"
