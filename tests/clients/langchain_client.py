"""LangChain's ChatOpenAI against a server: usage langchain_client.py URL MODEL. Holds for any model, random weights too."""
import sys
from importlib.metadata import version

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

url, model = sys.argv[1:3]


def chat(tokens):
    return ChatOpenAI(base_url=url + '/v1', api_key='EMPTY', model=model, temperature=0, max_tokens=tokens, max_retries=0,
                      extra_body={'chat_template_kwargs': {'enable_thinking': False}})


class Person(BaseModel):
    """A person of the village."""
    kind: str = Field(pattern='^(village|farm)$')
    age: int = Field(ge=0, le=99)


def invoke():
    whole = chat(12).invoke('the village')
    assert whole.usage_metadata['output_tokens'] > 0
    assert whole.response_metadata['finish_reason'] in ('stop', 'length')
    chunks = list(chat(12).stream('the village', stream_usage=True))
    assert ''.join(c.content for c in chunks) == whole.content
    assert sum(c.usage_metadata['output_tokens'] for c in chunks if c.usage_metadata) == whole.usage_metadata['output_tokens']
    assert len(chat(4).batch(['the village', 'the farm', 'the work'])) == 3


def bind_tools():
    bound = chat(600).bind_tools([Person], tool_choice='required', strict=True, parallel_tool_calls=False)
    answer = bound.invoke('the village')
    call = answer.tool_calls[0]
    assert call['name'] == 'Person' and Person.model_validate(call['args'])
    streamed = None
    for chunk in bound.stream('the village'):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed.tool_calls[0]['args'] == call['args'], streamed.tool_calls
    turn = [HumanMessage('the village'), AIMessage('', tool_calls=answer.tool_calls), ToolMessage('done', tool_call_id=call['id'])]
    assert chat(4).bind_tools([Person]).invoke(turn).usage_metadata['input_tokens'] > 0


def structured():
    for method in ('json_schema', 'function_calling'):
        answer = chat(600).with_structured_output(Person, method=method, strict=True).invoke('the village')
        assert isinstance(answer, Person), answer


for check in (invoke, bind_tools, structured):
    check()
    print('langchain-openai', version('langchain-openai'), check.__name__, flush=True)
