"""What a training's pod gets, what its end means, and what the next try gets. Decides; `updraft_airflow` speaks to the cluster."""
