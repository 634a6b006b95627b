"""scvi-tools as its users write it: a small SCVI on counts drawn from a Poisson distribution."""

import anndata
import numpy as np
import scvi

rates = np.random.default_rng(0).gamma(2.0, 1.0, (1, 60)) * np.random.default_rng(1).gamma(2.0, 1.0, (400, 1))
cells = anndata.AnnData(np.random.default_rng(2).poisson(rates).astype(np.float32))

scvi.settings.seed = 0
scvi.model.SCVI.setup_anndata(cells)
model = scvi.model.SCVI(cells, n_hidden=32)
model.train(max_epochs=9, accelerator="cpu", check_val_every_n_epoch=1, plan_kwargs={"lr": 1e-3})
print(model.get_latent_representation().shape)
