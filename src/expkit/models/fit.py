"""Whether a tokenizer and a model fit each other, checked once before anything is encoded.

Either what they disagree on can be settled, in the model's config or in the tokenizer, both of which are
saved with the model, or a message says why they cannot work together.
"""

import inspect

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from expkit.display import say
from expkit.errors import UserError


def fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Settle what model and tokenizer have to agree on: vocabulary, padding, inputs, ends of texts.

    Raises:
        UserError: they do not fit each other.
    """
    _require_vocabulary(model, tokenizer)
    _settle_padding(model, tokenizer)
    _settle_inputs(model, tokenizer)
    if model.config.is_encoder_decoder:
        _require_end(model, tokenizer)
    if getattr(model.config, "attention_type", None) == "block_sparse":
        # BigBird takes sparse attention from a certain length of the batch on, and full attention below.
        model.base_model.set_attention_type("original_full")
        model.config.attention_type = "original_full"
        say("model: attention is full at every length, so that it does not depend on the batch")


def positions_of(config: PretrainedConfig) -> int | None:
    """How many positions a model has; None where there is no limit, which XLNet writes as −1."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return positions if positions and positions > 0 else None


def positions_behind_padding(model: PreTrainedModel) -> int:
    """How many positions stay unused, as RoBERTa and its kin number them from behind the padding's id."""
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.rpartition(".")[2] == "position_embeddings" and padding is not None:
            return int(padding) + 1
    return 0


def _require_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    embedding = model.get_input_embeddings()
    largest = max(tokenizer.get_vocab().values(), default=0)
    if isinstance(embedding, torch.nn.Embedding) and largest >= embedding.num_embeddings:
        raise UserError(
            f"model: {type(tokenizer).__name__} gives ids up to {largest}, but the embedding of "
            f"{type(model).__name__} has {embedding.num_embeddings} rows; use the tokenizer that the "
            "model was trained with, or enlarge the checkpoint with resize_token_embeddings"
        )


def _settle_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Pad with the tokenizer's token, on the right, or on the left of a head that reads the last position."""
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise UserError(
                f"model: {type(tokenizer).__name__} has neither a padding token nor one for the end of a "
                'text; name a token of its vocabulary as "pad_token" in tokenizer_config.json'
            )
        tokenizer.pad_token = tokenizer.eos_token
    pad, name = tokenizer.pad_token_id, type(model).__name__
    numbered_from = positions_behind_padding(model)
    if numbered_from not in (0, pad + 1):
        raise UserError(
            f"model: {name} counts positions from its padding token {numbered_from - 1}, but "
            f"{type(tokenizer).__name__} pads with token {pad}; use the tokenizer that it was trained with"
        )
    embedding = model.get_input_embeddings()
    if getattr(embedding, "padding_idx", None) is not None:
        embedding.padding_idx = pad  # the row that gets no gradient
    for config in (model.config, model.config.get_text_config(), model.generation_config):
        if config is not None:
            config.pad_token_id = pad
    reads_last = getattr(model.config, "summary_type", None) == "last"  # XLNet
    tokenizer.padding_side = "left" if reads_last else "right"


def _settle_inputs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Leave out inputs that the model does not take, and token types if it has a single one."""
    taken = inspect.signature(model.forward).parameters
    names = [name for name in tokenizer.model_input_names if name in taken]
    types = _token_types(model)
    if types < 2:
        names = [name for name in names if name != "token_type_ids"]
    tokenizer.model_input_names = names
    tokenizer.init_kwargs["model_input_names"] = names  # what save_pretrained writes
    given = tokenizer("a", "a").get("token_type_ids", [0])
    if max(given) >= max(types, 1):
        raise UserError(
            f"model: {type(tokenizer).__name__} gives token types up to {max(given)}, but "
            f"{type(model).__name__} has {types}; use the tokenizer that the model was trained with"
        )


def _token_types(model: PreTrainedModel) -> int:
    """How many kinds of segments a model tells apart.

    GPT-2 and others take `token_type_ids` as well, but look them up among the words.
    """
    if any(name.endswith(".seg_embed") for name, _ in model.named_parameters()):
        return 4  # of XLNet and Funnel: two texts, the classification token, padding
    return getattr(model.config, "type_vocab_size", None) or 0


def _require_end(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """A decoder learns from the token at the end of a text when to stop, and classifiers read it."""
    end = model.config.eos_token_id
    if end not in tokenizer("a")["input_ids"]:
        raise UserError(
            f"model: {type(model).__name__} ends texts with token {end} (eos_token_id), which "
            f"{type(tokenizer).__name__} does not put there; use the tokenizer that the model was "
            "trained with"
        )
