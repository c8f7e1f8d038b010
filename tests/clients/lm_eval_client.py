"""lm-eval's local-completions and local-chat-completions against a server, on three items of our own: usage lm_eval_client.py URL MODEL."""
import os
import pathlib
import shutil
import sys
import tempfile

os.environ.update(HF_DATASETS_OFFLINE='1', HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false', OPENAI_API_KEY='EMPTY')
url, model = sys.argv[1:3]
here = pathlib.Path(__file__).resolve().parent
work = tempfile.TemporaryDirectory()
os.environ['HF_HOME'] = work.name
for name in ('sums.yaml', 'words.yaml', 'sums.jsonl'):
    text = (here / name).read_text().replace('test: sums.jsonl', f'test: {work.name}/sums.jsonl')
    (pathlib.Path(work.name) / name).write_text(text)

import lm_eval
from importlib.metadata import version
from lm_eval.tasks import TaskManager

manager = TaskManager(include_path=work.name, include_defaults=False)


def run(kind, path, tasks, chat, more=''):
    args = f'model={model},base_url={url}{path},num_concurrent=2,max_retries=1{more}'
    results = lm_eval.simple_evaluate(model=kind, model_args=args, tasks=tasks, task_manager=manager, apply_chat_template=chat, bootstrap_iters=0)['results']
    for task in tasks:
        assert any(isinstance(value, float) and 0 <= value <= 1 for value in results[task].values()), results
    print('lm-eval', version('lm_eval'), kind, {t: [v for v in results[t].values() if isinstance(v, float)] for t in tasks}, flush=True)
    return results


run('local-completions', '/v1/completions', ['dure_sums', 'dure_words'], False, ',tokenizer_backend=remote')
run('local-chat-completions', '/v1/chat/completions', ['dure_words'], True)
work.cleanup()
