import datetime as dt

import pytest

from gemini_tuning.errors import ConfigError
from gemini_tuning.tuning.models import ModelTable, check_tunable

MODELS = ModelTable.load()
TODAY = dt.date(2026, 10, 1)


def check(model, adapter_size=None, location="us-central1", today=TODAY):
    return check_tunable(MODELS, model, adapter_size, location, today)


def test_a_current_model_passes_without_a_word():
    assert check("gemini-2.5-flash", 4) == []


def test_a_retired_model_is_refused_with_its_date_and_successor():
    with pytest.raises(ConfigError, match=r"'gemini-1.5-pro-002' was retired on 2025-09-24 .* tune 'gemini-2.5-pro'"):
        check("gemini-1.5-pro-002")


def test_a_passed_not_before_date_warns():
    assert "2026-10-20" in check("gemini-2.5-flash", today=dt.date(2026, 11, 1))[0]


def test_a_preview_warns():
    assert "preview" in check("gemini-3.5-flash")[0]


def test_an_unknown_model_warns_and_suggests():
    assert "did you mean 'gemini-2.5-flash'?" in check("gemini-2.5-flas")[0]


def test_a_size_the_model_lacks_is_refused_with_those_it_has():
    with pytest.raises(ConfigError, match=r"adapter size 16 .* choose one of 1, 2, 4, 8"):
        check("gemini-2.5-pro", 16)


def test_a_location_without_tuning_is_refused():
    with pytest.raises(ConfigError, match="asia-east1; choose one of us-central1, europe-west4"):
        check("gemini-3.5-flash", location="asia-east1")
    with pytest.raises(ConfigError, match="'global' offers no tuning"):
        check("gemini-2.5-flash", location="global")


def test_a_tuned_model_can_be_tuned_further():
    assert check("projects/p/locations/us-central1/models/1@2") == []


def test_every_model_that_can_be_tuned_has_limits_price_and_sizes():
    for model_id in MODELS.tunable():
        info = MODELS.models[model_id]
        assert info.limits
        assert info.price
        assert info.adapter_sizes
        assert info.thinking


def test_a_broken_table_names_file_and_field(tmp_path):
    path = tmp_path / "models.yaml"
    path.write_text("as_of: 2026-01-01\nsource: x\nassumed_epochs: many\nmodel: {}\n")
    with pytest.raises(ConfigError) as caught:
        ModelTable.load(path)
    assert str(path) in str(caught.value)
    assert "assumed_epochs" in str(caught.value)
    assert "did you mean 'models'?" in str(caught.value)
