"""A tiny transformer that reads text character by character and predicts the next one at each position."""

from __future__ import annotations

import torch
from torch import nn

from models.classifier import Classifier

__all__ = ["CharTransformer"]

_N_SYMBOLS = 256  # a symbol is a byte of UTF-8 (one character in English text), so the weights need no vocabulary


class CharTransformer(Classifier):
    """`depth` blocks of causal self-attention over learned embeddings of symbols and positions.

    `val_loss` is in nats per symbol. `val_error` is the fraction of symbols that were not the first guess.

    Args:
        lr: learning rate of the first epoch.
        width: width of the embeddings; a multiple of `n_heads`.
        depth: number of blocks, at least 1.
        n_heads: number of attention heads, at least 1.
        context_length: the longest text that the model can read at once, in symbols; use the data's `context_length`.
        dropout: fraction of activations dropped in each block, in [0, 1).
        weight_decay: weight decay of AdamW.
    """

    def __init__(
        self,
        lr: float,
        width: int = 64,
        depth: int = 2,
        n_heads: int = 4,
        context_length: int = 64,
        dropout: float = 0.1,
        weight_decay: float = 1e-2,
    ) -> None:
        sizes = {"width": width, "depth": depth, "n_heads": n_heads, "context_length": context_length}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"`{name}` is {size}; allowed: a positive integer")
        if width % n_heads:
            raise ValueError(f"`width` is {width}; allowed: a multiple of `n_heads`, which is {n_heads}")
        super().__init__(_Network(width, depth, n_heads, context_length, dropout), lr=lr, weight_decay=weight_decay)
        self.save_hyperparameters()


class _Network(nn.Module):
    """Symbols `(n, length)` -> logits `(n, length, 256)`; logits do not depend on the symbols after their position."""

    def __init__(self, width: int, depth: int, n_heads: int, context_length: int, dropout: float) -> None:
        super().__init__()
        self.symbols, self.places = nn.Embedding(_N_SYMBOLS, width), nn.Embedding(context_length, width)
        # created one by one: in `nn.TransformerEncoder`, all blocks would start with copies of the same weights
        self.blocks = nn.ModuleList(_block(width, n_heads, dropout) for _ in range(depth))
        self.answer = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, _N_SYMBOLS))

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        length, longest = symbols.shape[1], self.places.num_embeddings
        if length > longest:
            raise ValueError(f"the text has {length} symbols; allowed: at most {longest}, the model's `context_length`")
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=symbols.device)
        hidden = self.symbols(symbols) + self.places.weight[:length]
        for block in self.blocks:
            hidden = block(hidden, src_mask=mask, is_causal=True)
        logits: torch.Tensor = self.answer(hidden)
        return logits


def _block(width: int, n_heads: int, dropout: float) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        width, n_heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
    )
