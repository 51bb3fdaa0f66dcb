import gzip
import json
import os

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
        "lines": {"read": 2, "written": 2, "refused": 0, "blank": 0, "written_with_losses": 0},
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
    assert report["lines"] == {"read": 5, "written": 3, "refused": 1, "blank": 1, "written_with_losses": 1}
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
    status, report, _ = convert(jsonl(BAD, CONTENTS))
    assert status == 1
    assert report["output"] is None
    assert [loss["code"] for loss in report["losses"]] == ["first-turn", "already-contents"]
    assert os.listdir(folder) == ["in.jsonl"]


def test_text_for_people(folder, capsys):
    (folder / "in.jsonl").write_bytes(jsonl(GOOD, BAD))
    assert main(["convert", "in.jsonl", "--to", "out.jsonl"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("line 2: refused: no turn by a user and no answer at messages. ")
    assert out[1].startswith("Converted in.jsonl (2 lines: 2 OpenAI chat messages) only in part")
    assert out[2] == "Check it: gemini-tuning validate out.jsonl --model ID"
    (folder / "in.jsonl").write_bytes(jsonl(GOOD))
    assert main(["convert", "in.jsonl", "--to", "out.jsonl", "--force"]) == 0
    assert "nothing was lost" in capsys.readouterr().out
    (folder / "in.jsonl").write_bytes(jsonl(*[BAD] * 30))
    assert main(["convert", "in.jsonl", "--to", "none.jsonl"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert "{'first-turn': 30}" in out[20]
    assert out[21].endswith("no file was written")


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
    assert {loss["code"] for loss in report["losses"]} == {"unknown-role", "field-left-out"}


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
    assert report["lines"] == {"read": 9, "written": 6, "refused": 3, "blank": 0, "written_with_losses": 6}
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

    def test_utf_16_is_named(self, convert):
        status, _, err = convert(jsonl(GOOD).decode().encode("utf-16"))
        assert status == 2
        assert "is UTF-16; save it as UTF-8" in err

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

    def test_a_list_for_the_whole_file_is_told_what_a_line_is(self, convert):
        report = convert(json.dumps([GOOD, GOOD]).encode())[1]
        assert [(loss["code"], loss["hint"]) for loss in report["losses"]] == [
            ("not-an-object", "Write one JSON object per line, not one list for the whole file.")
        ]

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
