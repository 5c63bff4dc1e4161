"""Plant plausible mistakes in the mathematics and see whether the tests catch each one.

Every mistake is one changed line in a copy of the package; the tests of core, oracles and solvers
run against the copy and must fail. Slow: about a quarter of a minute for each.

    python tools/plant.py            all of them
    python tools/plant.py heun noise the ones whose line or file has such a word
"""

# ruff: noqa: E501 - one mistake, one line

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOLVERS = [
    f"tests/solvers/test_solver_{name}.py"
    for name in ("formula", "loop", "steps", "adaptive", "stochastic", "truth")
]
LIKELIHOOD = [
    f"tests/likelihood/test_likelihood_{name}.py" for name in ("items", "command", "density")
]
TESTS = {
    "core": ["tests/core", "tests/oracles", *SOLVERS],
    "solvers": [*SOLVERS, "tests/oracles"],
    "likelihood": [*LIKELIHOOD, "tests/oracles/test_oracle_likelihood.py"],
    "bound": ["tests/bound", "tests/oracles/test_oracle_bound.py"],
    "training": [
        f"tests/train/test_train_{name}.py"
        for name in (
            "weights",
            "objective",
            "score_matching",
            "coupling",
            "times",
            "variational",
            "ema",
            "loop",
        )
    ],
    "model.py": ["tests/train/test_train_variational.py"],
    "testing": ["tests/test_testing.py"],
    "tune": ["tests/tune"],
    "bundle": ["tests/tune/test_tune_model.py"],
    "guide": ["tests/guide"],
    "edit": ["tests/edit/test_edit_exact.py"],
}


class Mistake(NamedTuple):
    """One line of one file, before and after."""

    what: str
    file: str
    old: str
    new: str


