import lieconv_pyg  # noqa: F401  first, since importing PyG alone warns
