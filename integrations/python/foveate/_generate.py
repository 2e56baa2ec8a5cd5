"""Rows of batches through an engine."""

from ._engine import Engine, EngineError


class Generate:
    """Answers a column of prompts: ``dataset.map_batches(foveate.Generate, fn_constructor_kwargs={...}, concurrency=2)``.

    Each worker starts one engine with its first batch. If a worker dies, Ray gives its batch to another one. Answers are
    greedy by default, so the repeated batch has the same rows; with a ``temperature`` that needs a ``seed`` in ``options``.

    :param model: as for :class:`Engine`.
    :param column: the column of prompts.
    :param output: the column of answers; ``None`` in a row whose prompt was refused.
    :param errors: the column of reasons; empty where there is an answer.
    :param chat: if true, prompts are messages in the model's chat template; if false, texts to continue.
    :param options: fields of the request, such as ``max_tokens``.
    :param flags: flags of ``foveate serve``.
    """

    def __init__(
        self, model="smollm2-135m", *, column="prompt", output="text", errors="error", chat=False, options=None, flags=None
    ):
        self._model, self._flags, self._engine = model, dict(flags or {}), None
        self._column, self._output, self._errors, self._chat = column, output, errors, chat
        self._options = {"temperature": 0, "max_tokens": 64, **(options or {})}

    def _body(self, prompt):
        if self._chat:
            return {**self._options, "messages": [{"role": "user", "content": str(prompt)}]}
        return {**self._options, "prompt": str(prompt)}

    def __call__(self, batch):
        if self._engine is None:
            self._engine = Engine(self._model, **self._flags)
        path = "/v1/chat/completions" if self._chat else "/v1/completions"
        answers = self._engine.ask_all(path, [self._body(prompt) for prompt in batch[self._column]])
        texts, errors = [], []
        for answer in answers:
            refused = isinstance(answer, EngineError)
            errors.append(str(answer) if refused else "")
            if refused:
                texts.append(None)
                continue
            choice = answer["choices"][0]
            texts.append(choice["message"]["content"] if self._chat else choice["text"])
        return {**batch, self._output: texts, self._errors: errors}
