"""`geofsrcnn evaluate` of models that were trained on pairs."""

from __future__ import annotations

from geofsrcnn.cli.show import file_names, show_comparisons
from geofsrcnn.cli.signals import stops


def run_evaluate_pairs(
    models: tuple[str, ...],
    fine: tuple[str, ...],
    coarse: tuple[str, ...],
    since: str | None,
    report: str | None,
    device: str,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Compare models of pairs with simple methods on later times, and print it."""
    from geofsrcnn.evaluation.page import check_report
    from geofsrcnn.networks.checkpoint import load_checkpoint
    from geofsrcnn.pairs.evaluate import evaluate_pairs
    from geofsrcnn.pairs.network import pairing_of

    if report is not None:
        check_report(report, overwrite=overwrite)
    loaded = [load_checkpoint(model) for model in models]
    with stops() as check:
        found = evaluate_pairs(loaded, coarse, fine, since=since, device=device, each_part=check)
    facts = {}
    for name, checkpoint in zip(found[0].models, loaded, strict=True):
        fitted = " to ".join(pairing_of(checkpoint).fitted)
        words = f"{checkpoint.card.summary}; fitted on {fitted}; sha256 {checkpoint.digest}"
        facts[f"model {name}"] = f"{checkpoint.path.name}; {words}"
    facts |= {"fine": file_names(fine), "coarse": file_names(coarse)}
    show_comparisons(found, report, f"{file_names(models)} on later times", facts, overwrite=overwrite, as_json=as_json)
