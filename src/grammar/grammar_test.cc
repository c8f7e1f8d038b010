// Grammars against what they should match: patterns against PCRE2, schemas against values, and
// masks against the grammar itself, token by token, whatever the vocabulary.
#include "grammar/grammar.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "grammar/grammar_fixture.h"

namespace dure {
namespace {

std::string refusal(std::string_view schema) {
  try {
    schema_grammar(schema);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

struct Case {
  const char* schema;
  std::vector<const char*> good, bad;
};

TEST(JsonSchema, MatchesWhatItSays) {
  const Case cases[] = {
      {R"({"type":"integer","minimum":0,"maximum":99})",
       {"0", "7", "99"},
       {"-1", "100", "1.0", "07"}},
      {R"({"type":"integer","minimum":-12,"exclusiveMaximum":3})",
       {"-12", "-9", "-1", "0", "2"},
       {"-13", "3", "-0", "12"}},
      {R"({"type":"number","minimum":0.5,"maximum":1.25})",
       {"0.5", "0.50", "1", "1.25", "1.249999", "0.51"},
       {"0.49", "1.26", "1.2500001", "0", "-1"}},
      {R"({"type":"number","exclusiveMinimum":-0.5,"maximum":0})",
       {"0", "-0.4", "-0.25"},
       {"-0.5", "0.1", "-0.51"}},
      {R"({"type":"integer","multipleOf":7})", {"0", "7", "-14", "70"}, {"1", "8", "-13"}},
      {R"({"type":"number","multipleOf":0.25})", {"0.25", "1", "1.5", "-0.750"}, {"0.3", "0.125"}},
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {R"("ab")", R"("한글é")", R"("\n\u0041")", R"("\ud83d\ude00x")"},
       {R"("a")", R"("abcd")", R"("\ud83d")", R"("ab)"}},
      {R"({"type":"string","pattern":"^a+$"})", {R"("aaa")"}, {R"("")", R"("aab")"}},
      {R"({"type":"string","pattern":"b"})", {R"("abc")", R"("b\"")"}, {R"("ac")"}},
      {R"({"type":"string","format":"date"})",
       {R"("2024-02-29")", R"("1999-12-31")"},
       {R"("2023-02-29")", R"("1900-02-29")", R"("2020-13-01")"}},
      {R"({"type":["boolean","null"]})", {"true", "null"}, {"1", "\"\""}},
      {R"({"enum":[1,"a",null,{"b":[1,2]}]})", {"1", R"("a")", "null", R"({"b": [1, 2]})"}, {"2"}},
      {R"({"enum":[1,"a","abc"],"type":"string","minLength":2})", {R"("abc")"}, {"1", R"("a")"}},
      {R"({"const":"x\ny"})", {R"("x\ny")"}, {R"("x")"}},
      {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
       {"[1]", "[1, 2,3]"},
       {"[]", "[1,2,3,4]", "[\"a\"]"}},
      {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false})",
       {"[]", "[1]", "[1,\"a\"]"},
       {"[\"a\"]", "[1,\"a\",2]"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["b"]})",
       {R"({"b":""})", R"({"a":1,"b":"x"})", "{\n  \"a\": 1,\n  \"b\": \"x\"\n}"},
       {"{}", R"({"a":1})", R"({"b":"","c":1})", R"({"a":1,})", R"({"a":1"b":""})"}},
      {R"({"type":"object","properties":{"a":{}},"additionalProperties":{"type":"integer"}})",
       {"{}", R"({"a":"x","z":1})", R"({"z":1,"aa":2})"},
       {R"({"z":"x"})", R"({"z":1,"a":1})"}},
      {R"({"type":"object","patternProperties":{"^x":{"type":"integer"},"y$":{"minimum":5}},"additionalProperties":false})",
       {R"({"xa":1})", R"({"xy":6})", R"({"by":"free"})"},
       {R"({"xy":2})", R"({"xa":"s"})", R"({"a":1})"}},
      {R"({"type":"object","additionalProperties":{"type":"null"},"minProperties":1,"maxProperties":2})",
       {R"({"a":null})", R"({"a":null,"b":null})"},
       {"{}", R"({"a":null,"b":null,"c":null})"}},
      {R"({"type":"object","propertyNames":{"enum":["p","q"]},"additionalProperties":{"type":"integer"}})",
       {R"({"p":1})"},
       {R"({"r":1})"}},
      {R"({"anyOf":[{"type":"string"},{"type":"null"}],"default":null})", {"null", "\"\""}, {"1"}},
      {R"({"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"v":{"type":"integer"}},"required":["k","v"]},
                    {"type":"object","properties":{"k":{"const":"b"}},"required":["k"]}]})",
       {R"({"k":"a","v":1})", R"({"k":"b"})"},
       {R"({"k":"a"})", R"({"k":"b","v":1})"}},
      {R"({"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"a":{"minimum":3},"b":{"type":"null"}}}],"type":"object"})",
       {R"({"a":3})", R"({"a":4,"b":null})"},
       {R"({"a":2})", "{}"}},
      {R"({"$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"]}},"$ref":"#/$defs/n"})",
       {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"},
       {R"({"v":1})", R"({"v":1,"next":{}})"}},
      {R"({})", {"[1, {\"a\": [true, null, -1.5e+3]}]", "\"\""}, {"[1,]", "tru", "01", "{a:1}"}},
      {R"({"type":"array"})", {"[]", "[[],{}]"}, {"{}"}},
      {R"({"type":"string","maxLength":200})", {"\"\"", "\"abc\""}, {}},
  };
  for (const Case& c : cases) {
    const Grammar grammar = schema_grammar(c.schema);
    for (const char* text : c.good) EXPECT_TRUE(matches(grammar, text)) << c.schema << "\n" << text;
    for (const char* text : c.bad) EXPECT_FALSE(matches(grammar, text)) << c.schema << "\n" << text;
  }
}