MISTAKES = [
    Mistake("bridge: t for s", "core/kernel.py", "scale * s.sigma**2 / t.sigma**2", "scale * t.sigma**2 / t.sigma**2"),
    Mistake("bridge: the printed root of erratum E1", "core/kernel.py", "share * s.sigma**2, variance", "share * s.sigma**2 * t.sigma, variance"),
    Mistake("bridge: a lost square off the unit scale", "core/kernel.py", "(s.norm / t.norm) ** 2", "(s.norm / t.norm)"),
    Mistake("transition: upside down", "core/kernel.py", "scale = t.alpha / s.alpha", "scale = s.alpha / t.alpha"),
    Mistake("learned variance: linear instead of in log", "core/kernel.py", "low ** (1 - share) * high**share", "low * (1 - share) + high * share"),
    Mistake("target: a sign", "core/target.py", "* output - spread(a / d, x) * x", "* output + spread(a / d, x) * x"),
    Mistake("gain: a lost square", "core/target.py", "- b * level.alpha) / level.sigma) ** 2", "- b * level.alpha) / level.sigma)"),
    Mistake("v: right on the unit scale only", "core/target.py", "-level.sigma / level.norm, level.alpha / level.norm", "-level.sigma, level.alpha"),
    Mistake("score: sigma squared", "core/target.py", "-1 / level.sigma\n", "-1 / level.sigma**2\n"),
    Mistake("log-SNR: half of it", "core/level.py", "2 * (self.alpha.log()", "1 * (self.alpha.log()"),
    Mistake("cosine: a lost square", "core/chain.py", "math.pi / 2).cos() ** 2", "math.pi / 2).cos()"),
    Mistake("chain: an index shift", "core/chain.py", "(as_clock(t) * self.steps)", "(as_clock(t) * (self.steps - 1))"),
    Mistake("chain: the printed noise of erratum E2", "core/chain.py", "(0 - torch.expm1(log_alpha2)).sqrt()", "(0 - torch.expm1(log_alpha2))"),
    Mistake("VP: the integral of beta without its half", "core/families.py", "0.5 * (self.beta_max - self.beta_min) * t * t", "(self.beta_max - self.beta_min) * t * t"),
    Mistake("sub-VP: the sigma of VP", "core/families.py", "-torch.expm1(-total))\n", "(-torch.expm1(-total)).sqrt())\n"),
    Mistake("diffusion: a lost factor two", "core/process.py", "2 * level.sigma * (sigma_dot", "level.sigma * (sigma_dot"),
    Mistake("karras: another exponent", "core/grid.py", "exponent: float = 7.0", "exponent: float = 5.0"),
    Mistake("noise: the place in the batch for the item", "core/noise.py", "for item in items]", "for item in range(len(items))]"),
    Mistake("path: one noise for all levels", "core/path.py", "* noise.at(k)(x0)", "* noise.at(last)(x0)"),
    Mistake("loop: the first step's noise in every step", "solvers/base.py", "state, noise.at(i))", "state, noise.at(0))"),
    Mistake("DDIM: deviations subtracted as they are", "solvers/first_order.py", "(s.sigma**2 - fresh**2).clamp(min=0).sqrt()", "(s.sigma - fresh).clamp(min=0)"),
    Mistake("ancestral: noise in the last step", "solvers/ancestral.py", "if bool((s.sigma == 0).all()):", "if bool((s.sigma < 0).all()):"),
    Mistake("large variance: the lower bound for the upper", "core/variance.py", "return spread(law.upper, estimate.x0)", "return spread(law.lower, estimate.x0)"),
    Mistake("single step: the second question at the old level", "solvers/single_step.py", "self.answer(denoise(point, level), level)", "self.answer(denoise(point, t), level)"),
    Mistake("3S: the last line through the first inner answer", "solvers/single_step.py", "last = (self.answer(", "last = last or (self.answer("),
    Mistake("3S: asked half-way for two thirds", "solvers/single_step.py", "(1 / 3, 2 / 3)", "(1 / 3, 1 / 2)"),
    Mistake("moments: a step the wrong way", "solvers/weights.py", "+ self.length[..., None] * u", "- self.length[..., None] * u"),
    Mistake("moments: a lost factor k", "solvers/weights.py", "k * (left * u ** (k - 1))", "(left * u ** (k - 1))"),
    Mistake("moments: an index shift", "solvers/weights.py", "u ** (k - 1)", "u**k"),
    Mistake("iPNDM: answers counted from two steps ago", "solvers/weights.py", "-torch.arange(1, count + 1)", "-torch.arange(2, count + 2)"),
    Mistake("log-SNR: the way back from half of it", "core/level.py", "cls(torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt())", "cls(torch.sigmoid(log_snr / 2).sqrt(), torch.sigmoid(-log_snr / 2).sqrt())"),
    Mistake("v: alpha and sigma swapped", "solvers/frame.py", "Level(-unit.sigma, unit.alpha)", "Level(-unit.alpha, unit.sigma)"),
    Mistake("angle: the sigma of t for that of s, as a peer has it", "solvers/frame.py", "spread(s.norm, z) * z", "spread(Level(s.alpha, t.sigma).norm, z) * z"),
    Mistake("DEIS: a polynomial in rho for one in its log", "solvers/multistep.py", "frame: Frame = RHO\n    clock: Clock | None = LOG_SNR\n    points: int = 3", "frame: Frame = RHO\n    clock: Clock | None = None\n    points: int = 3"),
    Mistake("tapered: one step late", "solvers/multistep.py", "self.steps - made))", "self.steps - made + 1))"),
    Mistake("UniPC: mended the wrong way", "solvers/unipc.py", "(mended - x)", "(x - mended)"),
    Mistake("UniPC: a corrector without the new answer", "solvers/unipc.py", "(now, *made.earlier))", "made.earlier)"),
    Mistake("UniPC: bh1 with the log-SNR for lambda", "solvers/unipc.py", "0.25 * (speed", "0.5 * (speed"),
    Mistake("2M: the sum of the slopes for their mean", "solvers/weights.py", "torch.arange(2, count + 2,", "torch.arange(1, count + 1,"),
    Mistake("2M: a sign", "solvers/weights.py", "(other.slope - now.slope)", "(now.slope - other.slope)"),
    Mistake("2M: the ratio of steps upside down", "solvers/weights.py", "(other.place - now.place) / span.length", "span.length / (other.place - now.place)"),
    Mistake("3M: the published half for the whole", "solvers/__init__.py", '"dpmpp-3m": DPMpp3M', '"dpmpp-3m": partial(DPMpp3M, rule=PUBLISHED)'),
    Mistake("multistep: an answer forgotten", "solvers/multistep.py", "(now, *earlier)[: self.points - 1]", "(now, *earlier)[: self.points - 2]"),
    Mistake("analytic variance: a lost square", "core/kernel.py", "spread(self.pull**2, variance)", "spread(self.pull, variance)"),
    Mistake("uncertainty: a lost square", "core/variance.py", "(level.sigma / level.norm) ** 2", "(level.sigma / level.norm)"),
    Mistake("own variance: the measured one before the learned one", "core/variance.py", "if estimate.interpolation is not None:\n        return \"learned\"", "if estimate.variance is None and estimate.interpolation is not None:\n        return \"learned\""),
    Mistake("KL: a lost square", "bound/chain.py", "(exact + apart**2) / variance", "(exact + apart.abs()) / variance"),
    Mistake("KL: the logarithm upside down", "bound/chain.py", "(variance / exact).log()", "(exact / variance).log()"),
    Mistake("bound: an index shift in the decoder's variance", "bound/chain.py", "self.levels[max(0, self.steps - 2)], self.levels[max(1, self.steps - 1)]", "self.levels[max(0, self.steps - 3)], self.levels[max(1, self.steps - 2)]"),
    Mistake("decoder: a whole bin on either side", "bound/decoder.py", "0.5 * step / std", "step / std"),
    Mistake("decoder: the wrong clamp", "bound/decoder.py", ".clamp(0, self.levels - 1)", ".clamp(1, self.levels - 1)"),
    Mistake("decoder: closed ends", "bound/decoder.py", "torch.where(number == 0, b.clamp(max=0) - far, a)", "a"),
    Mistake("density: of the standardised data", "bound/decoder.py", " + _over(self.std, x0).log()", ""),
    Mistake("bound: drawn steps for the sum of all", "bound/estimate.py", ".mean(0) * inner", ".mean(0)"),
    Mistake("bound along a path: a deviation for a variance", "bound/estimate.py", "spread(forward.variance, x)", "spread(forward.variance.sqrt(), x)"),
    Mistake("importance: the weight upside down", "training/times.py", "1 / (cells * share[cell])", "cells * share[cell]"),
    Mistake("importance: the mean for the root mean square", "training/times.py", "self.losses.square().mean(1).sqrt()", "self.losses.mean(1)"),
    Mistake("importance: forgotten by a checkpoint", "training/loop.py", "self.objective.times.load(tensors[\"times\"])", "pass"),
    Mistake("hybrid: the bound trains the mean too", "training/variational.py", "said.F if self.alone else said.F.detach()", "said.F"),
    Mistake("bound in training: t for s", "training/variational.py", "levels[self.place(level) + 1]", "levels[self.place(level)]"),
    Mistake("learned variance: the halves swapped", "model.py", "F, v = answer.chunk(2, dim=1)", "v, F = answer.chunk(2, dim=1)"),
    Mistake("likelihood: the sign of the divergence", "likelihood/density.py", "spread(pace, gained) * gained", "-spread(pace, gained) * gained"),
    Mistake("likelihood: the printed flow, without its half", "likelihood/density.py", "return spread(level.alpha, z) * estimate.eps", "return 2 * spread(level.alpha, z) * estimate.eps"),
    Mistake("likelihood: the prior's variance on another scale", "likelihood/density.py", "prior_std) / float(noise.norm)", "prior_std) / 1.0"),
    Mistake("likelihood: the scale of the points forgotten", "likelihood/density.py", "grown_ - scale", "grown_"),
    Mistake("likelihood: the standard deviation of the probes for the error of their mean", "likelihood/density.py", "value.std(1) / math.sqrt(count)", "value.std(1)"),
    Mistake("likelihood: probes not of unit covariance", "likelihood/divergence.py", "torch.where(z < 0, -1.0, 1.0)", "torch.where(z < 0, 0.0, 1.0)"),
    Mistake("likelihood: one probe for the whole batch", "likelihood/divergence.py", "item_normal(self.seed, items,", "item_normal(self.seed, [0] * len(x),"),
    Mistake("likelihood: the change of variables lost", "likelihood/ode.py", " - dims / len(std) * sum(math.log(s) for s in std)", ""),
    Mistake("likelihood: the change of variables once a channel", "likelihood/ode.py", "dims / len(std) * sum(", "sum("),
    Mistake("likelihood: the width of a level with the wrong sign", "likelihood/ode.py", "value + dims * math.log(width)", "value - dims * math.log(width)"),
    Mistake("likelihood: the sum of the draws for their mean", "likelihood/ode.py", "value.logsumexp(1) - math.log(draws)", "value.logsumexp(1)"),
    Mistake("likelihood: noise above the levels only", "likelihood/fitting.py", "(torch.special.ndtr(normal) - 0.5)", "torch.special.ndtr(normal)"),
    Mistake("VP: the printed half of erratum E6", "core/families.py", "(-torch.expm1(-total)).sqrt()", "(-torch.expm1(-0.5 * total)).sqrt()"),
    Mistake("forward SDE: dt for its root, the printed erratum E5", "core/path.py", "(g2[k] * dt[k]).sqrt()", "g2[k].sqrt() * dt[k]"),
    Mistake("kept steps: the betas as they were, the printed erratum E13", "core/chain.py", "-torch.expm1(torch.cat([kept.new_zeros(1), kept]).diff())", "self.betas[torch.as_tensor(steps, dtype=torch.long) - 1]"),
    Mistake("zero SNR: not stretched back", "core/chain.py", "alpha = (plain.alpha - self._last) * self._gain", "alpha = plain.alpha - self._last"),
    Mistake("shift: half of it in log-SNR", "core/process.py", "self._fall = 2 * math.log(factor)", "self._fall = math.log(factor)"),
    Mistake("prior: a lost square", "core/prior.py", "share = level.sigma**2 / prior2", "share = level.sigma / prior2"),
    Mistake("denoising score matching: a sign", "training/score_matching.py", "+ eps / spread(level.sigma, eps)", "- eps / spread(level.sigma, eps)"),
    Mistake("sliced score matching: a lost half", "training/score_matching.py", "(turned * v).flatten(1).sum(1) + 0.5 * square", "(turned * v).flatten(1).sum(1) + square"),
    Mistake("implicit is sliced, the printed erratum E22", "training/score_matching.py", "torch.autograd.grad(flat[:, i].sum(), x, create_graph=True)[0].flatten(1)[:, i]", "torch.autograd.grad(flat.sum(), x, create_graph=True)[0].flatten(1)[:, i]"),
    Mistake("min-SNR: the larger for the smaller", "training/objective.py", ".clamp(max=5)", ".clamp(min=5)"),
    Mistake("transport: the dearest for the cheapest", "training/coupling.py", "(-x0 @ z.T)", "(x0 @ z.T)"),
    Mistake("fit: Broyden's update without what was foreseen", "tune/fit.py", "new - off - slopes @ move, move)", "new - off, move)"),
    Mistake("fit: a long step cut number by number", "tune/fit.py", "move / move.abs().max().clamp(min=1)", "move.clamp(-1, 1)"),
    Mistake("truth: a lost root of the number of numbers", "tune/truth.py", "off.div(len(off) ** 0.5)", "off.div(len(off))"),
    Mistake("tune: the error on the starts that were tuned on", "tune/search.py", "error=fresh.error(best.levels(fresh.process)", "error=truth.error(best.levels(truth.process)"),
    Mistake("tune: gaps one place off", "tune/search.py", "start * rising[1:]", "start * rising[:-1]"),
    Mistake("tune: guidance left out", "bundle/tuning.py", "bundle.denoiser(cond, way)", "bundle.denoiser(cond, replace(way, guidance=1.0))"),
    Mistake("tuned levels: used for any guidance", "bundle/bundle.py", "if found.suits == asked", "if found.suits[:2] == asked[:2]"),
    Mistake("SDE: half the exponent in the fresh noise", "solvers/sde.py", "(-torch.expm1(fall)).sqrt()", "(-torch.expm1(0.5 * fall)).sqrt()"),
    Mistake("SDE: a frame with half of its decay", "solvers/sde.py", "level.rho ** -(1 + eta)", "level.rho ** -(1 + eta / 2)"),
    Mistake("SA-Solver: noise outside its range", "solvers/sde.py", "if loud else", "if not loud else"),
    Mistake("Euler-Maruyama: the printed noise of erratum E5", "solvers/euler_maruyama.py", "(g2 * dt).sqrt()", "g2.sqrt() * dt"),
    Mistake("Euler-Maruyama: the pull of the flow under the noise of the SDE", "solvers/euler_maruyama.py", "0.5 * (1 + self.eta**2) * g2", "0.5 * g2"),
    Mistake("Euler-Maruyama: eta for its square", "solvers/euler_maruyama.py", "(1 + self.eta**2)", "(1 + self.eta)"),
    Mistake("ancestral forms: t for s in the fresh noise", "solvers/first_order.py", "eta * s.sigma *", "eta * t.sigma *"),
    Mistake("churn: deviations subtracted as they are", "solvers/noised.py", "(up.sigma**2 - t.sigma**2).sqrt()", "(up.sigma - t.sigma)"),
    Mistake("churn: the question at the old level", "solvers/noised.py", "step(denoise, x, up, s", "step(denoise, x, t, s"),
    Mistake("Langevin: a lost two under the root", "solvers/langevin.py", "(2 * size).sqrt()", "size.sqrt()"),
    Mistake("corrector: a lost square of its ratio", "solvers/langevin.py", "2 * self.snr**2", "2 * self.snr"),
    Mistake("corrector: norms over the batch", "solvers/langevin.py", "eps.flatten(1).square().mean(1)", "eps.flatten(1).square().mean().expand(len(eps))"),
    Mistake("adaptive: one verdict for the whole batch", "solvers/adaptive.py", "return torch.stack(sizes).amax(0)", "return torch.stack(sizes).amax().expand(len(parts[0]))"),
    Mistake("adaptive: a sign in the tableau", "solvers/adaptive.py", "-2187 / 6784", "2187 / 6784"),
    Mistake("adaptive: the exponent of another order", "solvers/adaptive.py", "size**-0.2", "size**-0.25"),
    Mistake("testing: the noise left out of the covariance", "testing/affine.py", " + response.T @ response", ""),
    Mistake("testing: an error that is not a number passes", "testing/affine.py", ".flatten() for a, b in pairs]).max()", ".flatten() for a, b in pairs]).nan_to_num(0).max()"),
    Mistake("CFG: the two ends swapped", "guide/mix.py", "torch.lerp(away.x0, to.x0, scale)", "torch.lerp(to.x0, away.x0, scale)"),
    Mistake("CFG++: the ratio of levels squared", "guide/mix.py", "scale / (1 - rising[upper - 1] / rising[upper])", "scale / (1 - (rising[upper - 1] / rising[upper]) ** 2)"),
    Mistake("APG: nothing taken away", "guide/mix.py", "gap - along * to.x0", "gap"),
    Mistake("APG: the scale without its one", "guide/mix.py", "(scale - 1) * (gap", "scale * (gap"),
    Mistake("rescale: eps left behind", "guide/mix.py", "eps=estimate.eps - ratio * shift", "eps=estimate.eps"),
    Mistake("interval: open at the wrong end", "guide/mix.py", "(level.rho > low) & (level.rho <= high)", "(level.rho >= low) & (level.rho < high)"),
    Mistake("classifier: a lost square of sigma", "guide/classifier.py", "level.sigma**2 / level.alpha", "level.sigma / level.alpha"),
    Mistake("DPS: not divided by the size of the misfit", "edit/steering.py", "/ squared.detach().sqrt().clamp(min=1e-12)", "* torch.ones_like(squared)"),
    Mistake("RePaint: a variance for a deviation", "edit/steering.py", "spread(variance.sqrt(), x) * randn(x)", "spread(variance, x) * randn(x)"),
    Mistake("PiGDM: right on the unit scale only", "edit/posterior.py", "r2 = spread((level.sigma / level.norm) ** 2, x)", "r2 = spread(level.sigma**2, x)"),
    Mistake("posterior: a floor on another scale", "edit/posterior.py", "(_FLOOR * level.sigma / level.norm)", "(_FLOOR * level.sigma)"),
    Mistake("EMA: one step late", "training/loop.py", "self.ema.update(self.model, self.done)", "self.ema.update(self.model, self.done + 1)"),
    Mistake("classifier: pure noise pulled", "guide/classifier.py", "level.sigma**2 / level.alpha, 0.0", "level.sigma**2 / level.alpha, 1.0"),
]  # fmt: skip


