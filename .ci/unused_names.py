"""Names that nothing in Updraft uses, and that stay: each with who does use it. `make lint` reads it (vulture); tests/stack/test_unused_names.py keeps it short."""

# Airflow calls or reads these.
_.choose_branch  # the method of a branch operator
_.fastapi_apps  # attribute of a plugin: the pages
_.get_link  # method of an extra link
_.get_openlineage_facets_on_complete  # the provider of OpenLineage: method of an operator
_.get_openlineage_facets_on_failure  # as above
_.notify  # method of a notifier
_.operator_extra_links  # attribute of an operator, and of a plugin
_.revoke_task  # method of an executor: a task that is queued for too long
task_policy  # airflow_local_settings: called for each task that is read
_.template_fields  # attribute of an operator
_.ui_color  # attribute of an operator
PromptLocalExecutor  # the stack's configuration names it in a text
UpdraftPlugin  # Airflow looks for plugins in this file
_._config_dict  # KubernetesPodOperator reads it, see updraft.borrowed
_.convert_config_file_to_dict  # KubernetesPodOperator calls it, see updraft.borrowed


# Other libraries call or read these.
_.after_iteration  # XGBoost: method of a callback
epoch  # XGBoost: argument of that method
_.reset  # XGBoost: method of a data iterator
_.drift_detected  # Evidently: of a column in its table
_.drift_score  # Evidently: of a column in its table
_.stattest_name  # Evidently: of a column in its table
_Table  # Evidently: draws the metric that it is registered for
_.generate_metrics  # Evidently: method of a container of metrics
child_widgets  # Evidently: argument of that container's `render`
type_alias  # Evidently: name of a metric in its registry
_._write_logs  # KubernetesPodOperator: see updraft.borrowed
_.fetch_container_logs_before_current_sec  # its trigger, as above
_.pod_manager  # as above
_.socketfile  # supervisor: path of a connection's socket
_._get_connection  # supervisor: see updraft.borrowed
_.process_bind_param  # SQLAlchemy: method of a column's type
cache_ok  # SQLAlchemy: attribute of a column's type
_.autocommit  # psycopg2: attribute of a connection
down_revision  # Alembic: variable of a migration
external_views  # Airflow: attribute of a plugin
model_config  # pydantic: attribute of a model
_.maxdict  # reprlib: length at which a dictionary is cut
_.maxlevel  # reprlib, as maxdict
_.maxlist  # reprlib, as maxdict
_.maxother  # reprlib, as maxdict
_.maxstring  # reprlib, as maxdict

# Fields of the API's answers, which templates and scripts read by their names.
kept_out_of  # project.html, fleet.html
trainings_per_year  # fleet.html, project.html
owners  # fleet.html
business  # project.html, partition.html
discrimination  # answers of the API, for scripts
gate_groups  # release.html, version.html
gate_slices  # release.html, version.html
gates_passed  # answers of the API, for scripts
gates_against  # release.html
with_interval  # as gates_passed

# Fields that are read by their names in a text, or only written for people and files.
holdout_rows  # result.json of a training: for whoever reads it
rows_per_s  # a line of a training's log, printed field by field
cpu_percent  # as rows_per_s
peak_mb  # as rows_per_s
updraft  # manifest of a backup: the version that made it, for people
SIGNING  # a choice of the command line
requires_response_body  # httpx reads it of an authentication
_.margin_of  # task types: the other direction of a link, by which tests prove that the link is one
