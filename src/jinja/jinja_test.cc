// What the subset does beyond the goldens (tests/chat_golden_test.cc), and how it refuses the rest:
// by name, with the line. The expected texts are jinja2's.
#include <gtest/gtest.h>

#include "jinja/template.h"

namespace dure::jinja {
namespace {

std::string render(const std::string& text) {
  try {
    return Template(text, "t").render(Json::object());
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(Jinja, RendersAsJinja2Does) {
  const std::pair<const char*, const char*> cases[] = {
      {"{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 1 ~ 'a' }}", "64 4 -4 2 1a"},
      {"{{ 1 < 2 > 3 }} {{ [1] == [1.0] }} {{ not 1 == 2 }} {{ 'a' < 'b' < 'c' }}",
       "False True True True"},
      {"{{ 'h\\u00e9llo'[1:3] }} {{ [1, 2, 3][::-1] }} {{ range(5)[1:3] | list }}",
       "\u00e9l [3, 2, 1] [1, 2]"},
      // A generator is walked once, and true even when it is empty.
      {"{% set g = [1, 2] | map('string') %}{{ g | list }}{{ g | list }}{{ 'T' if g }}",
       "['1', '2'][]T"},
      // The condition of a loop sees what the body did before.
      {"{% set n = namespace(k=0) %}{% for a in [1, 2, 3] if n.k < 2 %}{% set n.k = n.k + 1 %}"
       "{{ a }}{{ loop.last }}{% endfor %}",
       "1False2True"},
      {"{{ ('<' | safe) + '<' }}{{ '<' + ('&' | e) }}", "<&lt;&lt;&amp;"},
      {"{{ '%s|%5.2f|%-3s|%03d|%+d' | format('a', 2.5, 'b', 7, 1) }}", "a| 2.50|b  |007|+1"},
      {"{{ '{1}{0}{{}}'.format('a', 'b') }} {{ '{a}'.format(a=1) }}", "ba{} 1"},
      {"{{ '1_000' | int }} {{ '3.7' | int }} {{ 'x' | int(5) }} {{ 2.5 | round }}",
       "1000 3 5 2.0"},
      {"{% if false %}{{ 1 | nope }}{% endif %}ok", "ok"},
      {"{{ 'a.b.c'.rsplit('.', 1) }}{{ ' a  b c '.rsplit(none, 1) }}{{ ' a b '.rsplit() }}",
       "['a.b', 'c'][' a  b', 'c']['a', 'b']"},
      {"{{ 'a,b'.rsplit(',', 0) }}{{ ''.rsplit() }}{{ ''.rsplit('x') }}{{ 'aXXb'.rsplit('X') }}",
       "['a,b'][]['']['a', '', 'b']"},
      {"{{ 'tool_x'.removeprefix('tool_') }}{{ 'x.py'.removesuffix('.py') }}{{ "
       "'x'.removesuffix('') }}",
       "xxx"},
      {"{{ 'h\u00e9llo'.rfind('l') }}{{ 'hello'.index('l') }}{{ 'hello'.rindex('l') }}"
       "{{ 'x'.rfind('y') }}",
       "323-1"},
      {"{{ '12'.isdigit() }}{{ ''.isdigit() }}{{ '\u00b2'.isdigit() }}{{ '\u00b2'.isdecimal() }}"
       "{{ 'caf\u00e9'.isalpha() }}{{ ' \t'.isspace() }}{{ 'aB'.islower() }}{{ 'AB'.isupper() }}",
       "TrueFalseTrueFalseTrueTrueFalseTrue"},
      {"{% set m = [{'n': 1, 't': 'a'}, {'n': 2}] %}{{ m | sum('n') }}{{ m | sum(attribute='n', "
       "start=4) }}"
       "{{ m | map(attribute='t', default='?') | join }}{{ m | join(', ', attribute='n') }}",
       "37a?1, 2"},
      {"{{ dict(a=1, b='x') }}{{ dict({'a': 1}, a=2) }}{{ dict() }}",
       "{'a': 1, 'b': 'x'}{'a': 2}{}"},
      {"{{ 'x'.ljust(3) }}|{{ 'x'.rjust(3, '0') }}|{{ 'long'.rjust(2) }}|{{ {'a': 1}.copy() }}",
       "x  |00x|long|{'a': 1}"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(render(text), expected) << text;
}

TEST(Jinja, RefusesTheRestByNameAndLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"\n{% include 'x' %}", "line 2: the tag 'include' is not supported"},
      {"\n{% autoescape false %}", "line 2: the tag 'autoescape' is not supported"},
      {"\n\n{{ 1 | wordcount }}", "line 3: No filter named 'wordcount'."},
      {"{% if true %}\n{{ 1 is callable }}{% endif %}", "line 2: No test named 'callable'."},
      {"\n{{ 'a'.zfill(3) }}", "line 2: the method 'zfill' of str is not supported"},
      {"\n{{ {}.fromkeys([]) }}", "line 2: the method 'fromkeys' of dict is not supported"},
      {"\n{{ 'a'.index('b') }}", "ValueError: substring not found"},
      {"\n{{ 'a'.ljust(3, '') }}", "The fill character must be exactly one character long"},
      {"\n{{ [].append(1) }}", "line 2: access to attribute 'append' of 'list' object is unsafe."},
      {"\n{{ range(*[1]) }}", "line 2: '*' before an argument is not supported"},
      {"\n{% macro f() %}{{ kwargs }}{% endmacro %}", "line 2: kwargs of a macro is not supported"},
      {"\n{{ 0x10 }}", "line 2: a number such as '0x' is not supported"},
      {"\n{{ '{:>5}'.format(1) }}", "line 2: the replacement field '{:>5}' is not supported"},
      {"\n{{ '%x' % 1 }}", "line 2: the format '%x' is not supported"},
      {"\n{{ joiner(',') }}", "line 2: 'joiner' is undefined"},
      {"\n{{ range }}", "line 2: printing a 'function' is not supported"},
      {"\n{{ 7.5 // 2 }}", "line 2: '//' of floats is not supported"},
      {"\n{{ 'a' | indent(2, blank=true) }}", "unexpected keyword argument 'blank'"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_NE(render(text).find(expected), std::string::npos) << text << "\n" << render(text);
}

}  // namespace
}  // namespace dure::jinja
