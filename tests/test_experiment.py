"""What a run checks before its first step."""

import pytest
import torch
import transformers

from expkit.models.fit import require_positions
from expkit.terminal.errors import UserError

SMALL = {
    "vocab_size": 100,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
}


@pytest.mark.parametrize(
    ("kind", "longest"),
    [("Bert", 20), ("Roberta", 18), ("XLMRoberta", 18), ("MPNet", 18), ("Camembert", 18)],
)
def test_the_longest_input_that_a_model_can_take_is_known(kind: str, longest: int) -> None:
    """RoBERTa and its kin number positions from 2 on."""
    config = getattr(transformers, f"{kind}Config")(**SMALL)
    model = getattr(transformers, f"{kind}ForMaskedLM")(config).eval()
    ids = torch.full((1, longest), 7)
    require_positions(model, longest)
    assert model(input_ids=ids).logits.shape == (1, longest, 100)
    with pytest.raises(UserError, match=rf"task.block_size={longest + 1}: .*at most {longest} "):
        require_positions(model, longest + 1, "task.block_size")
