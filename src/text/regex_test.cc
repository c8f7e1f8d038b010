// Patterns of tokenizer files: what both engines read alike, what is spelled out, what is refused.
// The pieces are those of the `tokenizers` library 0.22, found by running it.
#include "text/regex.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "base/testing.h"

namespace dure {
namespace {

std::vector<std::string> pieces(const std::string& pattern, const std::string& text) {
  std::vector<size_t> ends;
  Regex(pattern, "t.json").split(text, ends);
  std::vector<std::string> out;
  size_t begin = 0;
  for (const size_t end : ends) {
    out.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return out;
}

TEST(Regex, PatternsMeanWhatTheyMeanToTheTokenizersLibrary) {
  struct Case {
    std::string pattern, text;
    std::vector<std::string> pieces;
  };
  const Case cases[] = {
      {R"x([\p{Han}]+|[\p{L}\p{M}&&[^\p{Han}]]+)x",
       "ab\u4e2d\u6587\u00e9\u3001x",
       {"ab", "\u4e2d\u6587", "\u00e9", "\u3001", "x"}},
      {R"x([a-z&&[^aeiou]&&[^xyz]]+)x", "abcxyz", {"a", "bc", "xyz"}},
      {R"x([^a-z&&[^b]]+)x", "abc1", {"a", "b", "c", "1"}},
      {R"x([a[bc]d]+)x", "xabcd", {"x", "abcd"}},
      {R"x([^[ab]c]+)x", "abcx", {"abc", "x"}},
      {R"x(\h+)x", "zfFg", {"z", "fF", "g"}},
      {R"x([\h&&\d]+)x", "f12g", {"f", "12", "g"}},
      {R"x(\H+)x", "fgz", {"f", "gz"}},
      {R"x(\v)x", "\v\n", {"\v", "\n"}},
      {R"x(a{2,3}+a)x", "aaaa", {"aaaa"}},
      {R"x(a{2}?)x", "aaa", {"aa", "a"}},
      {R"x(a{,2})x", "aaa", {"aa", "a"}},
      {R"x(a{,})x", "aa{,}", {"a", "a{,}"}},
      {R"x(a{x)x", "a{x", {"a{x"}},
      {R"x(a**)x", "xaab", {"x", "aa", "b"}},
      {R"x(a?+)x", "aa", {"a", "a"}},
      {R"x(\p{^Han}+)x", "a\u4e2d", {"a", "\u4e2d"}},
      {R"x(\P{^Han}+)x", "a\u4e2d", {"a", "\u4e2d"}},
      {R"x(\p{Han}+)x", "\u3001\u4e2d\u3005", {"\u3001", "\u4e2d\u3005"}},
      {R"x([[:alpha:]]+)x", "1ab", {"1", "ab"}},
      {R"x([[:^alpha:]]+)x", "1ab", {"1", "ab"}},
      {R"x([[:punct:]]+)x", "a$.", {"a", "$."}},
      {R"x(\p{Punct}+)x", "a$.", {"a$", "."}},
      {R"x([:alpha:]+)x", "1lab:", {"1", "la", "b", ":"}},
      {R"x((?<n>a)(b))x", "xab", {"x", "ab"}},
      {R"x((?'n'a))x", "xa", {"x", "a"}},
      {R"x(a\Z)x", "xa\n", {"x", "a", "\n"}},
      {R"x(a\z)x", "xa\n", {"xa\n"}},
      {R"x(^b)x", "a\nb", {"a\n", "b"}},
      {R"x(a$)x", "xa\nb", {"x", "a", "\nb"}},
      {R"x((?m:.)b)x", "a\nb", {"a", "\nb"}},
      {R"x(a(?i)b|c)x", "aBaC C", {"aB", "aC", " C"}},
      {R"x((?i:'s))x", "x'\u017f'S", {"x", "'\u017f", "'S"}},
      {"(?x: a b # c\n)", "ab a b", {"ab", " a b"}},
      {R"x((?#x)a)x", "xa", {"x", "a"}},
      {R"x(\Qa\E)x", "QaE", {"QaE"}},
      {R"x(\u4e2d)x", "a\u4e2d", {"a", "\u4e2d"}},
      {R"x(\R)x", "a\r\n\u0085b", {"a", "\r\n", "\u0085", "b"}},
      {R"x(\N+)x", "ab\nc", {"ab", "\n", "c"}},
      {R"x(\w+)x", "a_1\u00b7\u00b2\u2167", {"a_1", "\u00b7", "\u00b2\u2167"}},
      {R"x([\w]+)x", "a_1\u00b7\u00b2\u2167", {"a_1", "\u00b7\u00b2", "\u2167"}},
      {R"x(\b)x", "ab cd", {"ab", " ", "cd"}},
      {R"x(\s+)x", "a\u180e\u0085\u200b", {"a\u180e", "\u0085", "\u200b"}},
      {R"x([^\S\n]+)x", "a \nb", {"a", " ", "\nb"}},
      {R"x([]a]+)x", "x]a]", {"x", "]a]"}},
      {R"x((?<!a|bc)d)x", "xbcd", {"xbcd"}},
  };
  for (const Case& c : cases) EXPECT_EQ(pieces(c.pattern, c.text), c.pieces) << c.pattern;
}

TEST(Regex, WhatHasNoSpellingIsRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"((a)\1)", "\\1 is not supported (at byte 3 of 5)"},
      {R"((?<n>a)\k<n>)", "\\k is not supported"},
      {R"((?~ab))", "(?~ is not supported"},
      {R"((*FAIL))", "(* is not supported"},
      {R"((?W:\w))", "(?W is not supported"},
      {R"((?s:.))", "(?s is not supported"},
      {R"((?P<n>a))", "(?P is not supported"},
      {R"(a\Kb)", "\\K is not supported"},
      {R"(\X)", "\\X is not supported"},
      {R"(\G)", "\\G is not supported"},
      {R"(\xe9)", "\\xe9 is a byte, no character"},
      {R"(\p{Foo})", "\\p{Foo} is a property that is not known"},
      {R"(\p{L&})", "\\p{L&} is a property that is not known"},
      {R"([[:foo:]])", "[:foo:] is a set of characters that is not known"},
      {R"([a&&])", "a && with nothing behind it"},
      {R"([&&a])", "a && with nothing before it"},
      {R"([a-\d])", "a-\\d is a range that ends in a set"},
      {R"([\w-x])", "a - behind a set of characters"},
      {R"([z-a])", "z-a is a range that counts down"},
      {R"(a{3,1})", "{3,1} counts down"},
      {R"(*a)", "a repeat of nothing"},
      {R"((?=a)*)", "(?=a)* repeats what is no text"},
      {R"((?i:miss))", "\"ss\" where case is ignored"},
      {"(?i:\u00DF)", "where case is ignored can match several characters"},
      {R"((?i:[\p{Lu}]))", "\\p{Lu} in a class where case is ignored"},
      {R"((?i:[a&&b]))", "a && where case is ignored"},
      {R"([a)", "a [ without its ]"},
      {R"((a)", "a ( without its )"},
      {R"(a))", "a ) without its ("},
      {R"(a\)", "a \\ at its end"},
      {R"((?<=a+)b)", "lookbehind assertion is not fixed length"},
  };
  for (const auto& [pattern, wanted] : cases) {
    const std::string message = message_of([&] { Regex(pattern, "t.json"); });
    EXPECT_NE(message.find("t.json: pattern " + std::string(pattern) + " cannot be used: "),
              std::string::npos)
        << message;
    EXPECT_NE(message.find(wanted), std::string::npos) << message;
  }
  EXPECT_NE(message_of([] { Regex(std::string(5000, '('), "t.json"); }).find("too deep"),
            std::string::npos);
}

}  // namespace
}  // namespace dure
