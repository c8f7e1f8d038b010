"""openai's Python SDK against a server: usage openai_client.py URL MODEL [CONTEXT_TOKENS]. Holds for any model, random weights too."""
import json
import sys

import openai
from pydantic import BaseModel, Field

url, model = sys.argv[1:3]
client = openai.OpenAI(base_url=url + '/v1', api_key='EMPTY', max_retries=0, timeout=60)
ask = dict(model=model, messages=[{'role': 'user', 'content': 'the village'}], temperature=0, max_tokens=12)
plain = {'chat_template_kwargs': {'enable_thinking': False}}  # A random model would think to its end.


def equal(a, b, what):
    assert a == b, f'{what}: {a!r} is not {b!r}'


def raises(kind, call, **found):
    try:
        call()
    except kind as error:
        for name, value in found.items():
            equal(getattr(error, name), value, f'{kind.__name__}.{name}')
        return error
    raise AssertionError(f'{kind.__name__} was not raised')


def models():
    assert model in [m.id for m in client.models.list()]
    equal(client.models.retrieve(model).id, model, 'retrieved')
    raises(openai.NotFoundError, lambda: client.models.retrieve('no-such-model'), code='model_not_found')


def chat():
    raw = client.chat.completions.with_raw_response.create(**ask)
    whole = raw.parse()
    choice = whole.choices[0]
    assert choice.finish_reason in ('stop', 'length')
    usage = whole.usage
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens, 'total_tokens')
    assert raw.request_id and whole._request_id == raw.request_id
    said = {'content': '', 'reasoning_content': ''}
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={'include_usage': True}))
    equal(chunks[0].choices[0].delta.role, 'assistant', 'first role')
    for chunk in chunks:
        for part in chunk.choices:
            for name in said:
                said[name] += getattr(part.delta, name, None) or ''
    equal(said['content'], choice.message.content or '', 'streamed content')
    equal(said['reasoning_content'], getattr(choice.message, 'reasoning_content', None) or '', 'streamed reasoning')
    equal(chunks[-1].choices, [], 'choices of the usage chunk')
    equal(chunks[-1].usage.completion_tokens, usage.completion_tokens, 'streamed usage')
    with client.chat.completions.stream(**ask) as stream:  # The SDK's accumulator.
        for _ in stream:
            pass
        try:
            final = stream.get_final_completion().choices[0]
        except openai.LengthFinishReasonError as cut:
            final = cut.completion.choices[0]
    equal(final.message.content or '', choice.message.content or '', 'accumulated content')
    equal(final.finish_reason, choice.finish_reason, 'accumulated finish')
    several = client.chat.completions.create(**{**ask, 'n': 3, 'temperature': 1, 'seed': 5})
    equal([c.index for c in several.choices], [0, 1, 2], 'choices')


def logprobs():
    choice = client.chat.completions.create(**ask, logprobs=True, top_logprobs=3, extra_body=plain).choices[0]
    for token in choice.logprobs.content:
        equal(bytes(token.bytes).decode(errors='replace'), token.token, 'bytes of a token')
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        equal(token.top_logprobs[0].logprob, token.logprob, 'the greedy token is the likeliest')


class Person(BaseModel):
    kind: str = Field(pattern='^(village|farm)$')
    age: int = Field(ge=0, le=99)


def structured():
    bound = {**ask, 'max_tokens': 600}
    parsed = client.chat.completions.parse(**bound, response_format=Person, extra_body=plain).choices[0].message.parsed
    assert isinstance(parsed, Person)
    with client.chat.completions.stream(**bound, response_format=Person, extra_body=plain) as stream:
        for _ in stream:
            pass
        equal(stream.get_final_completion().choices[0].message.parsed, parsed, 'parsed from a stream')
    error = raises(openai.LengthFinishReasonError, lambda: client.chat.completions.parse(
        **{**ask, 'max_tokens': 1}, response_format=Person, extra_body=plain))
    assert error.completion.usage.completion_tokens == 1
    answer = client.responses.parse(model=model, input='the village', text_format=Person, temperature=0, max_output_tokens=600, reasoning={'effort': 'none'})
    assert isinstance(answer.output_parsed, Person)


