import io

from gemini_tuning.dataset.reading.progress import Progress, to_terminal


def test_rate_and_time_left_are_told():
    assert (
        str(Progress("t.jsonl", 50_000_000, 200_000_000, 1234, 2.0)) == "t.jsonl:  25%, 1,234 lines, 25 MB/s, 6 s left"
    )


def test_nothing_to_read_is_all_read():
    assert "100%" in str(Progress("t.jsonl", 0, 0, 0, 0.0))


def test_a_short_check_shows_nothing_and_a_long_one_a_line():
    quiet, shown = io.StringIO(), io.StringIO()
    step = Progress("t.jsonl", 1, 2, 1, 1.0)
    to_terminal(quiet, quiet_seconds=60)(step)
    report = to_terminal(shown, quiet_seconds=0)
    report(step)
    report(step)
    assert quiet.getvalue() == ""
    assert shown.getvalue() == f"{step}\n"
