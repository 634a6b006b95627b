"""The script `scvi_plain.py` with a study around it."""

import anndata
import numpy as np
import scvi

import lightning_hwtune as hwt

rates = np.random.default_rng(0).gamma(2.0, 1.0, (1, 60)) * np.random.default_rng(1).gamma(2.0, 1.0, (400, 1))
cells = anndata.AnnData(np.random.default_rng(2).poisson(rates).astype(np.float32))


def train(trial):
    scvi.settings.seed = 0
    scvi.model.SCVI.setup_anndata(cells)
    model = scvi.model.SCVI(cells, n_hidden=trial["width"])
    model.train(max_epochs=9, accelerator="cpu", check_val_every_n_epoch=1, plan_kwargs={"lr": trial["lr"]})
    print(model.get_latent_representation().shape)


space = hwt.SearchSpace(lr=hwt.Float(1e-4, 1e-2, log=True), width=hwt.Int(8, 64, log=True))
objectives = [hwt.Metric("elbo_validation", "min"), hwt.TrainSeconds()]
study = hwt.Study("scvi", space, objectives, scheduler=hwt.ASHA(max_epochs=9, first_rung=1))
study.run(train, max_trials=6)
