"""What a step read and wrote, in the words of OpenLineage. Asked for by Airflow's provider alone, which need not be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from updraft_airflow.deployment import open_loop

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import DatasetFacet

    from updraft.loop.context import Loop
    from updraft.loop.flow import Column, Dataset, Flow


class TellsLineage:
    """An operator of a project whose step reads and writes datasets."""

    project: str

    def flow(self, loop: Loop, context: Context) -> Flow | None:
        """What the step read and wrote, when it has been taken; None where that is no dataset.

        :param context: of the task that has ended.
        """
        return None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage | None:
        """What the provider asks for when the task has ended well. Whatever is raised here it logs, and the task stands."""
        flow = self.flow(open_loop(self.project), task_instance.get_template_context())
        return operator_lineage(flow) if flow is not None else None

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> None:
        """Nothing: a step that failed has written nothing that counts. Without this the provider would ask as if it had ended well."""


def operator_lineage(flow: Flow) -> OperatorLineage:
    """Inputs and outputs with their facets: version, columns, where each column comes from, rows."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    return OperatorLineage(
        inputs=[_input(dataset) for dataset in flow.inputs], outputs=[_output(dataset) for dataset in flow.outputs]
    )


def _input(dataset: Dataset) -> InputDataset:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import input_statistics_input_dataset

    statistics = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=dataset.rows)
    counted = {"inputStatistics": statistics} if dataset.rows is not None else {}
    return InputDataset(dataset.namespace, dataset.name, facets=_facets(dataset), inputFacets=counted)


def _output(dataset: Dataset) -> OutputDataset:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=dataset.rows)
    counted = {"outputStatistics": statistics} if dataset.rows is not None else {}
    return OutputDataset(dataset.namespace, dataset.name, facets=_facets(dataset), outputFacets=counted)


def _facets(dataset: Dataset) -> dict[str, DatasetFacet]:
    from openlineage.client.facet_v2 import column_lineage_dataset, dataset_version_dataset, schema_dataset

    facets: dict[str, DatasetFacet] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=dataset.version)
    }
    if dataset.columns:
        fields = [schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in dataset.columns.items()]
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields=fields)

    def origin(column: Column, how: str, which: str) -> column_lineage_dataset.InputField:
        transformation = column_lineage_dataset.Transformation(type=how, subtype=which)
        return column_lineage_dataset.InputField(column.namespace, column.dataset, column.name, [transformation])

    if dataset.same_as or dataset.made_of:
        facets["columnLineage"] = column_lineage_dataset.ColumnLineageDatasetFacet(
            fields={
                name: column_lineage_dataset.Fields([origin(column, "DIRECT", "IDENTITY")])
                for name, column in dataset.same_as.items()
            },
            dataset=[origin(column, "DIRECT", "TRANSFORMATION") for column in dataset.made_of],
        )
    return facets
