// Python's calls as text, and BFCL's rules one by one on a function of our own.
#include "grade/function_call.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "grade/python_value.h"

namespace dure {
namespace {

// Every call as NAME{arguments}, or "none".
std::string read(std::string_view text) {
  const auto calls = read_python_calls(text);
  if (!calls) return "none";
  std::string out;
  for (const PythonCall& call : *calls) out += call.name + call.arguments.dump();
  return out;
}

TEST(PythonCalls, Literals) {
  EXPECT_EQ(read("[f(a=1, b='x', c=True, d=None)]"), R"(f{"a":1,"b":"x","c":true,"d":null})");
  EXPECT_EQ(read("f(a=-1.5e3, b=0x1F, c=1_000)"), R"(f{"a":-1500.0,"b":31,"c":1000})");
  EXPECT_EQ(read("[a.b.c(x=[1, [2]], y={'k': 'v',},), d()]"),
            R"(a.b.c{"x":[1,[2]],"y":{"k":"v"}}d{})");
  EXPECT_EQ(
      read(R"(f(a="it's", b='a\nb\x41\u00e9', c=r'\n', d='a' "b", e="""x
y"""))"),
      "f{\"a\":\"it's\",\"b\":\"a\\nbA\u00e9\",\"c\":\"\\\\n\",\"d\":\"ab\",\"e\":\"x\\ny\"}");
  EXPECT_EQ(read("f(a=name, b=g(x=1), c=g(1), d=rows[0])"),
            R"x(f{"a":"name","b":{"g":{"x":1}},"c":"g(1)","d":"rows[0]"})x");
  EXPECT_EQ(read("f(a=2*3+1, b=7/2, c=2**10, d=7//2, e=+5)"),
            R"(f{"a":7,"b":3.5,"c":1024,"d":3,"e":-5})");
  EXPECT_TRUE(is_tuple(*read_python_calls("f(a=(1, 2))")->at(0).arguments.find("a")));
  EXPECT_FALSE(is_tuple(*read_python_calls("f(a=(1))")->at(0).arguments.find("a")));
  EXPECT_EQ(read("[]"), "");
}

TEST(PythonCalls, WhatIsNone) {
  for (const char* text :
       {"", "no call", "f(", "[f(a=1)", "[f(a=1) g()]", "f(a=1, a=2)", "f(from=1)", "f(a=x.y)",
        "f(a={1, 2})", "f(a='open)", "f(a=01)", "f(a=1, 2)", "[1]", "f(a=1) and more",
        "f(a=not True)", "f(a=1/0)", "f(a=f'x')", "f(a=b'x')"})
    EXPECT_EQ(read(text), "none") << text;
  EXPECT_EQ(read("f(a=" + std::string(5000, '[') + ")"), "none");
  EXPECT_EQ(read("f(a=" + std::string(5'000'000, '-') + "1)"), "none");
}

Item item_of(const std::string& truth) {
  const char* function = R"({"name": "geo.find", "parameters": {"type": "dict", "properties": {
    "place": {"type": "string"}, "count": {"type": "integer"}, "radius": {"type": "float"},
    "open": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}},
    "at": {"type": "tuple", "items": {"type": "float"}}, "how": {"type": "dict"},
    "stops": {"type": "array", "items": {"type": "dict"}}}, "required": ["place"]}})";
  return {.id = "1",
          .reference = parse_json(R"({"function": [)" + std::string(function) +
                                      R"(], "ground_truth": [)" + truth + "]}",
                                  "item")};
}

double score(const Item& item, const std::string& text) {
  const auto grader = make_grader(standard_graders(), "function_call", {}, "test");
  grader->check(item);
  return grader->grade(item, {.content = text}).score.value();
}

TEST(FunctionCall, TextsAreComparedLoosely) {
  const Item item =
      item_of(R"({"geo.find": {"place": ["New York, NY", "NYC"], "count": ["", 3]}})");
  EXPECT_EQ(score(item, "geo.find(place='new york NY')"), 1);
  EXPECT_EQ(score(item, "`[geo.find(place=\"N.Y.C.\", count=3)]`"), 1);
  EXPECT_EQ(score(item, "geo.find(place='Boston')"), 0);
  EXPECT_EQ(score(item, "geo.find(count=3)"), 0);
  EXPECT_EQ(score(item, "geo.find(place='NYC', count=4)"), 0);
  EXPECT_EQ(score(item, "geo.find(place='NYC', count=3.0)"), 0);
  EXPECT_EQ(score(item, "geo.find(place='NYC', count='3')"), 0);
  EXPECT_EQ(score(item, "geo.find(place='NYC', open=True)"), 0);
  EXPECT_EQ(score(item, "geo.look(place='NYC')"), 0);
  EXPECT_EQ(score(item, "geo.find(place='NYC'), geo.find(place='NYC')"), 0);
}

TEST(FunctionCall, TypesAndNesting) {
  const Item item = item_of(
      R"({"geo.find": {"place": ["x"], "radius": [5.0, ""], "tags": [["A b", "c"], ""],
          "at": [[1.5, 2.0], ""], "open": [true, ""], "how": [{"by": ["Car"], "fast": ["", true]}, ""],
          "stops": [[{"n": [1]}, {"n": [2]}], ""]}})");
  for (const char* more :
       {"radius=5", "radius=5.0", "tags=['ab', 'C']", "at=(1.5, 2.0)", "at=[1.5, 2.0]", "open=True",
        "how={'by': 'car'}", "how={'by': 'car', 'fast': True}", "stops=[{'n': 1}, {'n': 2}]"})
    EXPECT_EQ(score(item, std::string("geo.find(place='x', ") + more + ")"), 1) << more;
  for (const char* more :
       {"radius='5'", "tags=['c', 'ab']", "tags=('ab', 'c')", "tags=[1]", "at=(2.0, 1.5)",
        "open='true'", "open=1", "how={'by': 'bus'}", "how={}", "how={'by': 'car', 'x': 1}",
        "stops=[{'n': 2}, {'n': 1}]", "stops=[{'n': 1}]", "stops=[1, 2]"})
    EXPECT_EQ(score(item, std::string("geo.find(place='x', ") + more + ")"), 0) << more;
}

TEST(FunctionCall, ToolCalls) {
  const Item item = item_of(R"({"geo.find": {"place": ["x"]}})");
  const auto grader = make_grader(standard_graders(), "function_call", {}, "test");
  const Json arguments = parse_json(R"({"place": "x"})", "t");
  const auto score = [&](const std::string& name, const Json& arguments) {
    return grader->grade(item, {.tool_calls = {{.name = name, .arguments = arguments}}}).score;
  };
  EXPECT_EQ(score("geo.find", arguments), 1.0);
  EXPECT_EQ(score("geo_find", arguments), 1.0);
  EXPECT_EQ(score("find", arguments), 0.0);
  EXPECT_EQ(score("geo.find", "no object"), 0.0);
  EXPECT_THROW(grader->check(item_of(R"({"other": {}})")), Error);
  EXPECT_THROW(grader->check({.id = "1", .reference = Json::object()}), Error);
}

TEST(FunctionCall, OpenaiTools) {
  const Json tools = openai_tools(parse_json(
      R"([{"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": "float"},
         "b": {"type": "array", "items": {"type": "dict", "properties": {"type": {"type": "any"}}}}}}}])",
      "t"));
  EXPECT_EQ(
      tools.dump(),
      R"([{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":)"
      R"({"a":{"type":"number"},"b":{"type":"array","items":{"type":"object","properties":)"
      R"({"type":{"type":"string"}}}}}}}}])");
}

}  // namespace
}  // namespace dure
