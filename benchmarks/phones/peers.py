"""What other latency predictors publish, and how far it can be compared."""

PEERS = (
    (
        "MnasFPN paper (CVPR 2020)",
        "R2 > 0.97, connectivity-based look-up table, Pixel 1",
        "Comparable in kind: whole detectors on the same phone; its test set is not published.",
    ),
    (
        "nn-Meter (MobiSys 2021)",
        "99.0 % within 10 % on the Pixel 4 CPU, 26,000 models",
        "Same phone and runtime as the Pixel 4 cells here; it trains on about 18,000 kernels "
        "measured on the phone, we on at most 300 whole cells.",
    ),
    (
        "LitePred (NSDI 2024)",
        "79.4 % within 5 %, 100 % within 10 % on a Pixel 6 CPU, 3,500 samples",
        "Not the same phone; comparable as shares within 5 and 10 %.",
    ),
    (
        "HELP (NeurIPS 2021)",
        "Spearman 0.802 on a Pixel 2 with 10 samples",
        "Rank correlation after ten measurements; compare the learning curve's first rows.",
    ),
    (
        "TuNAS (CVPR 2020)",
        "a linear model for one space; 84.4 ms for ProxylessNAS-Mobile on a Pixel 1",
        "One published number; it covers no detector and states no error.",
    ),
)