TEST(JsonSchema, CountsLongStringsAndListsExactly) {
  for (const int64_t n : {1, 63, 64, 65, 127, 128, 200, 4095, 4096, 5000}) {
    const Grammar text = schema_grammar(
        fmt::format(R"({{"type":"string","minLength":{},"maxLength":{}}})", n / 2, n));
    const Grammar list = schema_grammar(fmt::format(
        R"({{"type":"array","items":{{"const":1}},"minItems":{},"maxItems":{}}})", n / 2, n));
    for (const int64_t count : {n / 2 - 1, n / 2, n - 1, n, n + 1}) {
      if (count < 0) continue;
      std::string items = "[";
      for (int64_t i = 0; i < count; ++i) items += i == 0 ? "1" : ",1";
      const bool good = count >= n / 2 && count <= n;
      EXPECT_EQ(matches(text, "\"" + std::string(static_cast<size_t>(count), 'x') + "\""), good)
          << n;
      EXPECT_EQ(matches(list, items + "]"), good) << n << " " << count;
    }
  }
}

TEST(JsonSchema, RefusesByNameAndPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"properties":{"a":{"not":{}}}})", "#/properties/a/not: the keyword 'not'"},
      {R"({"type":"array","uniqueItems":true})", "#/uniqueItems: the keyword 'uniqueItems'"},
      {R"({"type":"nonsense"})", "#/type: \"nonsense\" is no type"},
      {R"({"$ref":"other.json"})", "#/$ref: 'other.json' is not supported"},
      {R"({"$ref":"#/$defs/x"})", "leads nowhere"},
      {R"({"$ref":"#"})", "refers to itself"},
      {R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", "itself"},
      {R"({"type":"string","pattern":"(?=a)b"})", "lookahead"},
      {R"({"type":"string","format":"idn-email"})", "the format 'idn-email'"},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "'oneOf'"},
      {R"({"type":"integer","minimum":5,"maximum":3})", "nothing can match"},
      {R"({"type":"object","properties":{"a":false},"required":["a"]})", "nothing can match"},
      {R"({"type":"object","minProperties":3})", "minProperties"},
      {R"({"items":3})", "#/items: a schema is an object or a boolean"},
  };
  for (const auto& [schema, words] : cases)
    EXPECT_NE(refusal(schema).find(words), std::string::npos) << schema << "\n" << refusal(schema);
}

}  // namespace
}  // namespace dure
