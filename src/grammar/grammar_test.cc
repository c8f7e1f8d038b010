// Grammars against what they should match: patterns against PCRE2, schemas against values, and
// masks against the grammar itself, token by token, whatever the vocabulary.
#include "grammar/grammar.h"

#include <gtest/gtest.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "grammar/grammar_fixture.h"

namespace dure {
namespace {

bool pcre2_finds(const std::string& pattern, const std::string& text) {
  int code = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.c_str()),
                                       pattern.size(), PCRE2_UTF, &code, &at, nullptr);
  EXPECT_NE(compiled, nullptr) << pattern;
  pcre2_match_data* match = pcre2_match_data_create_from_pattern(compiled, nullptr);
  const int found = pcre2_match(compiled, reinterpret_cast<PCRE2_SPTR>(text.c_str()), text.size(),
                                0, 0, match, nullptr);
  pcre2_match_data_free(match);
  pcre2_code_free(compiled);
  return found >= 0;
}

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
      {R"({"type":"object","properties":{}})", {"{}"}, {R"({"a":1})"}},
      {R"({"type":"string","pattern":"^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$"})",
       {R"("1.5")", R"("-07")", R"(".5")"},
       {R"("-")", R"(".")", R"("")", R"("1.5.")"}},
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

TEST(Pattern, RefusesByName) {
  const std::pair<const char*, const char*> cases[] = {
      {"a(?=b)", "lookahead"},
      {"(?<!a)b", "lookbehind"},
      {"(a)\\1", "backreference"},
      {"\\bword", "word boundary"},
      {"(?i)a", "inline flag"},
      {"a++", "possessive"},
      {"(?>a)", "atomic group"},
      {"(a", "missing )"},
      {"a)", "unmatched )"},
      {"[z-a]", "out of order"},
      {"[a", "missing ]"},
      {"*a", "nothing to repeat"},
      {"a{3,2}", "out of order"},
      {"\\p{Nonsense}", "no general category"},
      {"((a{1,1000}){1,1000}){9}", "too large"},
  };
  for (const auto& [pattern, words] : cases) {
    try {
      pattern_grammar(pattern);
      ADD_FAILURE() << pattern;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(words), std::string::npos) << e.what();
    }
  }
}

// A random pattern of the subset that PCRE2 reads the same way.
std::string random_pattern(Rng& rng, int depth) {
  static const char* const kAtoms[] = {"a",       "b",      "c",   "[ab]",    "[^a]",  ".",
                                       "\\d",     "\\w",    "\\s", "\\.",     "\\x62", "한",
                                       "[가-힣]", "[\\d-]", "\\W", "[^\\w가]"};
  static const char* const kCounts[] = {"*", "+", "?", "{2}", "{1,3}", "{0,2}?", "{2,}", "*?"};
  std::string out;
  for (int64_t n = rng.between(1, 3); n > 0; --n) {
    if (depth > 0 && rng.below(3) == 0) {
      out += rng.below(2) == 0 ? "(" : "(?:";
      out += random_pattern(rng, depth - 1) + "|" + random_pattern(rng, depth - 1) + ")";
    } else {
      out += kAtoms[rng.below(std::size(kAtoms))];
    }
    if (rng.below(3) == 0) out += kCounts[rng.below(std::size(kCounts))];
  }
  if (depth == 2 && rng.below(6) == 0) out = "^" + out;
  if (depth == 2 && rng.below(6) == 0) out += "$";
  static const char* const kLooks[] = {"^(?!a)", "^(?=.b)", "^(?!.*a.)(?![^b]*$)", "^(?!^[a한]*$)"};
  if (depth == 2 && rng.below(4) == 0) out = kLooks[rng.below(std::size(kLooks))] + out;
  return out;
}
std::string random_text(Rng& rng) {
  static const char* const kChars[] = {"a", "b", "c", "1", ".", " ", "한", "가", "-", "é", "_"};
  std::string out;
  for (int64_t n = rng.below(7); n > 0; --n) out += kChars[rng.below(std::size(kChars))];
  return out;
}

TEST(Pattern, AgreesWithPcre2) {
  Rng rng(3);
  int64_t matched = 0, too_large = 0;
  for (int i = 0; i < 300; ++i) {
    const std::string pattern = random_pattern(rng, 2);
    ByteDfa whole, anywhere, in_json;
    try {
      whole = pattern_dfa(pattern, PatternMatch::kWhole, TextEncoding::kPlain);
      anywhere = pattern_dfa(pattern, PatternMatch::kAnywhere, TextEncoding::kPlain);
      in_json = pattern_dfa(pattern, PatternMatch::kWhole, TextEncoding::kJsonString);
    } catch (const Error& e) {
      ASSERT_NE(std::string(e.what()).find("too large"), std::string::npos) << e.what();
      ++too_large;  // Counts within counts: an automaton has a state for each of their sums.
      continue;
    }
    for (int k = 0; k < 20; ++k) {
      const std::string text = random_text(rng);
      const bool expected = pcre2_finds("^(?:" + pattern + ")\\z", text);
      matched += expected ? 1 : 0;
      ASSERT_EQ(whole.accepts_text(text), expected) << pattern << "\n" << text;
      ASSERT_EQ(in_json.accepts_text(text), expected) << pattern << "\n" << text;
      ASSERT_EQ(anywhere.accepts_text(text), pcre2_finds(pattern, text)) << pattern << "\n" << text;
    }
  }
  EXPECT_GT(matched, 250);
  EXPECT_LT(too_large, 10);
}

