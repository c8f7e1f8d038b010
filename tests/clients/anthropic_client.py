"""anthropic's Python SDK against a server: usage anthropic_client.py URL MODEL. Holds for any model, random weights too."""
import sys

import anthropic

url, model = sys.argv[1:3]
client = anthropic.Anthropic(base_url=url, api_key='EMPTY', max_retries=0, timeout=60)
ask = dict(model=model, max_tokens=12, messages=[{'role': 'user', 'content': 'the village'}], extra_body={'temperature': 0})
tool = {'name': 'add', 'description': 'Adds.', 'input_schema': {
    'type': 'object', 'properties': {'a': {'type': 'integer', 'minimum': 0, 'maximum': 9}}, 'required': ['a']}}
plain = {'type': 'disabled'}  # A random model would think to its end.


def equal(a, b, what):
    assert a == b, f'{what}: {a!r} is not {b!r}'


def raises(kind, call, type_):
    try:
        call()
    except kind as error:
        equal(error.body['type'], 'error', 'type of the body')
        equal(error.body['error']['type'], type_, 'type of the error')
        return error
    raise AssertionError(f'{kind.__name__} was not raised')


def blocks(message):
    return [(b.type, getattr(b, 'thinking', None) or getattr(b, 'text', None) or getattr(b, 'input', None)) for b in message.content]


def messages():
    whole = client.messages.create(**ask, system='Be brief.')
    equal(whole.role, 'assistant', 'role')
    assert whole.stop_reason in ('end_turn', 'max_tokens') and whole.usage.output_tokens > 0
    with client.messages.stream(**ask, system='Be brief.') as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    equal(blocks(final), blocks(whole), 'streamed blocks')
    equal(final.usage.output_tokens, whole.usage.output_tokens, 'streamed usage')
    equal((kinds[0], kinds[-1]), ('message_start', 'message_stop'), 'outer events')
    with client.messages.stream(**ask) as stream:
        ''.join(stream.text_stream)
    parts = client.messages.create(**{**ask, 'messages': [{'role': 'user', 'content': [{'type': 'text', 'text': 'the '}, {'type': 'text', 'text': 'village'}]}]})
    assert parts.usage.input_tokens > 0
    stopped = client.messages.create(**ask, stop_sequences=['e'])
    assert stopped.stop_reason in ('stop_sequence', 'max_tokens', 'end_turn')


def tools():
    forced = {**ask, 'max_tokens': 600, 'tools': [tool], 'tool_choice': {'type': 'tool', 'name': 'add'}, 'thinking': plain}
    whole = client.messages.create(**forced)
    equal(whole.stop_reason, 'tool_use', 'stop_reason')
    call = next(b for b in whole.content if b.type == 'tool_use')
    assert call.name == 'add' and 0 <= call.input['a'] <= 9
    with client.messages.stream(**forced) as stream:
        for _ in stream:
            pass
        final = stream.get_final_message()
    equal(blocks(final), blocks(whole), 'streamed call')
    turn = [*ask['messages'], {'role': 'assistant', 'content': [b.model_dump(exclude_none=True) for b in whole.content]},
            {'role': 'user', 'content': [{'type': 'tool_result', 'tool_use_id': call.id, 'content': [{'type': 'text', 'text': '9'}]}]}]
    assert client.messages.create(**{**ask, 'messages': turn, 'tools': [tool]}).usage.input_tokens > 0


def count_tokens():
    counted = client.messages.count_tokens(model=model, messages=ask['messages']).input_tokens
    equal(counted, client.messages.create(**ask).usage.input_tokens, 'counted tokens')
    assert client.messages.count_tokens(model=model, messages=ask['messages'], tools=[tool]).input_tokens > counted


def errors():
    error = raises(anthropic.BadRequestError, lambda: client.messages.create(**{**ask, 'messages': []}), 'invalid_request_error')
    assert error.request_id
    raises(anthropic.NotFoundError, lambda: client.messages.create(**{**ask, 'model': 'other'}), 'not_found_error')
    raises(anthropic.BadRequestError, lambda: client.messages.create(**{**ask, 'max_tokens': 0}), 'invalid_request_error')
    long = [{'role': 'user', 'content': 'village ' * 20000}]
    error = raises(anthropic.BadRequestError, lambda: client.messages.create(**{**ask, 'messages': long}), 'invalid_request_error')
    assert 'maximum context length' in str(error)


for check in (messages, tools, count_tokens, errors):
    check()
    print('anthropic', anthropic.__version__, check.__name__, flush=True)
