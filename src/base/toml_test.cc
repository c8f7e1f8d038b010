// What TOML 1.0 says of each form, and what is refused by line.
#include "base/toml.h"

#include <gtest/gtest.h>

#include "base/testing.h"

namespace dure {
namespace {

std::string read(std::string_view text) { return parse_toml(text, "t.toml").dump(); }
std::string refused(std::string_view text) {
  return message_of([&] { parse_toml(text, "t.toml"); });
}

TEST(Toml, Values) {
  EXPECT_EQ(read("a = 1\nb = -2_000 # two\nc = 0xfF\nd = 1.5e3\ne = true"),
            R"({"a":1,"b":-2000,"c":255,"d":1500.0,"e":true})");
  EXPECT_EQ(read("a = [1, [2, 3],\n # why\n 'x',\n]\nb = { x = 1, y.z = \"q\" }\nc = {}"),
            R"({"a":[1,[2,3],"x"],"b":{"x":1,"y":{"z":"q"}},"c":{}})");
  EXPECT_EQ(
      read("d = 2025-01-20T14:30:00\ne = 2025-01-20\nf = 2025-01-20 14:30:00 # so\ng = 07:32:00"),
      R"({"d":"2025-01-20T14:30:00","e":"2025-01-20","f":"2025-01-20T14:30:00","g":"07:32:00"})");
}

TEST(Toml, Strings) {
  EXPECT_EQ(parse_toml(R"(a = "x\t\"é\u00e9\U0001F600")", "t").at("a"),
            Json("x\t\"éé\xF0\x9F\x98\x80"));
  EXPECT_EQ(parse_toml(R"(a = 'C:\new')", "t").at("a"), Json(R"(C:\new)"));
  EXPECT_EQ(
      parse_toml("a = \"\"\"\none \\\n   two\n\"quoted\"\"\"\"\nb = '''\nas \\ is'''", "t").dump(),
      R"({"a":"one two\n\"quoted\"","b":"as \\ is"})");
  EXPECT_EQ(read("\"a b\".'c.d' = 1"), R"({"a b":{"c.d":1}})");
}

TEST(Toml, Tables) {
  EXPECT_EQ(read("[a.b]\nx = 1\n[a]\ny = 2\n[a.c]\n"), R"({"a":{"b":{"x":1},"c":{},"y":2}})");
  EXPECT_EQ(read("[[p]]\nn = 1\n[[p.q]]\nm = 2\n[[p.q]]\n[p.r]\nk = 3\n[[p]]\n[p.r]\nk = 4\r\n"),
            R"({"p":[{"n":1,"q":[{"m":2},{}],"r":{"k":3}},{"r":{"k":4}}]})");
}

TEST(Toml, Refusals) {
  EXPECT_TRUE(refused("a = 1\na = 2").starts_with("t.toml: line 2: "));
  EXPECT_NE(refused("[a]\n\n[a]").find("cannot redefine existing table 'a'"), std::string::npos);
  for (const char* text :
       {"a", "a = ", "= 1", "a = \"x", "a = [1, 2", "a = [1 2]", "a = {x = 1", "[a", "[[a]",
        "a = 1_", "a = 1.", "a = .5", "a = \"\\q\"", "a = \"\\ud800\"", "a = 99999999999999999999",
        "a = 1\n[a.b]", "a = [1]\n[[a]]", "a = truely", "a.b = 1\na = 2"}) {
    ErrorCode code{};
    message_of([&] { parse_toml(text, "t"); }, &code);
    EXPECT_EQ(code, ErrorCode::kCorrupt) << text;
  }
  EXPECT_NE(refused("a = " + std::string(1000, '[')).find("depth of 256"), std::string::npos);
}

}  // namespace
}  // namespace dure
