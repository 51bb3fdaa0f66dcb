"""Write the JSON Schemas that editors complete pipelines and suites from: ``python -m gemini_tuning.schemas``."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from gemini_tuning.pipeline import PipelineConfig
from gemini_tuning.settings import include_root
from gemini_tuning.smoke.suite import SmokeSuite

SCHEMAS: dict[str, type[BaseModel]] = {
    "pipeline.schema.json": PipelineConfig,
    "smoke-suite.schema.json": SmokeSuite,
}


def schema_text(model: type[BaseModel]) -> str:
    """Return the JSON Schema of a model as the file holds it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schemas(folder: Path) -> None:
    """Write every schema into a folder."""
    for name, model in SCHEMAS.items():
        (folder / name).write_text(schema_text(model), encoding="utf-8")


if __name__ == "__main__":
    write_schemas(include_root() / "schemas")
