"""How an encoder-decoder generates, and what it has to have before it can."""

from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from expkit.models.fit import positions_of
from expkit.terminal.errors import UserError


def generation_settings(
    num_beams: int, max_new_tokens: int, length_penalty: float
) -> dict[str, Any]:
    """Settings of `generate`; None for those of a checkpoint that would contradict the others."""
    settings = {
        "max_new_tokens": max_new_tokens,
        "max_length": None,
        "do_sample": False,
        "num_beams": num_beams,
        "use_cache": True,
    }
    if num_beams == 1:
        return {**settings, "length_penalty": None, "early_stopping": None}
    return {**settings, "length_penalty": length_penalty}


def require_generation(model: PreTrainedModel, tokenizer: Tokenizer, max_new_tokens: int) -> None:
    """Raise a UserError unless the model can make decoder inputs from labels, and generate.

    Args:
        max_new_tokens: the longest output that will be asked for.
    """
    name = type(model).__name__
    if hasattr(tokenizer, "tgt_lang"):
        raise UserError(
            f"model: {type(tokenizer).__name__} writes a code of its own for the language into each text "
            f"(now {tokenizer.src_lang!r}), and expkit does not set such codes; use a model for one pair "
            "of languages (model=opus_mt_zh_ja is one), or one of T5's kind (model=t5_small)"
        )
    if not hasattr(model, "prepare_decoder_input_ids_from_labels"):
        raise UserError(f"model: {name} does not make decoder inputs from labels")
    _require_start_and_padding(model)
    positions = positions_of(model.config) or max_new_tokens
    if max_new_tokens > positions:
        raise UserError(
            f"task.max_new_tokens={max_new_tokens}: {name} generates at most {positions} tokens"
        )


def _require_start_and_padding(model: PreTrainedModel) -> None:
    """Training shifts labels with the model's config, generation starts by the generation config."""
    name = type(model).__name__
    start = getattr(model.config, "decoder_start_token_id", None)
    if start is None:
        raise UserError(
            f"model: the config of {name} has no decoder_start_token_id, so it is unknown what the "
            "decoder starts with (in T5 and Marian the padding token); add it to config.json"
        )
    generation = model.generation_config
    generated = generation.decoder_start_token_id
    if generated not in (None, start):
        raise UserError(
            f"model: {name} is trained to start with token {start} (config.json), but generates from "
            f"{generated} (generation_config.json)"
        )
    generation.update(decoder_start_token_id=start, pad_token_id=model.config.pad_token_id)
