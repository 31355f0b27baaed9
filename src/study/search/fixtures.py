"""Writes fixtures.json: Optuna's TPE on four known functions, and its SuccessiveHalvingPruner's decisions on recorded streams.

Run by hand: python src/study/search/fixtures.py (optuna and numpy from PyPI).
"""
import json, math, pathlib, random, statistics
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)

FUNCTIONS = {
    "sphere": lambda t: sum(t.suggest_float(k, -5, 5) ** 2 for k in "xy"),
    "branin": lambda t: branin(t.suggest_float("x", -5, 10), t.suggest_float("y", 0, 15)),
    "rate": lambda t: (math.log10(t.suggest_float("x", 1e-5, 1e-1, log=True)) + 2.5) ** 2
    + 0.1 * (t.suggest_int("y", 1, 32) - 9) ** 2 / 16,
    "choice": lambda t: {"a": 1.0, "b": 0.0, "c": 0.5}[t.suggest_categorical("y", ["a", "b", "c"])]
    + (t.suggest_float("x", 0, 1) - 0.3) ** 2,
}


def branin(x, y):
    b, c, t = 5.1 / (4 * math.pi**2), 5 / math.pi, 1 / (8 * math.pi)
    return (y - b * x * x + c * x - 6) ** 2 + 10 * (1 - t) * math.cos(x) + 10


def tpe(f, sampler, trials=40):
    bests = []
    for seed in range(50):
        study = optuna.create_study(sampler=sampler(seed))
        study.optimize(f, n_trials=trials)
        bests.append(study.best_value)
    return {"mean": statistics.mean(bests), "standardError": statistics.stdev(bests) / math.sqrt(len(bests))}


def halving(seed):
    r = random.Random(seed)
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=2),
    )
    stream, trials = [], []
    for _ in range(12):
        trials.append([study.ask(), 0, True])
    while any(alive for _, _, alive in trials):
        i = r.choice([k for k, one in enumerate(trials) if one[2]])
        trial, step, _ = trials[i]
        step += 1
        value = math.nan if r.random() < 0.02 else round(r.random() + i / 12, 3)
        trial.report(value, step)
        prune = trial.should_prune()
        stream.append([i, step, None if math.isnan(value) else value, prune])
        trials[i] = [trial, step, not prune and step < 12]
    return stream


out = {
    "optuna": optuna.__version__,
    "trials": 40,
    "tpe": {name: tpe(f, lambda s: optuna.samplers.TPESampler(seed=s, multivariate=False)) for name, f in FUNCTIONS.items()},
    "random": {name: tpe(f, lambda s: optuna.samplers.RandomSampler(seed=s)) for name, f in FUNCTIONS.items()},
    "halving": [halving(seed) for seed in range(5)],
}
path = pathlib.Path(__file__).with_name("fixtures.json")
path.write_text(json.dumps(out) + "\n")