def misplaced() -> list[str]:
    """Mistakes whose line does not stand exactly once in its file any more."""
    return [
        f"{m.what}: '{m.old}' in {m.file}"
        for m in MISTAKES
        if (ROOT / "src" / "ornstein" / m.file).read_text().count(m.old) != 1
    ]


def caught(mistake: Mistake) -> str | None:
    """Run the tests against a copy with the mistake; return the test that fails, or None."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        file = source / "ornstein" / mistake.file
        file.write_text(file.read_text().replace(mistake.old, mistake.new))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        run = subprocess.run(
            [*command, *TESTS[mistake.file.split("/")[0]]],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(source),
                "PYTHONDONTWRITEBYTECODE": "1",
                "OMP_NUM_THREADS": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode == 0:
        return None
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if run.returncode != 1 or not failed:
        sys.exit(
            f"{mistake.what}: the tests did not run.\n{run.stdout[-2000:]}{run.stderr[-2000:]}"
        )
    return failed[0].split("::")[-1].split(" - ")[0]


def timed(mistake: Mistake) -> tuple[str | None, float]:
    """Plant one mistake; the test that caught it, and the seconds it took."""
    start = time.monotonic()
    return caught(mistake), time.monotonic() - start


def main(words: list[str]) -> int:
    """Plant the mistakes that match any of ``words`` (all without words); 1 if one gets through."""
    chosen = [m for m in MISTAKES if not words or any(w in f"{m.what} {m.file}" for w in words)]
    if lost := misplaced():
        sys.exit("mend this list, each line must stand once:\n" + "\n".join(lost))
    missed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mistake, (test, seconds) in zip(chosen, pool.map(timed, chosen), strict=True):
            missed += test is None
            verdict = f"caught by {test}" if test else "NOT CAUGHT"
            print(f"{seconds:5.0f} s  {mistake.what}: {verdict}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} mistakes caught")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
