"""A model that starts from a checkpoint: a folder, a hub name, or a folder inside a package."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from expkit.config.constraints import at_least
from expkit.config.fingerprint import digest_of_content
from expkit.config.fitting import package_folder
from expkit.data.labels import bare
from expkit.models.head import Head, auto_class, head_modules
from expkit.terminal.display import say
from expkit.terminal.errors import UserError, reason


@contextmanager
def _unset_memory_is_nan() -> Iterator[None]:
    """Transformers allots memory for weights that a checkpoint lacks, and leaves some of it as it is."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("warn")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


class Checkpoint:
    """Loads safetensors only, and never code.

    Args:
        path: a folder, a name on the Hugging Face hub, or `pkg://module/folder`; a folder may be
            followed by `#sha256=…`, the digest that its model.safetensors must have.
        revision: branch, tag or commit of a hub checkpoint.
        dropout: replaces every dropout probability of the model's config.
        attention_modules: names of the attention projections, for `lora=attention`.
    """

    def __init__(
        self,
        path: str,
        revision: str | None = None,
        dropout: Annotated[float, at_least(0, below=1)] | None = None,
        attention_modules: Iterable[str] = (),
    ) -> None:
        self.path, _, digest = path.partition("#sha256=")
        self._location = _location(self.path)
        self._options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
        self._dropout = dropout
        if digest:
            _verify(Path(self._location) / "model.safetensors", digest)

    def tokenizer(self, texts: Iterable[str]) -> Tokenizer:
        """The tokenizer of the checkpoint; `texts` are not needed."""
        try:
            return AutoTokenizer.from_pretrained(self._location, **self._options)
        except (OSError, ValueError) as error:
            raise self._failure("tokenizer", error) from error

    @_unset_memory_is_nan()
    def build(self, head: Head, tokenizer: Tokenizer) -> PreTrainedModel:
        """The model in fp32 with the head that the task needs.

        Raises:
            UserError: no such checkpoint, no safetensors, weights that do not fit the model, or a type
                of model without this head.
        """
        try:
            config = AutoConfig.from_pretrained(self._location, **self._options)
            trained = list((config.id2label or {}).values())
            config.update(head.config)
            if self._dropout is not None:
                _set_dropout(config, self._dropout)
            model, loading = auto_class(head, config, f"model.path={self.path!r}").from_pretrained(
                self._location,
                **self._options,
                config=config,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, SafetensorError) as error:
            raise self._failure("model", error) from error
        self._require_body(model, loading)
        if "id2label" in head.config:
            model.head_goes_on = self._follow_labels(model, trained, loading)
        _set_what_is_unset(model, loading["missing_keys"])
        model.config._name_or_path = self.path
        return model

    def _require_body(self, model: PreTrainedModel, loading: dict[str, Any]) -> None:
        """Only the head may start from random weights."""
        heads = tuple(f"{name}." for name in head_modules(model))
        lacking = {*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])}
        bad = sorted(name for name in lacking if not name.startswith(heads))
        if bad:
            raise UserError(
                f"model.path={self.path!r}: {len(bad)} weights of {type(model).__name__} are missing "
                f"from the checkpoint or have another shape, among them {', '.join(bad[:3])}"
            )

    def _follow_labels(
        self, model: PreTrainedModel, trained: list[str], loading: dict[str, Any]
    ) -> bool:
        """Give each label the row of the head that was trained for it; other labels get a new head.

        Returns whether the checkpoint's own head goes on. Rows whose labels the checkpoint does not name stay where they are. Whatever changes is said.

        Raises:
            UserError: rows would have to move, and nothing says where they are.
        """
        labels, heads = list(model.config.id2label.values()), tuple(head_modules(model))
        linear = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
        of_labels = [(n, m) for n, m in linear if m.out_features == len(labels)]
        name, output = next((x for x in of_labels[::-1] if x[0].startswith(heads)), ("", None))
        if f"{name}.weight" in loading["missing_keys"]:
            return False
        if trained == labels:
            return True
        if output is None:
            raise UserError(
                f"model.path={self.path!r}: no linear layer of the head of {type(model).__name__} "
                f"gives labels their scores; it has to keep its labels {', '.join(trained):.200}"
            )
        rows, goes_on = {bare(label): row for row, label in enumerate(trained)}, True
        if trained == list(PretrainedConfig(num_labels=len(labels)).id2label.values()):
            done = "does not name its labels, which are taken to be, in this order,"
        elif len(rows) == len(trained) and rows.keys() == {bare(label) for label in labels}:
            order = [rows[bare(label)] for label in labels]
            for weights in output.state_dict().values():
                weights.copy_(weights[order])
            done = f"was trained for the labels {', '.join(trained)}; each goes on as one of"
        else:
            for weights in output.parameters():
                weights._is_hf_initialized = False  # type: ignore[attr-defined]
            model._init_weights(output)
            goes_on = False
            done = f"was trained for the labels {', '.join(trained):.200}; it starts anew for"
        say(f"model.path={self.path!r}: its head {done} {', '.join(labels):.200}")
        return goes_on

    def _failure(self, what: str, error: Exception) -> UserError:
        return UserError(f"model.path={self.path!r}: its {what} cannot be loaded: {reason(error)}")


def is_on_hub(path: str) -> bool:
    """Whether `model.path` names a checkpoint that may have to be downloaded."""
    return not path.startswith("pkg://") and not Path(path.partition("#")[0]).expanduser().is_dir()


def _location(path: str) -> str:
    if path.startswith("pkg://"):
        return str(package_folder(path))
    folder = Path(path).expanduser()
    return str(folder.resolve()) if folder.is_dir() else path


def _set_what_is_unset(model: PreTrainedModel, missing: Iterable[str]) -> None:
    """New weights that no one has initialised get the values of a new model, as Longformer's lm_head.bias."""
    weights = model.state_dict()
    if unset := [name for name in missing if not weights[name].isfinite().all()]:
        with torch.random.fork_rng(devices=[]):
            fresh = type(model)(model.config).state_dict()
        for name in unset:
            if not fresh[name].isfinite().all():
                raise UserError(f"model: {type(model).__name__} does not initialise its {name}")
            weights[name].copy_(fresh[name])


def _verify(weights: Path, digest: str) -> None:
    if (found := digest_of_content(weights)) != digest:
        raise UserError(f"{weights}: its sha256 is {found}, but {digest} was expected")


def _set_dropout(config: PretrainedConfig, probability: float) -> None:
    for name, value in config.to_dict().items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if "dropout" in name and (is_number or name == "classifier_dropout"):
            setattr(config, name, probability)
