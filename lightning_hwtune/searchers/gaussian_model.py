"""The Gaussian processes of `GP`, fitted by BoTorch, and the expected improvement that they give.

This module imports torch and BoTorch, so it is imported when the model draws for the first time. Torch belongs to the
training code: its random state, default type, default device, number of threads and gradient mode are those of the
caller again after each call. BoTorch would also compile a C++ extension when it is first used, which takes a minute, in
a folder of the user, with a lock that outlives a killed process. `_undisturbed` keeps it from doing so, and it computes
the same in Python.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from botorch import fit_gpytorch_mll
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective import logei
from botorch.exceptions.errors import ModelFittingError
from botorch.models import SingleTaskGP
from botorch.models.kernels import CategoricalKernel
from botorch.models.model_list_gp_regression import ModelListGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.sampling.normal import SobolQMCNormalSampler
from gpytorch.kernels import Kernel, ProductKernel
from gpytorch.mlls import ExactMarginalLogLikelihood
from scipy.optimize import minimize

from lightning_hwtune.core.ranking.fronts import non_dominated_mask

__all__ = ["GaussianModel"]

Floats = npt.NDArray[np.float64]

_COMPILED = "_load_attempted"  # whether BoTorch has tried to compile its extension, from version 0.18 on
_N_SAMPLES = 64  # of the posterior, for an expectation
_MAX_FIT_STEPS, _MAX_STEPS = 50, 50  # of L-BFGS-B, for the hyperparameters and for the maximum
_CHUNK = 64  # rows whose improvement is computed at a time: with four objectives, a row takes megabytes
_MARGIN = 0.1  # of the reference point behind the worst of the front, as a share of the front's range


@final
class GaussianModel:
    """The expected improvement at rows of cells, given the scores at some rows.

    Args:
        rows: cells without NaN, shape `(n, n_parameters)`. scores: low is good, shape `(n, n_objectives)`.
        choices: the columns of unordered choices, whose cells are numbers of options.
        n_first: so many of the first rows may be best; the rows are in an order by fronts.
        pending: rows whose scores are not known yet.
        seed: of the samples from the posterior.
    """

    def __init__(
        self, rows: Floats, scores: Floats, choices: list[int], n_first: int, pending: Floats, seed: int
    ) -> None:
        with _undisturbed(seed):
            model = _fitted(torch.tensor(rows), torch.tensor(-scores), choices)
            known = torch.tensor(np.unique(rows[:n_first], axis=0))
            given: dict[str, Any] = {"sampler": SobolQMCNormalSampler(torch.Size([_N_SAMPLES]), seed=seed)}
            given |= {"X_baseline": known, "X_pending": torch.tensor(pending) if len(pending) else None}
            given |= {"prune_baseline": False, "cache_root": True}
            if scores.shape[1] == 1:
                self._improvement: AcquisitionFunction = qLogNoisyExpectedImprovement(model, **given)
            else:
                reference = torch.tensor(-_reference(scores[:n_first]))
                self._improvement = logei.qLogNoisyExpectedHypervolumeImprovement(model, reference, **given)
        self._seed = seed

    def improvements(self, rows: Floats) -> Floats:
        """Returns the logarithm of the expected improvement at each row."""
        with _undisturbed(self._seed), torch.no_grad():
            starts = range(0, len(rows), _CHUNK)
            parts = [self._improvement(torch.tensor(rows[start : start + _CHUNK, None])) for start in starts]
            return np.asarray(torch.cat(parts).numpy(), dtype=np.float64)

    def climbed(self, rows: Floats, is_free: npt.NDArray[np.bool_]) -> Floats:
        """Returns rows of greater expected improvement, found along its gradient from these rows.

        Args:
            is_free: which cells may change, of the shape of `rows`; they stay in [0, 1].
        """

        def loss(cells: Floats) -> tuple[float, Floats]:
            at = torch.tensor(cells.reshape(rows.shape), requires_grad=True)
            total = -self._improvement(at.unsqueeze(-2)).sum()
            (slope,) = torch.autograd.grad(total, at)
            return float(total), slope.numpy().ravel()

        lows, highs = np.where(is_free, 0.0, rows).ravel(), np.where(is_free, 1.0, rows).ravel()
        with _undisturbed(self._seed):
            found = minimize(
                loss,
                rows.ravel(),
                jac=True,
                bounds=np.column_stack([lows, highs]),
                method="L-BFGS-B",
                options={"maxiter": _MAX_STEPS},
            )
        return np.asarray(found.x, dtype=np.float64).reshape(rows.shape).clip(0.0, None)


def _fitted(rows: torch.Tensor, goods: torch.Tensor, choices: list[int]) -> ModelListGP:
    """Returns a process per column of `goods`, where high is good. They share nothing, and each is fitted alone."""
    models = []
    for place in range(goods.shape[1]):
        model = SingleTaskGP(rows, goods[:, [place]], covar_module=_kernel(rows.shape[1], choices))
        likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
        with contextlib.suppress(ModelFittingError):  # then it keeps the most likely values of its priors
            options = {"options": {"maxiter": _MAX_FIT_STEPS}}
            fit_gpytorch_mll(likelihood, optimizer_kwargs=options, max_attempts=1)
        models.append(model.eval())
    return ModelListGP(*models)


def _kernel(n_parameters: int, choices: list[int]) -> Kernel:
    """Returns the product of a kernel of the numbers and one of the unordered choices, each with a length per cell."""
    numbers = [place for place in range(n_parameters) if place not in choices]
    kernels: list[Kernel] = []
    if numbers:
        kernels.append(get_covar_module_with_dim_scaled_prior(len(numbers), active_dims=numbers))
    if choices:
        kernels.append(CategoricalKernel(ard_num_dims=len(choices), active_dims=choices))
    return kernels[0] if len(kernels) == 1 else ProductKernel(*kernels)


def _reference(scores: Floats) -> Floats:
    """Returns the reference point of the hypervolume, a little behind the worst of the front of these scores."""
    front = scores[non_dominated_mask(scores)]
    span = np.ptp(front if len(front) > 1 else scores, axis=0)
    return np.asarray(front.max(axis=0) + _MARGIN * span)


@contextlib.contextmanager
def _undisturbed(seed: int) -> Iterator[None]:
    """Leaves torch as it was, whatever BoTorch does inside, and whatever mode the caller is in.

    Inside there is one thread: the matrices are small, and threads would only wait for each other on a busy machine.
    """
    state, dtype, n_threads = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    has_compiled = getattr(logei, _COMPILED, None)
    is_elsewhere = torch.get_default_device().type != "cpu"
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.device("cpu") if is_elsewhere else contextlib.nullcontext(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            torch.default_generator.manual_seed(seed)
            torch.set_default_dtype(torch.float64)
            torch.set_num_threads(1)
            setattr(logei, _COMPILED, True)
            yield
    finally:
        torch.set_rng_state(state)
        torch.set_default_dtype(dtype)
        torch.set_num_threads(n_threads)
        if has_compiled is not None:
            setattr(logei, _COMPILED, has_compiled)
