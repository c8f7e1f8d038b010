"""What the SDKs make of 503 and 429: usage retries_client.py URL MODEL.

The server reads its model until this prints "loading"; it has one place, and one may wait."""
import sys
import threading

import anthropic
import openai

url, model = sys.argv[1:3]
ask = dict(model=model, messages=[{'role': 'user', 'content': 'the village'}], max_tokens=2)


def sdk(retries):
    return openai.OpenAI(base_url=url + '/v1', api_key='EMPTY', max_retries=retries)


def refused(kind, call, status):
    try:
        call()
    except kind as error:
        assert error.status_code == status, error
        assert int(error.response.headers['retry-after']) >= 1
        return error
    raise AssertionError(f'{status} was not raised')


error = refused(openai.InternalServerError, lambda: sdk(0).chat.completions.create(**ask), 503)
assert error.code == 'loading', error
strict = anthropic.Anthropic(base_url=url, api_key='EMPTY', max_retries=0)
error = refused(anthropic.APIStatusError, lambda: strict.messages.create(**ask), 503)
assert error.body['error']['type'] in ('overloaded_error', 'api_error'), error.body
print('loading', flush=True)
assert sdk(8).chat.completions.create(**ask).usage.completion_tokens == 2
assert anthropic.Anthropic(base_url=url, api_key='EMPTY', max_retries=8).messages.create(**ask).usage.output_tokens == 2

endless = {**ask, 'max_tokens': 90000, 'stream': True, 'extra_body': {'ignore_eos': True}}
streams = [sdk(0).chat.completions.create(**endless) for _ in range(2)]
next(iter(streams[0]))
error = refused(openai.RateLimitError, lambda: sdk(0).chat.completions.create(**ask), 429)
assert error.code == 'queue_full', error
error = refused(anthropic.RateLimitError, lambda: strict.messages.create(**ask), 429)
assert error.body['error']['type'] == 'rate_limit_error', error.body
threading.Timer(0.3, lambda: [stream.close() for stream in streams]).start()
assert sdk(8).chat.completions.create(**ask).usage.completion_tokens == 2
print('retries: openai', openai.__version__, 'anthropic', anthropic.__version__, flush=True)
