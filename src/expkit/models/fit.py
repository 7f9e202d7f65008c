"""What a tokenizer and a model have to agree on, settled or refused before anything is encoded."""

import inspect
from collections.abc import Iterator

from transformers import MODEL_FOR_MASKED_LM_MAPPING, PretrainedConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from expkit.terminal.display import say
from expkit.terminal.errors import UserError


def fit(model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Settle padding, inputs and attention, so that predictions do not depend on the batch.

    What changes is saved with the model and with the tokenizer.

    Raises:
        UserError: they do not fit each other.
    """
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    _set_inputs(model, tokenizer)
    if misfits := list(_misfits(model, tokenizer)):
        raise UserError(
            f"model: {type(model).__name__} with {type(tokenizer).__name__}: {'; '.join(misfits)}; "
            "use the tokenizer that the model was trained with"
        )
    if tokenizer.pad_token_id is not None:
        # Heads of decoders read the last token that is not this one.
        for config in (model.config, model.config.get_text_config()):
            config.pad_token_id = tokenizer.pad_token_id
    reads_last = getattr(model.config, "summary_type", None) == "last"  # XLNet
    tokenizer.padding_side = "left" if reads_last else "right"
    if getattr(model.config, "attention_type", None) == "block_sparse":
        # BigBird takes sparse attention for long batches and full attention for short ones.
        say("model: full attention at all lengths, so that predictions do not depend on the batch")
        model.config.attention_type = "original_full"
        for module in model.modules():
            if hasattr(module, "set_attention_type"):
                module.set_attention_type("original_full")


def positions_of(config: PretrainedConfig) -> int | None:
    """How many positions a model has; None where there is no limit, which XLNet writes as −1."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return positions if positions and positions > 0 else None


def require_positions(
    model: PreTrainedModel, max_length: int, key: str = "task.max_length"
) -> None:
    """Raise a UserError if inputs may be longer than the model can take.

    Args:
        max_length: tokens, special ones included.
        key: where `max_length` was given, for the message.
    """
    positions = positions_of(model.config)
    if positions and max_length > (longest := positions - _unused_positions(model)):
        raise UserError(
            f"{key}={max_length}: {type(model).__name__} takes at most {longest} tokens"
        )


def read_as_text(model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Let the tokenizer of an encoder-decoder read `</s>` in a text as text: it would end it there.

    Elsewhere special tokens end nothing, and people put `[SEP]` or markers into texts on purpose.
    """
    if model.config.is_encoder_decoder:
        tokenizer.split_special_tokens = True
        tokenizer.init_kwargs["split_special_tokens"] = True  # to be saved


def _unused_positions(model: PreTrainedModel) -> int:
    """RoBERTa and its kin number positions from behind the id of the padding token."""
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.rpartition(".")[2] == "position_embeddings" and padding is not None:
            return int(padding) + 1
    return 0


def _set_inputs(model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Leave out what the model does not take, and token types if it knows a single one."""
    taken = set(inspect.signature(model.forward).parameters)
    if _token_types(model) < 2:
        taken.discard("token_type_ids")
    tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name in taken]
    tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names  # to be saved


def _token_types(model: PreTrainedModel) -> int:
    """How many kinds of segments a model knows; GPT-2 looks `token_type_ids` up among the words."""
    if any(name.endswith(".seg_embed") for name, _ in model.named_parameters()):
        return 4  # of XLNet and Funnel: two texts, the classification token, padding
    return getattr(model.config, "type_vocab_size", None) or 0


def _misfits(model: PreTrainedModel, tokenizer: Tokenizer) -> Iterator[str]:
    """What cannot be settled."""
    config, pad = model.config, tokenizer.pad_token_id
    model_pad = getattr(config, "pad_token_id", None)
    try:
        rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:  # CANINE hashes characters
        rows = None
    largest = max(tokenizer.get_vocab().values(), default=0) if rows else 0
    if rows and largest >= rows:
        yield f"the tokenizer has ids up to {largest}, the model an embedding of {rows} rows"
    types = max(tokenizer("a", "a").get("token_type_ids", []), default=0)
    if types and types >= _token_types(model):
        yield f"the tokenizer gives token type {types}, the model knows {_token_types(model)} types"
    # The blocks of masked language modelling have one length.
    is_masked_lm = type(model) is MODEL_FOR_MASKED_LM_MAPPING.get(type(config), None)
    if pad is None and not is_masked_lm:
        yield "the tokenizer names no pad_token (tokenizer_config.json), nor an eos_token to pad with"
    # Positions are counted from the padding token, and decoders start with it.
    elif pad not in (None, model_pad) and (_unused_positions(model) or config.is_encoder_decoder):
        yield f"the model pads with token {model_pad}, the tokenizer with {pad}"
    end = getattr(config, "eos_token_id", None) if config.is_encoder_decoder else None
    ends = end if isinstance(end, list) else [end]
    if end is not None and not set(ends) & set(tokenizer("a")["input_ids"]):
        yield f"a text of the model ends with token {end} (eos_token_id), one of the tokenizer does not"
