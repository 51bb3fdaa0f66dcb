# The slim image holds Airflow alone, so what runs is what requirements.lock names and the tests have tested.
FROM apache/airflow:slim-3.3.2-python3.11

COPY requirements.lock /tmp/requirements.lock
RUN pip install --no-cache-dir --requirement /tmp/requirements.lock

COPY --chown=airflow:root plugins /opt/airflow/plugins
COPY --chown=airflow:root include /opt/airflow/include
COPY --chown=airflow:root dags /opt/airflow/dags

ENV AIRFLOW__CORE__LOAD_EXAMPLES=False
USER airflow
