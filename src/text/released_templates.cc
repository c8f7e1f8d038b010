// The templates that released models carry, as text: see released_chat_template() in
// chat_template.h.
//
// They use only what every engine for such templates has: no {% generation %}, no recent filters.
#include <string>

#include "text/chat_template.h"

namespace dure {
namespace {

constexpr const char* kHead =
    R"jinja({#- K-EXAONE's chat format. Variables: messages, tools, add_generation_prompt, enable_thinking (true), preserve_thinking (false). -#}
{%- macro text_of(content) %}
    {%- if content is string %}
        {{- content }}
    {%- elif content is iterable and content is not mapping %}
        {%- for part in content %}
            {{- part if part is string else part.text }}
        {%- endfor %}
    {%- endif %}
{%- endmacro %}
{%- if tools %}
    {{- '<|tool_declare|>\n# Tools\n' }}
    {%- for tool in tools %}
        {{- '<tool>' + (tool | tojson) + '</tool>\n' }}
    {%- endfor %}
    {{- '<|endofturn|>\n' }}
{%- endif %}
{%- set ns = namespace(last_user=-1) %}
{%- if not preserve_thinking %}
    {%- for message in messages %}
        {%- if message.role == 'user' %}
            {%- set ns.last_user = loop.index0 %}
        {%- endif %}
    {%- endfor %}
{%- endif %}
{%- for message in messages %}
    {%- set content = text_of(message.content) %}
    {%- if message.role in ['system', 'developer', 'user'] %}
        {{- '<|' + ('user' if message.role == 'user' else 'system') + '|>\n' + content | trim + '<|endofturn|>\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set reasoning = text_of(message.reasoning_content or message.reasoning) | trim %}
        {{- '<|assistant|>\n<think>\n' + (reasoning if loop.index0 > ns.last_user else '') + '\n</think>\n\n' + content | trim }}
        {%- for call in message.tool_calls or [] %}
            {%- set function = call.function if call.function is defined else call %}
            {%- set arguments = function.arguments if function.arguments is defined and function.arguments is not none else {} %}
            {%- if not loop.first or content | trim %}
                {{- '\n' }}
            {%- endif %}
)jinja";

constexpr const char* kK1Call =
    R"jinja(            {{- '<tool_call>{"name": ' + (function.name | tojson) + ', "arguments": ' }}
            {{- arguments if arguments is string else arguments | tojson }}
            {{- '}</tool_call>' }}
)jinja";

constexpr const char* kK2Call = R"jinja(            {%- if arguments is not mapping %}
                {{- raise_exception('the arguments of a tool call should be an object: ' + function.name) }}
            {%- endif %}
            {{- '<tool_call>\n<function=' + function.name + '>\n' }}
            {%- for key, value in arguments.items() %}
                {{- '<parameter=' + key + '>\n' + (value if value is string else value | tojson) + '\n</parameter>\n' }}
            {%- endfor %}
            {{- '</function>\n</tool_call>' }}
)jinja";

constexpr const char* kTail = R"jinja(        {%- endfor %}
        {{- '<|endofturn|>\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|tool|>\n' if loop.first or loop.previtem.role != 'tool' else '\n' }}
        {{- '<tool_result>' + content + '</tool_result>' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}
            {{- '<|endofturn|>\n' }}
        {%- endif %}
    {%- else %}
        {{- raise_exception('unknown role: ' ~ message.role) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>\n<think>\n' }}
    {%- if enable_thinking is defined and not enable_thinking %}
        {{- '\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
)jinja";

}  // namespace

std::string_view released_chat_template(ChatFormat format) {
  static const std::string k1 = std::string(kHead) + kK1Call + kTail;
  static const std::string k2 = std::string(kHead) + kK2Call + kTail;
  return format == ChatFormat::kK1 ? k1 : k2;
}

}  // namespace dure
