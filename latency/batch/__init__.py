"""A million genotypes a second: the same estimate, for whole arrays of cells."""