def tools():
    function = openai.pydantic_function_tool(Person, name='describe')  # strict
    forced = {**ask, 'max_tokens': 600, 'tools': [function], 'tool_choice': 'required', 'parallel_tool_calls': False, 'extra_body': plain}
    choice = client.chat.completions.create(**forced).choices[0]
    equal(choice.finish_reason, 'tool_calls', 'finish of a call')
    call = choice.message.tool_calls[0]
    equal(call.function.name, 'describe', 'name of the call')
    Person.model_validate_json(call.function.arguments)
    with client.chat.completions.stream(**forced) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion().choices[0].message.tool_calls[0]
    equal(final.function.arguments, call.function.arguments, 'arguments from a stream')
    assert isinstance(final.function.parsed_arguments, Person)
    named = client.chat.completions.create(**{**forced, 'tool_choice': {'type': 'function', 'function': {'name': 'describe'}}})
    equal(named.choices[0].message.tool_calls[0].function.name, 'describe', 'named call')
    none = client.chat.completions.create(**{**forced, 'tool_choice': 'none', 'max_tokens': 8})
    assert not none.choices[0].message.tool_calls
    turn = [*ask['messages'], choice.message.model_dump(exclude_none=True), {'role': 'tool', 'tool_call_id': call.id, 'content': 'done'}]
    assert client.chat.completions.create(**{**ask, 'messages': turn, 'tools': [function]}).usage.prompt_tokens > 0


def completions():
    answer = client.completions.create(model=model, prompt=['the', 'village'], max_tokens=4, n=2, echo=True, logprobs=2, temperature=1, seed=3)
    equal([c.index for c in answer.choices], [0, 1, 2, 3], 'choices')
    for choice, prompt in zip(answer.choices, ('the', 'the', 'village', 'village')):
        assert choice.text.startswith(prompt)
        scored = choice.logprobs
        equal(scored.token_logprobs[0], None, 'first score')
        assert all(s <= 0 for s in scored.token_logprobs[1:])
        equal(len({len(scored.tokens), len(scored.token_logprobs), len(scored.top_logprobs), len(scored.text_offset)}), 1, 'lengths')
    text = ''.join(c.choices[0].text for c in client.completions.create(model=model, prompt='the', max_tokens=6, temperature=0, stream=True) if c.choices)
    equal(text, client.completions.create(model=model, prompt='the', max_tokens=6, temperature=0).choices[0].text, 'streamed text')


def responses():
    asked = dict(model=model, input='the village', temperature=0, max_output_tokens=20, reasoning={'effort': 'none'})
    whole = client.responses.create(**asked)
    assert whole.status in ('completed', 'incomplete') and whole.usage.output_tokens > 0
    with client.responses.stream(**asked) as stream:
        events = list(stream)
    equal([e.type for e in events[:2]], ['response.created', 'response.in_progress'], 'first events')
    equal(events[-1].type, 'response.' + whole.status, 'last event')  # get_final_response() knows completed ones alone.
    equal(events[-1].response.output_text, whole.output_text, 'streamed response')
    tool = {'type': 'function', 'name': 'describe', 'parameters': Person.model_json_schema(), 'strict': True}
    called = client.responses.create(**{**asked, 'max_output_tokens': 600}, tools=[tool], tool_choice='required', parallel_tool_calls=False)
    call = next(o for o in called.output if o.type == 'function_call')
    Person.model_validate_json(call.arguments)
    back = client.responses.create(**{**asked, 'input': [
        {'role': 'user', 'content': 'the village'}, call.model_dump(exclude_none=True),
        {'type': 'function_call_output', 'call_id': call.call_id, 'output': 'done'}]})
    assert back.usage.input_tokens > 0
    raises(openai.BadRequestError, lambda: client.responses.create(**asked, previous_response_id='resp_1'), param='previous_response_id')


def errors():
    wrong = lambda **fields: lambda: client.chat.completions.create(**{**ask, **fields})
    raises(openai.BadRequestError, wrong(top_p=3), param='top_p', status_code=400)
    raises(openai.BadRequestError, wrong(messages=[]), param='messages')
    raises(openai.NotFoundError, wrong(model='other'), code='model_not_found')
    error = raises(openai.BadRequestError, wrong(messages=[{'role': 'user', 'content': 'village ' * 20000}]), code='context_length_exceeded')
    assert 'maximum context length' in str(error) and error.body['n_prompt_tokens'] > error.body['n_ctx']
    raises(openai.InternalServerError, lambda: client.embeddings.create(model=model, input='x'), status_code=501)
    gone = openai.OpenAI(base_url=url + '/v2', api_key='EMPTY', max_retries=0)
    raises(openai.NotFoundError, lambda: gone.chat.completions.create(**ask))
    bare = openai.OpenAI(base_url=url, api_key='EMPTY', max_retries=0)  # Without /v1.
    assert bare.chat.completions.create(**ask).choices


def leaving():
    stream = client.chat.completions.create(**{**ask, 'max_tokens': None}, stream=True, extra_body={'ignore_eos': True})
    for _, _chunk in zip(range(3), stream):
        pass
    stream.close()
    assert client.chat.completions.create(**ask).choices


for check in (models, chat, logprobs, structured, tools, completions, responses, errors, leaving):
    check()
    print('openai', openai.__version__, check.__name__, flush=True)
