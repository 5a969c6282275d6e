"""A λ search as the public documentation of Ray Tune, PyTorch and MLflow would have it.

A function trainable, a new process per trial, a DataLoader, one seed per trial, MLflow calls in
the training loop. Prints its gradient steps and wall-clock seconds as JSON.

Usage: python -m tests.benchmarks.documented_script FOLDER TRIALS EPOCHS
"""

import json
import sys
import time

import mlflow
import numpy as np
import ray
import torch
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tuner.data import Split, read


def train_pair(config, epochs, tracking_uri):
    dataset = read("mfeat")
    rows = dataset.indices(Split.TRAIN)
    a, b = (side.values[rows] for side in (dataset.a, dataset.b))
    loader = DataLoader(
        TensorDataset(
            torch.from_numpy((a - a.mean(0)) / a.std(0)),
            torch.from_numpy((b - b.mean(0)) / b.std(0)),
            torch.from_numpy(dataset.y[rows]),
        ),
        batch_size=128,
        shuffle=True,
        drop_last=True,
    )

    def mlp(inputs):
        return nn.Sequential(
            nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64)
        )

    encoders = [mlp(a.shape[1]), mlp(b.shape[1])]
    heads = [nn.Linear(64, 10) for _ in encoders]
    projections = [nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)) for _ in encoders]
    modules = nn.ModuleList([*encoders, *heads, *projections])
    optimizer = torch.optim.AdamW(modules.parameters(), lr=1e-3)
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment("documented")
    correct = 0.0
    with mlflow.start_run():
        mlflow.log_params(config)
        for epoch in range(epochs):
            for xa, xb, y in loader:
                za, zb = encoders[0](xa), encoders[1](xb)
                oa, ob = heads[0](za), heads[1](zb)
                pa = functional.normalize(projections[0](za), dim=-1)
                pb = functional.normalize(projections[1](zb), dim=-1)
                similarity = pa @ pb.T / 0.1
                own = torch.arange(len(y))
                alignment = (
                    functional.cross_entropy(similarity, own)
                    + functional.cross_entropy(similarity.T, own)
                ) / 2
                loss = functional.cross_entropy(oa, y) + functional.cross_entropy(ob, y)
                loss = loss + config["lambda"] * alignment
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                correct = float((oa.argmax(-1) == y).float().mean())
            mlflow.log_metric("loss", float(loss.detach()), step=epoch)
            mlflow.log_metric("accuracy", correct, step=epoch)
            tune.report({"accuracy": correct})


def main() -> None:
    folder, trials, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    tracking_uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment("documented")
    started = time.perf_counter()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    trainable = tune.with_parameters(train_pair, epochs=epochs, tracking_uri=tracking_uri)
    tune.Tuner(
        trainable,
        param_space={"lambda": tune.uniform(0, 4)},
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=trials,
            search_alg=OptunaSearch(seed=0),
            max_concurrent_trials=2,
        ),
        run_config=tune.RunConfig(storage_path=folder, verbose=0),
    ).fit()
    steps = trials * epochs * (int(np.sum(read("mfeat").split == 0)) // 128)
    sys.stdout.write("\n" + json.dumps({"steps": steps, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