const char* const kSchemas[] = {
    R"({})",
    R"({"type":"object"})",
    R"({"type":"object","properties":{"name":{"type":"string"},"a":{"type":"integer","minimum":-5,"maximum":120},"x":{"enum":["a","ab","abc",null,1]}},"required":["name"]})",
    R"({"type":"array","items":{"anyOf":[{"type":"string","maxLength":3},{"type":"number"},{"type":"object","properties":{"a":{"type":"null"}}}]},"maxItems":3})",
    R"({"$defs":{"t":{"type":"object","properties":{"name":{"type":"string","pattern":"^[a-c한]*$"},"e":{"type":"array","items":{"$ref":"#/$defs/t"}}},"required":["name","e"]}},"$ref":"#/$defs/t"})",
    R"({"type":"object","patternProperties":{"^a":{"type":"boolean"}},"additionalProperties":{"type":"string","minLength":1,"maxLength":2}})",
    R"({"type":"string","minLength":3,"maxLength":300})",
    R"({"type":"array","items":{"type":"array","items":{"type":"array","items":{"type":"boolean"}}}})",
};

// Every token, judged by walking its bytes.
void expect_exact_mask(TokenMatcher& matcher, int64_t vocab_size, const std::string& so_far) {
  const auto mask = matcher.allowed();
  const std::vector<uint64_t> copy(mask.begin(), mask.end());
  for (int32_t id = 0; id < vocab_size; ++id) {
    const bool allowed = (copy[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
    const bool taken = matcher.accept(id);
    ASSERT_EQ(allowed, taken) << "token " << id << " after " << so_far;
    if (taken) matcher.rollback(1);
  }
}

TEST(TokenMask, IsExactlyTheTokensThatTheGrammarTakes) {
  Rng rng(11);
  const SmallVocabulary words = small_vocabulary(rng, 900);
  for (const char* schema : kSchemas) {
    // A cache this small forgets in the middle of a walk.
    for (const int64_t bytes_max : {MaskCache::kCacheBytesMax, int64_t{30'000}}) {
      const auto grammar = std::make_shared<const Grammar>(schema_grammar(schema));
      const auto cache = std::make_shared<MaskCache>(grammar, words.tokens, bytes_max);
      for (int walk = 0; walk < 3; ++walk) {
        TokenMatcher matcher(cache, {words.stop});
        std::string text;
        for (int i = 0; i < 25; ++i) {
          expect_exact_mask(matcher, words.tokens->size(), text);
          const std::vector<int32_t> ids = allowed_ids(matcher);
          ASSERT_FALSE(ids.empty()) << schema << "\n" << text;
          const int32_t id = ids[static_cast<size_t>(rng.below(static_cast<int64_t>(ids.size())))];
          ASSERT_TRUE(matcher.accept(id));
          if (id == words.stop) break;
          text += words.texts[static_cast<size_t>(id)];
        }
      }
    }
  }
}

TEST(TokenMask, RollsBackToWhatItAllowed) {
  Rng rng(5);
  const SmallVocabulary words = small_vocabulary(rng, 300);
  const auto cache = std::make_shared<MaskCache>(
      std::make_shared<const Grammar>(schema_grammar(kSchemas[2])), words.tokens);
  TokenMatcher matcher(cache, {words.stop});
  std::vector<std::vector<int32_t>> before;
  for (int i = 0; i < 60; ++i) {
    before.push_back(allowed_ids(matcher));
    const auto& ids = before.back();
    if (ids.empty()) break;
    ASSERT_TRUE(
        matcher.accept(ids[static_cast<size_t>(rng.below(static_cast<int64_t>(ids.size())))]));
    if (i % 7 == 6) {
      const int64_t back = rng.between(1, 6);
      matcher.rollback(back);
      before.resize(before.size() - static_cast<size_t>(back) + 1);
      EXPECT_EQ(allowed_ids(matcher), before.back());
      before.pop_back();
    }
  }
}

// A special token passes only where the grammar names it; a text that spells it is a text.
TEST(TokenMask, SpecialTokensAreNoText) {
  Rng rng(6);
  const SmallVocabulary words = small_vocabulary(rng, 10);
  const auto cache = std::make_shared<MaskCache>(
      std::make_shared<const Grammar>(schema_grammar("{}")), words.tokens);
  TokenMatcher matcher(cache, {});
  EXPECT_FALSE(matcher.accept(words.stop));
  for (const char c : std::string("\"<stop>")) ASSERT_TRUE(matcher.accept(static_cast<uint8_t>(c)));
  EXPECT_FALSE(matcher.accept(words.stop));
  EXPECT_FALSE(matcher.accept(0xFF));
}

TEST(TokenMask, TooManyWaysToReadIsAnErrorAndNotAnEndlessLoop) {
  GrammarBuilder builder;
  const auto a = builder.open();
  const RuleId x = builder.literal("x"), open = builder.literal("(");
  builder.call(a.start, x, a.final);
  for (int i = 0; i < 2; ++i) {
    const NodeId inside = builder.node(), behind = builder.node(), last = builder.node();
    builder.call(a.start, open, inside);
    builder.call(inside, a.rule, behind);
    builder.call(behind, x, last);
    builder.skip(last, a.final);
  }
  const Grammar grammar = builder.build(a.rule);
  StackArena stacks;
  Walker walker(grammar, stacks);
  Places at = walker.start(), next;
  EXPECT_THROW(
      {
        for (int i = 0; i < 40; ++i) {
          walker.step(at, '(', next);
          std::swap(at, next);
        }
      },
      Error);
}

}  // namespace
}  // namespace dure
