"""What made the images of a run, in words."""

from __future__ import annotations

from typing import Any

from util.checkpoint import PriorInfo


def origin_of(run: dict[str, Any]) -> tuple[str, str]:
    """Which prior made the images, in a word, and all that made them, in a sentence.

    ``run``: the description of a :class:`~util.run.record.RunRecord`, or what ``run.json`` holds.
    """
    em, diffusion = run["fusion_config"]["em"], run["diffusion_config"]
    steps = f"timestep_respacing {diffusion['timestep_respacing']}"
    solver = f"phi fixed at {em['phi']} (ADMM)" if em.get("phi") is not None else "EM"
    how = f"{solver}, variant {em.get('roles', em['variant'])}"
    if "tv" in em:
        how += f", {'' if em['tv'] else 'no '}total variation"
    if run["prior"] is None:
        if em["variant"] == "local_fast":
            return "no prior", "no diffusion prior, local fusion in closed form"
        return "no prior", f"no diffusion prior, iterations alone, {steps}, {how}"
    info = PriorInfo(**run["prior"])
    size = f"{info.parameters:,} parameters, sha256 {info.sha256[:12]}"
    warm = run["fusion_config"].get("warm_start")
    start = f", warm start at timestep {warm}" if warm else ""
    sampler = f"{diffusion['sampler']}, {steps}{start}, {how}"
    if info.official:
        return "official prior", f"the official checkpoint {info.file} ({size}), {sampler}"
    return f"prior {info.file}", f"NOT the official checkpoint but {info.file} ({size}), {sampler}"
