"""What a dataset's name and rows must be, by tuning method, and the sample that can stand in for a missing one."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from local_cloud.vertex.errors import ApiError
from local_cloud.vertex.jobs import dataset
from local_cloud.vertex.training import rows

if TYPE_CHECKING:
    from pathlib import Path

MULTIMODAL = "projects/p/locations/us-central1/datasets/123"
CONTENT = {"role": "model", "parts": [{"text": "t"}]}
ASKED = {"role": "user", "parts": [{"text": "t"}]}
PAIR = [{"score": 1, "completion": CONTENT}, {"score": 0, "completion": CONTENT}]


def write(path: Path, *found: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


@pytest.mark.parametrize("uri", ["gs://bucket/train.jsonl", "gs://b/folder with space/é.jsonl", MULTIMODAL])
def test_objects_and_multimodal_datasets_can_be_named(uri: str) -> None:
    dataset.check_uri("training_dataset_uri", uri)


@pytest.mark.parametrize("uri", ["https://x/train.jsonl", "gs://b/train.csv", MULTIMODAL + "/x", "datasets/123", ""])
def test_nothing_else_can(uri: str) -> None:
    with pytest.raises(ApiError, match="`validation_dataset_uri` should be a GCS object of type JSONL") as error:
        dataset.check_uri("validation_dataset_uri", uri)
    assert (error.value.code, error.value.status) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "uri",
    [f"gs://b/{'n' * 70_000}.jsonl", f"gs://b/{'é' * 510}.jsonl", f"gs://{'b' * 223}/train.jsonl"],
    ids=["characters", "bytes", "bucket"],
)
def test_names_have_the_limits_of_cloud_storage(uri: str) -> None:
    with pytest.raises(ApiError, match="name is too long") as error:
        dataset.check_uri("training_dataset_uri", uri)
    assert (error.value.code, error.value.status) == (400, "INVALID_ARGUMENT")
    assert len(error.value.message) < 500
    dataset.check_uri("training_dataset_uri", f"gs://b/{'n' * 1018}.jsonl")


@pytest.mark.parametrize(
    ("status", "code", "name"),
    [
        (401, 400, "FAILED_PRECONDITION"),
        (403, 400, "FAILED_PRECONDITION"),
        (404, 400, "FAILED_PRECONDITION"),
        (400, 400, "INVALID_ARGUMENT"),
        (414, 400, "INVALID_ARGUMENT"),
        (429, 503, "UNAVAILABLE"),
        (500, 503, "UNAVAILABLE"),
    ],
)
def test_what_the_storage_says_decides_what_a_caller_reads(tmp_path: Path, status: int, code: int, name: str) -> None:
    class Storage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Storage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ApiError, match=r"gs://b/t\.jsonl") as error:
            dataset.fetch(f"http://127.0.0.1:{server.server_port}", "gs://b/t.jsonl", tmp_path / "train.jsonl")
        server.shutdown()
    assert (error.value.code, error.value.status) == (code, name)


def test_there_are_no_multimodal_datasets_here(tmp_path: Path) -> None:
    with pytest.raises(dataset.MissingObjectError, match=MULTIMODAL) as error:
        dataset.fetch("http://127.0.0.1:1", MULTIMODAL, tmp_path / "train.jsonl", "supervised")
    assert (error.value.code, error.value.status) == (400, "FAILED_PRECONDITION")


@pytest.mark.parametrize("method", ["supervised", "preference"])
def test_a_row_without_contents_is_named_in_vertex_ais_words(tmp_path: Path, method: rows.Method) -> None:
    good = {"contents": [ASKED], "completions": PAIR}
    with pytest.raises(ValueError, match=r"^Row: 1\. Missing required `contents` field\.$"):
        rows.check(write(tmp_path / "rows", good, {"messages": []}), method)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"contents": [ASKED, CONTENT], "completions": PAIR}, "The last item of `contents` must have the role `user`."),
        ({"contents": [ASKED]}, "Missing required `completions` field."),
        ({"contents": [ASKED], "completions": "ab"}, "Missing required `completions` field."),
        ({"contents": [ASKED], "completions": [{"score": 1}]}, "needs a `completion` with a list of `parts`"),
        ({"contents": [ASKED], "completions": PAIR[:1]}, "exactly one with `score` 1 and one with `score` 0"),
        ({"contents": [ASKED], "completions": [*PAIR, PAIR[0]]}, "exactly one with `score` 1"),
        ({"contents": [ASKED], "completions": [PAIR[0], PAIR[0]]}, "exactly one with `score` 1"),
        ({"contents": [ASKED], "completions": [{**PAIR[0], "score": "1"}, PAIR[1]]}, "exactly one with `score` 1"),
        ({"contents": [{**ASKED, "role": 5}], "completions": PAIR}, "Every item of `contents`"),
    ],
)
def test_preferences_are_two_completions_of_what_a_user_said(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        rows.check(write(tmp_path / "rows", row), "preference")
    assert str(error.value).startswith("Row: 0. ")


@pytest.mark.parametrize("role", [{"role": "user"}, {"role": "USER"}, {}])
def test_a_role_may_be_left_out_or_shouted(tmp_path: Path, role: dict[str, str]) -> None:
    asked = {**role, "parts": [{"text": "t"}]}
    assert rows.check(write(tmp_path / "rows", {"contents": [asked], "completions": PAIR}), "preference") == 1


def test_a_row_has_a_size_beyond_which_it_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b'{"contents": [{"parts": []}]}\n' + b"[" * (rows.ROW_BYTES + 1))
    with pytest.raises(ValueError, match=r"^Row: 1\. Rows of more than 16 MiB"):
        rows.check(path, "supervised")


@pytest.mark.parametrize("method", ["supervised", "preference"])
def test_the_built_in_sample_is_a_dataset_of_its_method(tmp_path: Path, method: rows.Method) -> None:
    for held_out, count in ((False, 300), (True, 60)):
        dataset.write_sample(tmp_path / "rows", method, held_out)
        assert rows.check(tmp_path / "rows", method) == count


def test_the_worse_completion_of_the_sample_is_another_ones_answer(tmp_path: Path) -> None:
    dataset.write_sample(tmp_path / "plain", "supervised", False)
    dataset.write_sample(tmp_path / "pairs", "preference", False)
    plain = [row["contents"] for _, row in rows.rows(tmp_path / "plain")]
    for contents, (_, row) in zip(plain, rows.rows(tmp_path / "pairs"), strict=True):
        better, worse = (item["completion"] for item in row["completions"])
        assert [*row["contents"], better] == contents
        assert worse != better
        assert worse in [other[-1] for other in plain]
