"""Features of a flight, from what is known before it leaves. Used by training and scoring alike."""

from __future__ import annotations

import pandas as pd


def features(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a partition (outcome columns are not there) -> one row of features each, in the same order.

    Text columns are categories; everything else is a number. Missing values stay missing.
    """
    return pd.DataFrame(
        {
            "carrier": rows["carrier"],
            "origin": rows["origin"],
            "dest": rows["dest"],
            "distance": rows["distance"],
            "minute_of_day": rows["hour"] * 60 + rows["minute"],
            "day_of_week": pd.to_datetime(rows["time_hour"], utc=True).dt.dayofweek,
            "temp": rows["weather_temp"],
            "dewp": rows["weather_dewp"],
            "humid": rows["weather_humid"],
            "wind_dir": rows["weather_wind_dir"],
            "wind_speed": rows["weather_wind_speed"],
            "precip": rows["weather_precip"],
            "pressure": rows["weather_pressure"],
            "visib": rows["weather_visib"],
            "plane_age": rows["year"] - rows["planes_year"],
            "seats": rows["planes_seats"],
        },
        index=rows.index,
    )
