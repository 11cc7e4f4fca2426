"""How the rows of a source come here, one module for each type, and how what came is made one Parquet file."""
